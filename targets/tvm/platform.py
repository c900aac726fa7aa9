"""What a device file says about its machine: compilers' names for it, its instruction sets, how programs run here."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ... import kernels
from ...compiler.errors import UsageError
from ...compiler.target import Device

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9+=._-]{0,63}")


@dataclass(frozen=True)
class Platform:
    """`compiler`: of C++, for this kind of machine; empty: of the machine at hand. `packages`: Debian's names of it.
    `triple` and `cpu` are LLVM's; `isas` the kernels' instruction sets besides generic ones, empty: all. `needs`: the
    instruction set of the kernels without which code for `cpu` cannot be executed.
    """

    compiler: str = ""
    packages: str = "g++"
    triple: str = ""
    cpu: str = ""
    isas: tuple[str, ...] = ()
    needs: str = ""
    emulator: str = ""

    @property
    def processor(self) -> str:
        """As CMake and `uname -m` call it."""
        return self.triple.partition("-")[0] or platform.machine()

    @property
    def is_default(self) -> bool:
        """Whether it is the machine at hand with all of its instruction sets: what the installed kernels are for."""
        return not (self.compiler or self.triple or self.isas)

    @property
    def is_here(self) -> bool:
        """Whether this machine executes what was built for the platform."""
        return self.processor == platform.machine() and (not self.needs or self.needs in kernels.isas())

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, for the bundle's description."""
        return {**asdict(self), "isas": list(self.isas)}


def platform_of(device: Device) -> Platform:
    """Reads the device's settings. Raises UsageError for what a command line must not contain."""
    return from_settings(device.data)


def from_settings(data: Mapping[str, Any]) -> Platform:
    """The settings of a device file, or what `as_dict` gave."""
    texts = {key: str(data.get(key, "")) for key in ("compiler", "triple", "cpu", "needs", "emulator")}
    isas = tuple(map(str, data.get("isas", ())))
    for word in (*texts.values(), *isas):
        if word and not _WORD.fullmatch(word):
            raise UsageError("A setting of the device is not a plain word.", code="device-setting", why=repr(word[:64]))
    return Platform(**texts, isas=isas, packages=str(data.get("packages", "g++")))
