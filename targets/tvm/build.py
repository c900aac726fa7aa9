"""Compiles the adapter with the device's C++ compiler and links it with the kernels and TVM's objects.

The library is self-contained: it needs the C and C++ standard libraries at load time, and the symbols of the small TVM
runtime from the process that loads it. Equal input gives equal bytes: fixed names in a fresh folder, no build id, no
paths, no symbols beyond the exported ones.
"""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ...compiler.errors import ToolError, missing_extra
from ..process import run
from .archive import archives, source_folder
from .networks import TABLE, PackedRegion, write_table
from .platform import Platform

COMPILE_TIMEOUT_S = 300.0
SOURCES = Path(__file__).with_name("src")
CANDIDATES = ("g++", "c++", "clang++")

COMPILE_FLAGS = ("-std=c++20", "-O2", "-fPIC", "-fvisibility=hidden", "-fno-ident", "-g0")
LINK_FLAGS = ("-shared", "-s", "-Wl,--build-id=none", "-Wl,--hash-style=gnu", "-Wl,-soname,model.so")
EXPORTS = "exports.map"
# what no model calls is dropped; only TVM's entry points are seen from outside
NETWORK_FLAGS = ("-Wl,--gc-sections", f"-Wl,--version-script={EXPORTS}")


@dataclass(frozen=True)
class Toolchain:
    """A C++ compiler for one platform. `version` is its own first line."""

    command: tuple[str, ...]
    version: str
    platform: Platform


def find_toolchain(platform: Platform) -> Toolchain:
    """The device's compiler; on machines of its kind the variable CXX, or the first of g++, c++, clang++.

    Raises ToolError when there is none.
    """
    chosen = [platform.compiler] if platform.compiler else shlex.split(os.environ.get("CXX", ""))
    names = [chosen[0]] if chosen else list(CANDIDATES)
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        also = "" if platform.compiler else ", or set CXX to the compiler's path"
        raise ToolError(
            f"No C++ compiler for {platform.processor} was found.",
            code="missing-compiler",
            why=f"Looked for {', '.join(names)} on PATH.",
            hint=f"Debian: apt install {platform.packages}{also}",
        )
    command = (path, *chosen[1:])
    version = run([*command, "--version"], what="The C++ compiler", cwd=Path.cwd(), timeout_s=30).splitlines()
    return Toolchain(command, version[0].strip() if version else "unknown", platform)


def include_of_ffi() -> Path:
    """Of the headers that adapter and example program are compiled with."""
    try:
        from tvm_ffi import libinfo
    except ImportError as error:
        raise missing_extra("apache-tvm-ffi", "tvm") from error
    return Path(libinfo.find_include_path())


def prepare_kernels(toolchain: Toolchain) -> tuple[Path, ...]:
    """The kernels as static libraries: minutes where they were not compiled for this platform before."""
    return archives(toolchain.command[0], toolchain.version, toolchain.platform)


def link(toolchain: Toolchain, executable: Any, regions: tuple[PackedRegion, ...], library: Path) -> None:
    """Links TVM's objects, the packed networks and the kernels into `library`."""
    with TemporaryDirectory(prefix="prunus-tvm-") as name:
        folder = Path(name)
        own = _compile_adapter(toolchain, regions, folder) if regions else []
        shutil.copyfile(SOURCES / EXPORTS, folder / EXPORTS)

        def link_objects(_name: str, files: Sequence[str], **_options: Any) -> None:
            objects = [*(Path(file).name for file in files), *own]
            flags = [*LINK_FLAGS, *NETWORK_FLAGS]
            argv = [*toolchain.command, *flags, *objects, "-lpthread", "-lm", "-o", str(library.absolute())]
            run(argv, what="Linking the library", cwd=folder, timeout_s=COMPILE_TIMEOUT_S)

        executable.export_library(str(library), fcompile=link_objects, workspace_dir=name, addons=[])


def _compile_adapter(toolchain: Toolchain, regions: tuple[PackedRegion, ...], folder: Path) -> list[str]:
    """Returns what to link, by names in `folder`."""
    write_table(regions, folder)
    for unit in ("adapter.cc", "regions.h"):
        shutil.copyfile(SOURCES / unit, folder / unit)
    includes = ["-I.", f"-I{source_folder() / 'include'}", f"-I{include_of_ffi()}"]
    objects = []
    for unit in ("adapter.cc", TABLE):
        argv = [*toolchain.command, *COMPILE_FLAGS, *includes, "-c", unit, "-o", f"{unit}.o"]
        run(argv, what=f"Compiling {unit}", cwd=folder, timeout_s=COMPILE_TIMEOUT_S)
        objects.append(f"{unit}.o")
    for archive in prepare_kernels(toolchain):
        shutil.copyfile(archive, folder / archive.name)
        objects.append(archive.name)
    return objects
