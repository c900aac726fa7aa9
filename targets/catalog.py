"""The device catalogue: boards and chips as TOML files, each constant with unit and source."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..compiler.doctor import Check
from ..compiler.errors import ToolError, UsageError
from ..compiler.quantity import Quantity
from ..compiler.target import Device, Target

ENTRY_POINTS = "prunus.targets"
# AMD's chips: family and size, then package, pins, speed and temperature grades
_CHIP = re.compile(r"(xc7[aksz]\d+t?|xczu\d+(?:eg|ev|cg)|xck26|xcu\d+)-?[a-z]{3,4}\d+[a-z0-9-]{0,12}")


class Constant(BaseModel):
    """One physical constant. `low` and `high` default to the value itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    value: float
    unit: str
    source: str = Field(min_length=3)
    low: float | None = None
    high: float | None = None

    def quantity(self) -> Quantity:
        low = self.value if self.low is None else self.low
        high = self.value if self.high is None else self.high
        return Quantity(self.value, low, high, self.unit, "modelled", self.source)


class DeviceFile(BaseModel):
    """One file of `devices/`. `settings` are identifiers that a backend needs (part numbers, flags): not physics."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    kind: Literal["fpga", "cpu", "gpu", "mcu", "asic"]
    title: str
    backend: str
    backends: tuple[str, ...] = ()
    resources: Mapping[str, Constant] = Field(default_factory=dict)
    constants: Mapping[str, Constant] = Field(default_factory=dict)
    settings: Mapping[str, Any] = Field(default_factory=dict)

    def device(self, backend: str) -> Device:
        return Device(
            name=self.name,
            kind=self.kind,
            backend=backend,
            title=self.title,
            resources={key: constant.quantity() for key, constant in sorted(self.resources.items())},
            data={
                **{key: constant.quantity() for key, constant in sorted(self.constants.items())},
                **dict(sorted(self.settings.items())),
            },
        )


@cache
def device_files() -> Mapping[str, DeviceFile]:
    """All devices by name, sorted."""
    folder = files(__package__) / "devices"
    found: dict[str, DeviceFile] = {}
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        if entry.name.endswith(".toml"):
            found[entry.name[:-5]] = parse_device(entry.read_text(encoding="utf-8"), entry.name)
    return found


def parse_device(text: str, where: str) -> DeviceFile:
    """Validates one device file. Raises UsageError that names the key at fault."""
    try:
        return DeviceFile.model_validate(tomllib.loads(text))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise UsageError("A device file is not valid.", code="device-file", where=where, why=str(error)) from error


def backends() -> Mapping[str, Target]:
    """One target object per backend, from the entry points, sorted by name."""
    found = sorted(entry_points(group=ENTRY_POINTS), key=lambda point: point.name)
    return {point.name: point.load()() for point in found}


def resolve(spec: str) -> tuple[Target, Device]:
    """`[backend:]DEVICE`, `[backend:]FILE.toml`, `hls:part=NUMBER` or `asic:FILE.yaml` -> target and device. Raises
    UsageError with the nearest names for a typo."""
    backend, _, name = spec.rpartition(":")
    if name.endswith((".yaml", ".yml", ".cfg")) and backend in ("", "asic"):
        return _backend("asic"), architecture_device(Path(name))
    if name.startswith("part="):
        return _backend("hls"), part_device(backend, name.removeprefix("part="))
    if name.endswith(".toml"):
        return _with_backend(_own_file(Path(name)), backend)
    known = device_files()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        raise UsageError(
            f"There is no device called '{name[:64]}'.",
            code="unknown-device",
            why="It is not in the catalogue.",
            hint=f"Did you mean {' or '.join(near)}?" if near else "`prunus targets` lists all devices.",
        )
    return _with_backend(known[name], backend)


def _with_backend(entry: DeviceFile, backend: str) -> tuple[Target, Device]:
    backend = backend or entry.backend
    if backend not in {entry.backend, *entry.backends}:
        raise UsageError(
            f"The device '{entry.name}' has no backend '{backend[:64]}'.",
            code="unknown-backend",
            hint=f"Backends of this device: {', '.join(dict.fromkeys((entry.backend, *entry.backends)))}.",
        )
    return _backend(backend), entry.device(backend)


def _own_file(path: Path) -> DeviceFile:
    """A device file that the user wrote."""
    try:
        return parse_device(path.read_text(encoding="utf-8"), path.name)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            "A device file cannot be read.", code="device-file", where=path.name, why=str(error)
        ) from error


def part_device(backend: str, part: str) -> Device:
    """An FPGA by its vendor's part number: any package and speed grade of a chip that a board of the catalogue has."""
    chip = _CHIP.fullmatch(part)
    if chip is not None and backend in ("", "hls"):
        for entry in device_files().values():
            known = _CHIP.fullmatch(str(entry.settings.get("part", "")))
            if entry.backend == "hls" and known is not None and known[1] == chip[1]:
                settings = {**entry.settings, "part": part}
                title = f"{part} (resources and clock as on {entry.name})"
                return entry.model_copy(update={"name": f"part-{part}", "title": title, "settings": settings}).device(
                    "hls"
                )
    raise UsageError(
        f"The part '{ascii(part)[1:-1][:40]}' is of no chip in the catalogue.",
        code="unknown-part",
        hint="Describe it in a device file (copy one of targets/devices) and give its path: --target hls:FILE.toml.",
    )


def checks() -> list[Check]:
    """What the targets need of this machine, for `prunus doctor`."""
    from . import doctor

    return doctor.checks()


def architecture_device(path: Path) -> Device:
    """An ASIC that the user describes in an architecture file."""
    from .asic.architecture_file import load_architecture

    architecture = load_architecture(path)
    return Device(
        name=architecture.name,
        kind="asic",
        backend="asic",
        title=architecture.title or architecture.name,
        data={"architecture_file": str(path)},
    )


def _backend(name: str) -> Target:
    points = entry_points(group=ENTRY_POINTS, name=name)
    if not points:
        raise ToolError(f"The backend '{name}' is not installed.", code="missing-backend")
    target: Target = next(iter(points)).load()()
    return target
