"""The kernel library for a platform: installed with the package for machines of this kind, else compiled once per
compiler and set of instruction sets, then cached.

The cache is the folder `tvm-kernels` in PRUNUS_CACHE, else in XDG_CACHE_HOME/prunus or ~/.cache/prunus. An entry's name
is a digest of the sources and of all that their compilation depends on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from ... import kernels
from ...compiler.errors import ToolError
from ..process import run
from .platform import Platform

ARCHIVES = ("libprunus_kernels.a", "libprunus_micro.a")  # in the linker's order
BUILD_TIMEOUT_S = 1800.0


def cache_folder() -> Path:
    """Where built archives and fetched runtimes lie."""
    own = os.environ.get("PRUNUS_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else (Path(base) if base else Path.home() / ".cache") / "prunus"


def source_folder() -> Path:
    """The kernels' sources with their CMake file. Raises ToolError where the package came without them."""
    folder = Path(kernels.__file__).resolve().parent
    if not (folder / "CMakeLists.txt").is_file() or not (folder / "src" / "network").is_dir():
        raise ToolError(
            "The sources of the kernels are missing.",
            code="missing-sources",
            where=str(folder),
            why="They are compiled for the device.",
            hint="Install the package again: pip install --force-reinstall prunus",
        )
    return folder


def archives(compiler: str, version: str, platform: Platform) -> tuple[Path, ...]:
    """The static libraries, built where neither the package nor the cache has them. Raises ToolError, LimitError."""
    installed = _installed() if platform.is_default else ()
    if installed:
        return installed
    sources = source_folder()
    folder = cache_folder() / "tvm-kernels" / _digest(sources, version, platform)
    found = tuple(folder / name for name in ARCHIVES)
    if not all(path.is_file() for path in found):
        _build(sources, compiler, platform, folder)
    return found


def _installed() -> tuple[Path, ...]:
    """The static libraries that were built with this package; none where it was built without them."""
    folders = [Path(__file__).with_name("lib")]
    with contextlib.suppress(PackageNotFoundError):  # an editable installation keeps apart what was built
        folders.append(Path(str(distribution("prunus").locate_file("prunus/targets/tvm/lib"))))
    for folder in folders:
        found = tuple(folder / name for name in ARCHIVES)
        if all(path.is_file() for path in found):
            return found
    return ()


def _digest(sources: Path, version: str, platform: Platform) -> str:
    hashed = hashlib.sha256(json.dumps([version, platform.processor, sorted(platform.isas)]).encode())
    files = [sources / "CMakeLists.txt", *sources.glob("src/**/*"), *sources.glob("include/**/*")]
    for path in sorted(path for path in files if path.is_file()):
        hashed.update(f"{path.relative_to(sources)}\0".encode())
        hashed.update(path.read_bytes())
    return hashed.hexdigest()[:32]


def _build(sources: Path, compiler: str, platform: Platform, folder: Path) -> None:
    """Into a folder beside it first: who finds it finds it whole."""
    if shutil.which("cmake") is None:
        raise ToolError(
            "CMake was not found: the kernels cannot be compiled for the device.",
            code="missing-cmake",
            hint="Debian: apt install cmake; or: pip install cmake",
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    options = {
        "CMAKE_BUILD_TYPE": "Release",
        "CMAKE_SYSTEM_NAME": "Linux",
        "CMAKE_SYSTEM_PROCESSOR": platform.processor,
        "CMAKE_CXX_COMPILER": compiler,
        "CMAKE_C_COMPILER": _c_compiler(compiler),
        "PRUNUS_PYTHON": "OFF",
        "PRUNUS_ORT": "OFF",
        "PRUNUS_ISAS": ";".join(platform.isas),
    }
    with tempfile.TemporaryDirectory(prefix="build-", dir=folder.parent) as name:
        build = Path(name)
        words = [f"-D{key}={value}" for key, value in options.items()]
        what = "Compiling the kernels for the device"
        run(["cmake", "-S", str(sources), "-B", name, *words], what=what, cwd=build, timeout_s=BUILD_TIMEOUT_S)
        jobs = str(len(os.sched_getaffinity(0)))
        argv = ["cmake", "--build", name, "--target", "prunus_kernels", "--parallel", jobs]
        run(argv, what=what, cwd=build, timeout_s=BUILD_TIMEOUT_S)
        ready = build / "ready"
        ready.mkdir()
        for archive in ARCHIVES:
            shutil.copyfile(build / archive, ready / archive)
        if not folder.exists():
            ready.rename(folder)


def _c_compiler(compiler: str) -> str:
    """The C compiler that belongs to one of C++."""
    path = Path(compiler)
    for ours, theirs in (("clang++", "clang"), ("g++", "gcc"), ("c++", "cc")):
        if ours in path.name:
            return str(path.with_name(path.name.replace(ours, theirs)))
    return compiler
