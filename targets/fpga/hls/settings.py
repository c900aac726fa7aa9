"""What this backend reads from a device file: part, clock, scheme, and how many multipliers it may use.

The setting `multipliers` lowers their number below what the DSP slices allow: fewer LUTs, more cycles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

from ....compiler.errors import UsageError
from ....compiler.quantity import Quantity
from ....compiler.target import Device
from .reuse import Budget

BACKENDS = ("Vitis", "Vivado", "Catapult")  # of hls4ml, whose C simulation is exact on this route; Quartus is not
SCHEMES = ("pow2", "fixed")
FEWEST_MULTIPLIERS = 8
DSP_SHARE = 0.8  # of a device's DSP slices may multiply; the rest is left for addresses and for the platform
LUT_SHARE, BRAM_SHARE = 0.7, 0.8  # fuller devices seldom meet their clock (AMD UG949 advises 70 % and 80 %)


def part(device: Device) -> str:
    """The vendor's part number. Raises UsageError when the device file has none."""
    found = device.data.get("part")
    if not isinstance(found, str):
        raise _missing(device, "setting", "part")
    return found


def hls_backend(device: Device) -> str:
    """hls4ml's backend: Vitis unless the setting `hls_backend` says otherwise."""
    return _choice(device, "hls_backend", BACKENDS)


def scheme(device: Device) -> Literal["pow2", "fixed"]:
    """The requantization scheme: `pow2` unless the setting `hls_scheme` says otherwise."""
    return cast("Literal['pow2', 'fixed']", _choice(device, "hls_scheme", SCHEMES))


def clock_period_ns(device: Device) -> float:
    """The clock that designs are synthesised for."""
    found = device.data.get("clock_period_ns")
    if not isinstance(found, Quantity):
        raise _missing(device, "constant", "clock_period_ns")
    return found.value


def multiplier_budget(device: Device) -> int:
    """How many multipliers a network may have on this device: those of its DSP slices, or fewer by `multipliers`."""
    if "dsp" not in device.resources:
        raise _missing(device, "resource", "dsp")
    most = int(device.resources["dsp"].value * DSP_SHARE)
    return min(most, int(device.data.get("multipliers", most)))


def budget(device: Device) -> Budget:
    """What a design may take of this device; fewer `multipliers` leave fewer LUTs for products, too."""
    for key in ("lut", "bram"):
        if key not in device.resources:
            raise _missing(device, "resource", key)
    dsp = multiplier_budget(device)
    return Budget(
        dsp=dsp,
        lut=device.resources["lut"].value * LUT_SHARE,
        bram=device.resources["bram"].value * BRAM_SHARE,
        lut_share=dsp / max(int(device.resources["dsp"].value * DSP_SHARE), 1),
    )


def multiplier_choices(device: Device) -> tuple[int, ...]:
    """Budgets of multipliers worth trying, ascending: each a third more than the one before, up to the device's own."""
    choices = [multiplier_budget(device)]
    while choices[-1] > FEWEST_MULTIPLIERS:
        choices.append(choices[-1] * 3 // 4)
    return tuple(reversed(choices))


def _choice(device: Device, key: str, known: Sequence[str]) -> str:
    found = device.data.get(key, known[0])
    if found not in known:
        raise UsageError(
            f"The device '{device.name}' sets '{key}' to '{str(found)[:64]}'.",
            code="device-setting",
            where=device.name,
            hint=f"Known values: {', '.join(known)}.",
        )
    return str(found)


def _missing(device: Device, kind: str, key: str) -> UsageError:
    return UsageError(
        f"The device '{device.name}' has no {kind} '{key}'.",
        code="device-setting",
        where=device.name,
        hint="The backend 'hls' needs it in the device file.",
    )
