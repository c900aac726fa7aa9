"""External tensor data: read once, from regular files inside the model's folder (or roots that the user named)."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn

import onnx

from ...errors import InvalidModelError
from ..untrusted import Text, shown

_NUMBER = re.compile(r"[0-9]{1,18}\Z")


class ExternalData:
    """Opens each file of external data once and hands out its parts.

    A context manager; on leaving it, files that changed while they were read are refused.
    """

    def __init__(self, folder: Path | None, roots: Sequence[str | os.PathLike[str]] = ()) -> None:
        self._folder = folder
        candidates = [folder, *roots] if folder is not None else list(roots)
        self._roots = [Path(os.path.realpath(root)) for root in candidates]
        self._open: dict[str, tuple[int, os.stat_result]] = {}

    def __enter__(self) -> ExternalData:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        changed = None
        for location, (descriptor, before) in self._open.items():
            after = os.fstat(descriptor)
            if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                changed = location
            os.close(descriptor)
        self._open.clear()
        if changed is not None and error is None:
            _refuse("changed", changed, "The file changed while it was read.", "Load the model again.")

    def read(self, tensor: onnx.TensorProto, expected: int) -> bytes:
        """The tensor's bytes; there must be exactly `expected` of them."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        offset = _number(entries.get("offset", "0"), "offset", location)
        length = _number(entries.get("length", str(expected)), "length", location)
        if length != expected:
            why = f"Its length is {length} bytes; the tensor's shape and type need {expected}."
            _refuse("length", location, why, "Export the model and its data again.")
        descriptor, info = self._file(location)
        if offset + length > info.st_size:
            why = f"Bytes {offset} to {offset + length} are wanted; the file has {info.st_size}."
            _refuse("range", location, why, "The data file is cut short or belongs to another model.")
        data = _read_all(descriptor, offset, length)
        if len(data) != length:
            _refuse("changed", location, "The file became shorter while it was read.", "Load the model again.")
        return data

    def _file(self, location: Text) -> tuple[int, os.stat_result]:
        if not isinstance(location, str) or not location or "\0" in location:
            _refuse("path", location, "The location is empty or not a file name.", "Export the model again.")
        if location not in self._open:
            descriptor = self._open_inside(location)
            self._open[location] = (descriptor, _check_regular(descriptor, location))
        return self._open[location]

    def _open_inside(self, location: str) -> int:
        if self._folder is None:
            _refuse("path", location, "The model was not read from a folder.", "Load it by its path.")
        if Path(location).is_absolute():
            _refuse("path", location, "The location is an absolute path.", "Use a path relative to the model file.")
        try:
            target = Path(os.path.realpath(self._folder / location, strict=True))
            root = next((root for root in self._roots if target.is_relative_to(root)), None)
            if root is None:
                hint = "Move the data next to the model, or name its folder in `roots`."
                _refuse("path", location, "The location leads out of the model's folder.", hint)
            return _open_below(root, target.relative_to(root).parts)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            hint = "Keep the data file next to the model, under the name it was exported with."
            _refuse("missing", location, f"The file cannot be opened: {reason}.", hint, error)


def _open_below(root: Path, parts: tuple[str, ...]) -> int:
    """Opens root/part/part… step by step without following links, so that no swapped link leads out."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in parts:
        parent = descriptor
        try:
            descriptor = os.open(part, flags, dir_fd=parent)
        finally:
            os.close(parent)
    return descriptor


def _check_regular(descriptor: int, location: str) -> os.stat_result:
    info = os.fstat(descriptor)
    problem = None
    if not stat.S_ISREG(info.st_mode):
        problem = ("kind", "It is not a regular file.", "External data must be an ordinary file.")
    elif info.st_nlink > 1:  # an unpacked archive can hard-link any file of the user's into the model's folder
        problem = ("hard-link", "The file has further names (hard links).", "Replace it by a copy: cp FILE FILE.copy.")
    if problem:
        os.close(descriptor)
        _refuse(problem[0], location, problem[1], problem[2])
    return info


def _read_all(descriptor: int, offset: int, length: int) -> bytes:
    """`length` bytes from `offset`, fewer only at the end of the file (one read moves at most 2 GiB)."""
    pieces = []
    while length > 0 and (piece := os.pread(descriptor, min(length, 1 << 30), offset)):
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _number(text: Text, what: str, location: Text) -> int:
    if not isinstance(text, str) or not _NUMBER.match(text):
        _refuse("range", location, f"Its {what} is not a number: {shown(text)}.", "Export the model again.")
    return int(text)


def _refuse(code: str, location: Text, why: str, hint: str, cause: Exception | None = None) -> NoReturn:
    raise InvalidModelError(
        "External data of the model is refused.", code=f"external-{code}", where=shown(location), why=why, hint=hint
    ) from cause
