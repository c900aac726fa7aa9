"""Compiles the adapter and the kernels with the system's C compiler and links them with TVM's objects.

The library is self-contained: it needs libc and libm at load time, and the symbols of the small TVM runtime from the
process that loads it. Equal input gives equal bytes: fixed names in a fresh folder, no build id, no paths, no symbols
beyond the exported ones.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ... import kernels
from ...compiler.errors import ToolError, UsageError, missing_extra
from ..process import run

COMPILE_TIMEOUT_S = 300.0
ADAPTER = Path(__file__).with_name("adapter.c")
CANDIDATES = ("gcc", "cc", "clang")

# Contraction to FMA would change roundings; everything else here keeps the bytes reproducible.
COMPILE_FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", "-fPIC", "-fvisibility=hidden", "-fno-ident", "-g0")
LINK_FLAGS = ("-shared", "-s", "-Wl,--build-id=none", "-Wl,--hash-style=gnu", "-Wl,-soname,model.so")
_MARCH = re.compile(r"[a-z0-9][a-z0-9+._-]{0,63}")


@dataclass(frozen=True)
class Toolchain:
    """A C compiler with the flags for one device. `version` is its own first line."""

    command: tuple[str, ...]
    version: str
    march: str

    @property
    def flags(self) -> tuple[str, ...]:
        return (*COMPILE_FLAGS, f"-march={self.march}")


def find_toolchain(march: str) -> Toolchain:
    """The compiler named by the variable CC, or the first of gcc, cc, clang. Raises ToolError when there is none."""
    if not _MARCH.fullmatch(march):
        raise UsageError("The device's `march` is not an architecture name.", code="device-march", why=repr(march[:64]))
    chosen = shlex.split(os.environ.get("CC", ""))
    names = [chosen[0]] if chosen else list(CANDIDATES)
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        raise ToolError(
            "No C compiler was found.",
            code="missing-compiler",
            why=f"Looked for {', '.join(names)} on PATH.",
            hint="Install gcc or clang (Debian: apt install gcc), or set CC to the compiler's path.",
        )
    command = (path, *chosen[1:])
    version = run([*command, "--version"], what="The C compiler", cwd=Path.cwd(), timeout_s=30).splitlines()
    return Toolchain(command, version[0].strip() if version else "unknown", march)


def _include_of_ffi() -> Path:
    try:
        from tvm_ffi import libinfo
    except ImportError as error:
        raise missing_extra("apache-tvm-ffi", "tvm") from error
    return Path(libinfo.find_include_path())


@cache
def kernel_objects(toolchain: Toolchain) -> tuple[bytes, ...]:
    """The adapter and all kernels as object files, in a fixed order; compiled once per process and toolchain."""
    files, include = kernels.sources()
    includes = [f"-I{include}", f"-I{_include_of_ffi()}"]
    objects = []
    with TemporaryDirectory(prefix="prunus-tvm-") as folder:
        for unit in (ADAPTER, *sorted(files, key=lambda file: file.name)):
            prefix = f"-ffile-prefix-map={unit.parent}=."
            argv = [*toolchain.command, *toolchain.flags, prefix, *includes, "-c", str(unit), "-o", "unit.o"]
            run(argv, what=f"Compiling {unit.name}", cwd=Path(folder), timeout_s=COMPILE_TIMEOUT_S)
            objects.append(Path(folder, "unit.o").read_bytes())
    return tuple(objects)


def link(toolchain: Toolchain, executable: Any, library: Path) -> None:
    """Links TVM's objects and the kernels into `library`."""
    with TemporaryDirectory(prefix="prunus-tvm-") as name:
        folder = Path(name)
        own = []
        for index, content in enumerate(kernel_objects(toolchain)):
            own.append(f"kernel{index:02d}.o")
            (folder / own[-1]).write_bytes(content)

        def link_objects(_name: str, files: Sequence[str], **_options: Any) -> None:
            objects = [*(Path(file).name for file in files), *own]
            argv = [*toolchain.command, *LINK_FLAGS, *objects, "-lm", "-o", str(library.absolute())]
            run(argv, what="Linking the library", cwd=folder, timeout_s=COMPILE_TIMEOUT_S)

        executable.export_library(str(library), fcompile=link_objects, workspace_dir=name, addons=[])
