"""Numbers with units as people write them ("512 KiB", "12.8 GB/s"), and coefficients that carry their origin."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ...compiler.quantity import Quantity

Confidence = Literal["definition", "high", "medium", "low"]

# Dimension -> unit -> factor to the dimension's own unit, which is the first.
DIMENSIONS: Mapping[str, Mapping[str, float]] = {
    "size": {"B": 1, "kB": 1e3, "MB": 1e6, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3, "bit": 0.125},
    "rate": {"B/s": 1, "MB/s": 1e6, "GB/s": 1e9, "MiB/s": 1024**2, "GiB/s": 1024**3},
    "port": {"B/cycle": 1, "bit/cycle": 0.125},
    "frequency": {"Hz": 1, "kHz": 1e3, "MHz": 1e6, "GHz": 1e9},
    "length": {"nm": 1, "um": 1e3},
    "diameter": {"mm": 1},
    "energy_per_byte": {"pJ/B": 1, "fJ/B": 1e-3, "nJ/B": 1e3, "pJ/bit": 8, "fJ/bit": 8e-3},
    "energy": {"pJ": 1, "fJ": 1e-3, "nJ": 1e3},
    "power": {"W": 1, "mW": 1e-3, "uW": 1e-6},
    "power_density": {"W/mm2": 1, "mW/mm2": 1e-3},
    "area": {"mm2": 1, "um2": 1e-6},
    "area_per_size": {"mm2/KiB": 1, "um2/B": 1024e-6, "um2/bit": 8192e-6},
    "money": {"USD": 1, "kUSD": 1e3, "MUSD": 1e6},
    "defect_density": {"1/cm2": 1},
    "fraction": {"": 1, "%": 0.01},
}
EXAMPLES: Mapping[str, str] = {
    "size": "512 KiB",
    "rate": "12.8 GB/s",
    "port": "64 B/cycle",
    "frequency": "1 GHz",
    "length": "16 nm",
    "diameter": "300 mm",
    "energy_per_byte": "3 pJ/B",
    "energy": "0.1 pJ",
    "power": "10 mW",
    "power_density": "3 mW/mm2",
    "area": "0.2 mm2",
    "area_per_size": "0.0024 mm2/KiB",
    "money": "4000 USD",
    "defect_density": "0.1 1/cm2",
    "fraction": "80 %",
}
_NUMBER = re.compile(r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*(\S*)\s*")


class UnitError(ValueError):
    """A value that is not a number of the wanted dimension. `code` says in which way; `hint` what to write."""

    def __init__(self, code: str, why: str, hint: str) -> None:
        super().__init__(why)
        self.code = code
        self.hint = hint


@dataclass(frozen=True)
class Coefficient:
    """A physical constant with its range and origin; `unit` is the own unit of its dimension."""

    value: float
    low: float
    high: float
    unit: str
    source: str
    node_nm: float | None = None  # the process it was stated for; None where that means nothing
    confidence: Confidence = "definition"

    def quantity(self, amount: float = 1.0, unit: str = "", scale: float = 1.0) -> Quantity:
        """`amount` of it, in another unit when `scale` (own unit to that one) is given."""
        factor = amount * scale
        low, high = sorted((self.low * factor, self.high * factor))
        return Quantity(self.value * factor, low, high, unit or self.unit, "modelled", self.source)


def number(text: Any, *dimensions: str) -> tuple[float, str]:
    """'512 KiB' -> (524288.0, 'B') for the dimension 'size'. Raises UnitError; infinities and NaN do not parse."""
    known = {unit: (factor, name) for name in dimensions for unit, factor in DIMENSIONS[name].items()}
    example = f"Write it like '{EXAMPLES[dimensions[0]]}'."
    if isinstance(text, bool) or not isinstance(text, (str, int, float)):
        raise UnitError("not-a-quantity", "A number with a unit was expected.", example)
    match = _NUMBER.fullmatch(text if isinstance(text, str) else repr(text))
    if match is None:
        raise UnitError("not-a-quantity", f"'{str(text)[:40]}' is not a number with a unit.", example)
    value, unit = float(match[1]), match[2]
    if unit not in known:
        if not unit:
            raise UnitError("missing-unit", f"The number {match[1]} has no unit.", example)
        near = difflib.get_close_matches(unit, known, n=1, cutoff=0.3)
        units = f"Units: {', '.join(each or 'none' for each in known)}."
        hint = f"Did you mean '{near[0]}'? {units}" if near else units
        raise UnitError("unknown-unit", f"'{unit[:20]}' is no unit of this quantity.", hint)
    if value < 0:
        raise UnitError("negative", f"{match[1]} is negative.", "Give a number that is not below zero.")
    factor, name = known[unit]
    own = next(iter(DIMENSIONS[name]))
    return value * factor, own
