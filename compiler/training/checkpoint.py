"""Checkpoints: the whole state of a training run in one file, written aside and renamed, checked by its digest.

A line with the schema, a line with the SHA-256 of the rest, then an `.npz` without pickles: the run's fingerprint, the
number of epochs done, their losses, and per array its state.
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import ToolError, UsageError

Array = npt.NDArray[Any]
_SCHEMA = b"prunus.checkpoint/1\n"
_DIGEST = 64  # hexadecimal digits
_META = ("fingerprint", "losses")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A run after some epochs. `fingerprint` tells the run: model, data and options."""

    fingerprint: str
    losses: tuple[float, ...]  # one per epoch done
    arrays: Mapping[str, Array]


def write(path: Path, checkpoint: Checkpoint) -> None:
    """The file appears complete or not at all. Raises ToolError (`checkpoint-failed`) when it cannot be written."""
    buffer = io.BytesIO()
    meta = {"fingerprint": np.array(checkpoint.fingerprint), "losses": np.array(checkpoint.losses, np.float64)}
    np.savez(buffer, **meta, **{f"state/{name}": checkpoint.arrays[name] for name in sorted(checkpoint.arrays)})  # type: ignore[arg-type]
    body = buffer.getvalue()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        try:
            with temporary.open("xb") as stream:
                stream.write(_SCHEMA + hashlib.sha256(body).hexdigest().encode() + b"\n" + body)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise ToolError(
            "The checkpoint cannot be written.",
            code="checkpoint-failed",
            where=str(path),
            why=error.strerror or str(error),
            hint="Check the folder and the space left on the disk.",
        ) from error


def read(path: Path, fingerprint: str) -> Checkpoint | None:
    """The state to go on from; None where there is no such file.

    Raises:
        UsageError: the file is damaged or none of ours (`bad-checkpoint`), or of another run (`checkpoint-mismatch`).
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _bad(path, error.strerror or str(error)) from error
    start = len(_SCHEMA) + _DIGEST + 1
    body = data[start:]
    if not data.startswith(_SCHEMA):
        raise _bad(path, "It does not begin like a checkpoint of this version.")
    if data[len(_SCHEMA) : start] != hashlib.sha256(body).hexdigest().encode() + b"\n":
        raise _bad(path, "Its checksum is wrong.")
    with np.load(io.BytesIO(body), allow_pickle=False) as archive:
        found = str(archive["fingerprint"])
        losses = tuple(float(loss) for loss in archive["losses"])
        arrays = {name.removeprefix("state/"): archive[name] for name in archive.files if name not in _META}
    if found != fingerprint:
        raise UsageError(
            "The checkpoint belongs to another run.",
            code="checkpoint-mismatch",
            where=str(path),
            why="The model, the data or an option differs.",
            hint="Repeat the run with the same settings, or give another checkpoint file.",
        )
    return Checkpoint(found, losses, arrays)


def _bad(path: Path, why: str) -> UsageError:
    return UsageError(
        "The checkpoint cannot be read.",
        code="bad-checkpoint",
        where=str(path),
        why=why,
        hint="Delete it to start from the beginning.",
    )


def fingerprint(parts: Mapping[str, bytes | str | Array]) -> str:
    """One digest of everything that determines a run."""
    digest = hashlib.sha256()
    for name in sorted(parts):
        part = parts[name]
        if isinstance(part, np.ndarray):
            head, body = f"{part.dtype}{part.shape}", np.ascontiguousarray(part).tobytes()
        else:
            head, body = "", part.encode() if isinstance(part, str) else part
        digest.update(f"{name}:{head}:{len(body)}:".encode())
        digest.update(body)
    return digest.hexdigest()
