"""Fetches TVM's small runtime for another processor, so that libraries for it can be run under an emulator:

    python -m prunus.targets.tvm.fetch aarch64

pip downloads the packages of the very versions that are installed here, for that processor; two libraries of them are
kept in the cache (`emulate.runtime_folder`). Nothing else in Prunus fetches anything.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from importlib.metadata import version
from pathlib import Path

from ...compiler.errors import UsageError
from ..process import run
from .emulate import RUNTIME, runtime_folder

PROCESSORS = ("aarch64", "x86_64")
PACKAGES = ("apache-tvm", "apache-tvm-ffi")
MANYLINUX = ("2_17", "2_24", "2_27", "2_28")
FETCH_TIMEOUT_S = 1800.0


def fetch(processor: str) -> Path:
    """Returns the folder with the libraries. Raises UsageError, ToolError."""
    if processor not in PROCESSORS:
        raise UsageError(
            "There is no package of TVM for this processor.",
            code="unknown-processor",
            why=repr(processor[:64]),
            hint=f"One of {', '.join(PROCESSORS)}.",
        )
    target = runtime_folder(processor)
    with tempfile.TemporaryDirectory(prefix="prunus-fetch-") as name:
        platforms = [word for tag in MANYLINUX for word in ("--platform", f"manylinux_{tag}_{processor}")]
        packages = [f"{package}=={version(package)}" for package in PACKAGES]
        options = ["--no-deps", "--only-binary=:all:", "--python-version", "3.11", "-d", name]
        argv = [sys.executable, "-m", "pip", "download", *options, *platforms, *packages]
        run(argv, what="Fetching the TVM runtime", cwd=Path(name), timeout_s=FETCH_TIMEOUT_S, memory_bytes=None)
        target.mkdir(parents=True, exist_ok=True)
        for wheel in sorted(Path(name).glob("*.whl")):
            _take(wheel, target)
    return target


def _take(wheel: Path, target: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            if Path(member).name in RUNTIME:
                (target / Path(member).name).write_bytes(archive.read(member))


if __name__ == "__main__":
    sys.stdout.write(f"{fetch(sys.argv[1] if len(sys.argv) > 1 else '')}\n")
