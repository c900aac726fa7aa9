"""What nextpnr says when a design and a device do not go together, as errors of ours."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping

from ....compiler.errors import PrunusError, UnsupportedError, UsageError
from .families import Family

_OUT_OF_CELLS = re.compile(r"no BELs remaining to implement cell type '(\w+)'")
_OUT_OF_PINS = re.compile(r"Unable to find a placement location for cell '[^']*\$sb_io'")  # so says nextpnr-ice40
_CROWDED = re.compile(r"Unable to find legal placement", re.IGNORECASE)
_NO_SUCH_PIN = re.compile(
    r"does not have a pin named '([^']+)'|constrained to pin '([^']+)', which does not exist|Pin (\S+) not found"
)


def refusal(text: str, family: Family, parameters: Mapping[str, str]) -> PrunusError | None:
    """The error that a log of nextpnr stands for; None where the tool itself failed."""
    if pin := _NO_SUCH_PIN.search(text):
        return _no_such_pin(next(name for name in pin.groups() if name), _device(parameters))
    if cell := _OUT_OF_CELLS.search(text):
        return _too_small(_resource(cell[1], family), _line(text, cell.start()), parameters)
    if lacking := _OUT_OF_PINS.search(text):
        return _too_small("pins", _line(text, lacking.start()), parameters)
    if crowded := _CROWDED.search(text):
        return _too_small("lut", _line(text, crowded.start()), parameters)
    return None


def _resource(cell: str, family: Family) -> str:
    """The resource that a cell type counts as: nextpnr's names of packed cells, or yosys's."""
    if cell in family.pins:
        return "pins"
    for key, names in family.utilization.items():
        if cell in names:
            return key
    for key, patterns in family.cells.items():
        if any(fnmatch.fnmatchcase(cell, pattern) for pattern in patterns):
            return key
    return cell


def _too_small(resource: str, said: str, parameters: Mapping[str, str]) -> UnsupportedError:
    smaller = (
        "Choose a board with more pins, or keep the serial line, which needs four."
        if resource == "pins"
        else "Prune more, use fewer bits, or choose a larger board (`prunus targets`)."
    )
    return UnsupportedError(
        "The design does not fit the device.",
        code="device-too-small",
        where=_device(parameters),
        why=f"binding: {resource} ({said})",
        hint=smaller,
    )


def _no_such_pin(pin: str, device: str) -> UsageError:
    return UsageError(
        f"The device has no pin '{pin}'.",
        code="device-setting",
        where=device,
        hint="Correct `pins` in the device file, or its package.",
    )


def _device(parameters: Mapping[str, str]) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(parameters.items()))


def _line(text: str, position: int) -> str:
    """What the line at a position says."""
    line = text[text.rfind("\n", 0, position) + 1 :].splitlines()[0]
    return line.rpartition("ERROR: ")[2][:300]
