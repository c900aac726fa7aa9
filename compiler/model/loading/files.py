"""Reads model files: regular files only, of a sane size, and says what a wrong file really is."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ...coding import is_packed, unpack
from ...errors import InvalidModelError, LimitError, PrunusError, UsageError
from ..untrusted import shown
from .limits import RAISE_HINT, Limits
from .tensors import readable

_EXPORT = "Export the model to ONNX first."
_KINDS = (  # (first bytes, at offset, what the file is, hint)
    (b"version https://git-lfs", 0, "a Git LFS pointer, not the model itself", "Fetch the file: git lfs pull."),
    (b"PK\x03\x04", 0, "a zip archive (or a PyTorch or Keras file)", "Unpack it, or export the model to ONNX."),
    (b"\x1f\x8b", 0, "gzip-compressed", "Unpack it first: gunzip."),
    (b"TFL3", 4, "a TensorFlow Lite model", "Convert it: python -m tf2onnx.convert --tflite IN --output OUT."),
    (b"\x89HDF\r\n", 0, "an HDF5 file (Keras)", _EXPORT),
    (b"\x80\x02", 0, "a Python pickle", _EXPORT),
    (b"\x80\x04", 0, "a Python pickle", _EXPORT),
    (b"\x93NUMPY", 0, "a NumPy array", "Give the model file; data goes to --data."),
)
_HTML = (b"<!doctype", b"<html", b"<?xml")


def read_model(path: Path, limits: Limits) -> bytes:
    """The bytes of an ONNX file, or of the one in a packed model (`compiler.coding`).

    Raises:
        InvalidModelError: the packed model is damaged; and as `read_file` does.
        LimitError: larger than `limits.file_bytes`, or unpacks to more.
    """
    data = read_file(path, limits)
    return _unpacked(data, path, limits) if is_packed(data) else data


def read_packed(path: Path, limits: Limits) -> tuple[bytes, bytes]:
    """(a packed model's bytes, the ONNX file in it). Raises as `read_model`, for a plain ONNX file, too."""
    data = read_file(path, limits)
    return data, _unpacked(data, path, limits)


def _unpacked(data: bytes, path: Path, limits: Limits) -> bytes:
    try:
        return unpack(data, limits.file_bytes)
    except PrunusError as error:
        error.where = shown(str(path))
        raise


def read_file(path: Path, limits: Limits) -> bytes:
    """The file's bytes, as they are.

    Raises:
        UsageError: there is no such file, or it cannot be read.
        InvalidModelError: not a regular file, empty, or plainly something else than ONNX.
        LimitError: larger than `limits.file_bytes`.
    """
    where = shown(str(path))
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO must not make us wait
    except (OSError, ValueError) as error:
        raise UsageError(
            "The model file cannot be opened.",
            code="model-file",
            where=where,
            why=error.strerror if isinstance(error, OSError) else str(error),
            hint="Check the path.",
        ) from error
    info = os.fstat(descriptor)
    if stat.S_ISDIR(info.st_mode):
        os.close(descriptor)
        raise _not_a_model("not-a-file", where, "It is a directory.", "Give the path of the .onnx file in it.")
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(info.st_mode):
            why = "It is a pipe, a socket or a device."
            raise _not_a_model("not-a-file", where, why, "Give the path of an .onnx file.")
        if info.st_size > limits.file_bytes:
            raise LimitError(
                "The model file is too large.",
                code="file-limit",
                where=where,
                why=f"It has {readable(info.st_size)}; the limit is {readable(limits.file_bytes)}.",
                hint="Store the weights as external data (onnx.save with save_as_external_data=True)."
                if info.st_size >= 2 << 30
                else RAISE_HINT,
            )
        data = file.read(info.st_size)
    _check_kind(data, where)
    return data


def _check_kind(data: bytes, where: str) -> None:
    if not data:
        raise _not_a_model("empty-file", where, "It is empty.", "Download or export it again.")
    for magic, offset, what, hint in _KINDS:
        if data[offset : offset + len(magic)] == magic:
            raise _not_a_model("wrong-format", where, f"It is {what}.", hint)
    if data[:64].lstrip().lower().startswith(_HTML):
        raise _not_a_model("wrong-format", where, "It is a web page.", "Download the raw file instead of its page.")


def _not_a_model(code: str, where: str, why: str, hint: str) -> InvalidModelError:
    return InvalidModelError("The file is not an ONNX model.", code=code, where=where, why=why, hint=hint)
