"""The C compiler of a device, and the machine that executes its programs here: nothing, or an emulator."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...compiler.errors import ToolError, UsageError
from ...compiler.target import Device
from ..process import run

COMPILE_TIMEOUT_S = 300.0
RUN_TIMEOUT_S = 900.0

# Contraction to FMA would change roundings; sections let the linker drop what the model does not call.
COMMON_FLAGS = ("-std=c11", "-ffp-contract=off", "-ffunction-sections", "-fdata-sections")
WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Werror")
_WORD = re.compile(r"-?[A-Za-z0-9][A-Za-z0-9+=._-]{0,63}")
_EMULATORS_PACKAGE = {"qemu-system-arm": "qemu-system-arm"}  # any other, such as qemu-aarch64: qemu-user


@dataclass(frozen=True)
class Toolchain:
    """What a device file says: `machine` is a board that qemu-system-arm emulates, `emulator` a program that takes the
    executable; neither: it runs as it is. `tile` bounds the kernels' stack: (depth, channels) of the product tile."""

    compiler: str
    packages: str
    flags: tuple[str, ...]
    emulator: str = ""
    machine: str = ""
    code_address: int = 0
    data_address: int = 0
    tick_ns: int = 0
    flash_bytes: int = 0
    ram_bytes: int = 0
    tile: tuple[int, int] | None = None

    @property
    def embedded(self) -> bool:
        """Whether there is no operating system."""
        return bool(self.machine)

    @property
    def size_tool(self) -> str:
        """The program that tells the sizes of sections."""
        return self.compiler.removesuffix("gcc") + "size" if self.compiler.endswith("gcc") else "size"

    @property
    def tick_flag(self) -> str:
        """The macro that tells the board's file how long a tick of its timer is, in nanoseconds."""
        return f"-DBOARD_TICK_NS={self.tick_ns}"

    def compile_flags(self, macros: Sequence[str]) -> tuple[str, ...]:
        """For the model and the kernels, which take the macros."""
        return (*COMMON_FLAGS, *self.flags, *macros)

    def runner(self) -> tuple[str, ...]:
        """The command that stands before the name of an executable."""
        if not self.embedded:
            return (self.emulator,) if self.emulator else ()
        semihosting = ("-semihosting-config", "enable=on,target=native", "-icount", "shift=0")
        quiet = ("-nographic", "-monitor", "none", "-serial", "null")
        return ("qemu-system-arm", "-M", self.machine, *quiet, *semihosting, "-kernel")


def toolchain_of(device: Device) -> Toolchain:
    """Reads the device's settings. Raises UsageError for what a command line must not contain."""
    data: Mapping[str, Any] = device.data
    compiler, packages, flags = _compiler(device)
    words = [compiler, *flags]
    words += [str(data[key]) for key in ("emulator", "machine") if key in data]
    for word in words:
        if not _WORD.fullmatch(word):
            raise UsageError("A setting of the device is not a plain word.", code="device-setting", why=repr(word[:64]))
    tile = data.get("tile")
    return Toolchain(
        compiler=compiler,
        packages=packages,
        flags=flags,
        emulator=str(data.get("emulator", "")),
        machine=str(data.get("machine", "")),
        code_address=int(data.get("code_address", 0)),
        data_address=int(data.get("data_address", 0)),
        tick_ns=int(data.get("tick_ns", 0)),
        flash_bytes=_amount(device, "flash_bytes"),
        ram_bytes=_amount(device, "ram_bytes"),
        tile=(int(tile[0]), int(tile[1])) if tile else None,
    )


def _compiler(device: Device) -> tuple[str, str, tuple[str, ...]]:
    """(compiler, packages, flags). Devices that other backends share name a compiler of C++ and a processor."""
    compiler, packages = (str(device.data.get(key, usual)) for key, usual in (("compiler", "cc"), ("packages", "gcc")))
    if "flags" in device.data:
        return compiler, packages, tuple(map(str, device.data["flags"]))
    flags = ["-O3"] if compiler == "cc" else ["-O3", "-static"]
    triple, cpu = str(device.data.get("triple", "")), str(device.data.get("cpu", "generic"))
    if cpu != "generic":
        flags.append(f"{'-march' if triple.startswith('x86') else '-mcpu'}={cpu}")
    return re.sub(r"g\+\+$", "gcc", compiler), packages.replace("g++-", "gcc-"), tuple(flags)


def _amount(device: Device, key: str) -> int:
    return int(device.resources[key].value) if key in device.resources else 0


def missing_tool(toolchain: Toolchain) -> str:
    """What to install so that programs of this toolchain can be built and run here, or nothing."""
    if shutil.which(compiler_command(toolchain)[0]) is None:
        return f"{toolchain.compiler} is missing (Debian: apt install {toolchain.packages})"
    runner = toolchain.runner()
    if runner and shutil.which(runner[0]) is None:
        return f"{runner[0]} is missing (Debian: apt install {_EMULATORS_PACKAGE.get(runner[0], 'qemu-user')})"
    return ""


def compiler_command(toolchain: Toolchain) -> list[str]:
    """The compiler; for this machine, the variable CC comes first."""
    if toolchain.compiler != "cc":
        return [toolchain.compiler]
    return shlex.split(os.environ.get("CC", "")) or ["cc"]


def compile_c(toolchain: Toolchain, arguments: Sequence[str], folder: Path, what: str) -> None:
    """Calls the compiler in `folder`. Raises ToolError, LimitError."""
    argv = [*compiler_command(toolchain), *arguments]
    try:
        run(argv, what=what, cwd=folder, timeout_s=COMPILE_TIMEOUT_S, code="compiler-failed")
    except ToolError as error:
        if error.code != "tool-missing":
            raise
        hint = f"Debian: apt install {toolchain.packages}"
        raise ToolError(error.what, code="tool-missing", where=error.where, why=error.why, hint=hint) from error


def execute(toolchain: Toolchain, program: str, folder: Path, what: str) -> str:
    """Runs an executable of `folder` there; returns what it printed. Raises ToolError where it fails."""
    argv = [*toolchain.runner(), f"./{program}"]
    return run(argv, what=what, cwd=folder, timeout_s=RUN_TIMEOUT_S, code="program-failed")
