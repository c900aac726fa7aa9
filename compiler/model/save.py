"""Writes a model as a standard ONNX file: the user's safe input and output names back, the same bytes every time."""

from __future__ import annotations

import os
import re
import secrets
from collections import Counter
from pathlib import Path

from ..coding import pack
from ..errors import LimitError, ToolError
from . import shapes
from .model import Model

_SAFE = re.compile(r"[A-Za-z_]\w{0,63}\Z", re.ASCII)
_INTERNAL = re.compile(r"[nt]\d+\Z", re.ASCII)
_LARGEST_BYTES = (2 << 30) - 1  # of a protobuf file


def save(model: Model, path: str | os.PathLike[str]) -> None:
    """Writes the model at IR version 10, weights inside; the file appears complete or not at all.

    A path that ends in .prz gets the packed model (`compiler.coding`), anything else the ONNX file.

    Inputs and outputs get the user's names back where these match `[A-Za-z_]\\w{0,63}`, so that the file is a drop-in
    for the original. All other names stay plain.

    Raises:
        LimitError: the model does not fit a protobuf file. ToolError: the file cannot be written.
    """
    data, file = to_bytes(model), Path(path)
    write_file(file, pack(data) if file.suffix == ".prz" else data)


def to_bytes(model: Model) -> bytes:
    """The ONNX file that `save` writes. Raises LimitError."""
    weights = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    if weights > _LARGEST_BYTES:
        raise LimitError(
            "The model is too large for one ONNX file.",
            code="file-limit",
            why="A protobuf file holds less than 2 GiB.",
            hint="Prune or quantize it further.",
        )
    return with_user_names(model).to_bytes()


def with_user_names(model: Model) -> Model:
    """A copy whose inputs and outputs carry the user's names, where these are safe and unambiguous."""
    copy = model.clone()
    graph = copy.graph
    outer = {value.name: value for value in [*graph.inputs, *graph.outputs] if value.const_value is None}
    wanted = Counter(model.original(name or "") for name in outer)
    taken = {value.name for value in shapes.all_values(graph)}
    for name, value in outer.items():
        original = model.original(name or "")
        safe = _SAFE.match(original) and not _INTERNAL.match(original)
        if safe and wanted[original] == 1 and original not in taken:
            value.name = original
    return copy


def write_file(path: Path, data: bytes) -> None:
    """Writes beside the target, flushes, renames. Raises ToolError."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        with temporary.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except OSError as error:
        raise ToolError(
            "The model file cannot be written.",
            code="output-failed",
            where=str(path),
            why=error.strerror or str(error),
            hint="Check the folder's permissions and the space left on the disk.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
