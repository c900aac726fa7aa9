"""Output folders are complete or absent: written aside, flushed, renamed; the manifest last; one writer at a time."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import LimitError, ToolError, UsageError

MANIFEST = "manifest.json"
MANIFEST_SCHEMA = "prunus.manifest/1"


def write_text(path: Path, text: str) -> None:
    """Writes a file and flushes it to disk."""
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def as_json(data: Any) -> str:
    """JSON as Prunus writes it: sorted keys, two spaces, one final newline, no NaN."""
    return json.dumps(data, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=True) + "\n"


def refuse_foreign(out: Path) -> None:
    """Raises UsageError when a folder cannot become the output: it holds something else."""
    if not out.exists():
        return
    if not out.is_dir() or out.is_symlink():
        raise UsageError(
            "The output path exists and is not a folder.",
            code="output-not-folder",
            where=str(out),
            hint="Choose another --out.",
        )
    if any(out.iterdir()) and not (out / MANIFEST).is_file():
        raise UsageError(
            "The output folder holds files that Prunus did not write.",
            code="output-not-empty",
            where=str(out),
            why=f"It is not empty and has no {MANIFEST}.",
            hint="Choose an empty or a new folder with --out.",
        )


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place when the block ends well and disappears when it does not.

    An earlier result of Prunus under `out` is replaced as a whole. Raises UsageError when `out` holds other files,
    LimitError when another run is writing to it, ToolError when the place cannot be written.
    """
    out = out.absolute()
    refuse_foreign(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lock = (out.parent / f".{out.name}.lock").open("w")
    except OSError as error:
        raise ToolError(
            "The output folder cannot be created.", code="output-not-writable", where=str(out), why=error.strerror
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise LimitError(
                "Another run is writing to this output folder.",
                code="output-locked",
                where=str(out),
                hint="Wait for it, or choose another --out.",
            ) from error
        staging = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".partial", dir=out.parent))
        try:
            staging.chmod(0o755)
            yield staging
            _replace(staging, out)
        except OSError as error:
            raise ToolError(
                "The output could not be written.",
                code="output-failed",
                where=str(out),
                why=error.strerror or str(error),
            ) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            Path(lock.name).unlink(missing_ok=True)


def _replace(staging: Path, out: Path) -> None:
    old = staging.with_suffix(".old")
    if out.exists():
        out.rename(old)
    staging.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def refuse_nowhere(file: Path) -> None:
    """Raises UsageError (`no-such-folder`) when a file cannot be written since its folder does not exist."""
    if not file.absolute().parent.is_dir():
        raise UsageError(
            "The folder to write to does not exist.",
            code="no-such-folder",
            where=str(file.parent),
            hint="Create it, or choose another --out.",
        )


def file_table(root: Path) -> list[dict[str, Any]]:
    """Path, size in bytes and SHA-256 of every file under `root`, sorted by path."""
    rows = []
    for path in sorted(item for item in root.rglob("*") if item.is_file()):
        rows.append(
            {
                "path": path.relative_to(root).as_posix(),
                "bytes": path.stat().st_size,
                "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            }
        )
    return rows


def write_manifest(root: Path, content: dict[str, Any]) -> None:
    """Writes the manifest, the last file of an output: with it the folder is complete.

    The report carries the run's time stamps and is therefore listed without a digest, so that equal runs have equal
    manifests.
    """
    files = [row for row in file_table(root) if row["path"] != MANIFEST]
    for row in files:
        if row["path"] == "report.json":
            row["sha256"] = row["bytes"] = None
    write_text(root / MANIFEST, as_json({"schema": MANIFEST_SCHEMA, **content, "files": files}))
    descriptor = os.open(root, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
