"""Numbers with a unit, a basis and a source: the only form in which Prunus states a cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Basis = Literal["measured", "synthesised", "modelled"]
Combine = Literal["sum", "max", "opaque"]

# What a cost may be called, and in which unit it is stated.
UNITS: Mapping[str, str] = {
    "latency_s": "s",
    "latency_cycles": "cycles",
    "interval_cycles": "cycles",
    "throughput_per_s": "1/s",
    "energy_j": "J",
    "power_w": "W",
    "area_mm2": "mm2",
    "usd": "USD",
    "usd_unit": "USD",
    "lut": "LUT",
    "ff": "FF",
    "dsp": "DSP",
    "bram": "BRAM18",
    "ram_bytes": "B",
    "flash_bytes": "B",
    "dram_bytes": "B",
    "sram_bytes": "B",
    "macs": "MAC",
}


@dataclass(frozen=True)
class Quantity:
    """`value` in `unit`, believed to lie in [low, high]. `source` says where the number comes from."""

    value: float
    low: float
    high: float
    unit: str
    basis: Basis
    source: str

    @classmethod
    def exact(cls, value: float, unit: str, basis: Basis, source: str) -> Quantity:
        return cls(value, value, value, unit, basis, source)

    @classmethod
    def within(cls, value: float, relative: float, unit: str, basis: Basis, source: str) -> Quantity:
        """A value with a symmetric relative error, for example 0.2 for +-20 %."""
        return cls(value, value * (1 - relative), value * (1 + relative), unit, basis, source)


@dataclass(frozen=True)
class LayerCost:
    """The cost of one layer; keys as in `UNITS`."""

    layer: str
    costs: Mapping[str, Quantity]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """What a network costs on a device. `combine` says how a total follows from the layers (`opaque`: it does not).
    `parts` splits a cost where the model knows how: cost -> part -> quantity, the parts add up to the cost."""

    costs: Mapping[str, Quantity]
    layers: tuple[LayerCost, ...] = ()
    combine: Mapping[str, Combine] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    parts: Mapping[str, Mapping[str, Quantity]] = field(default_factory=dict)
