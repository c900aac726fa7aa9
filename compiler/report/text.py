"""How costs are called and written for people."""

from __future__ import annotations

from ..quantity import UNITS

_SI = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"), (1e-12, "p"))

# What a cost is called on the page.
TITLES = {
    "latency_s": "Latency",
    "latency_cycles": "Latency in cycles",
    "interval_cycles": "Initiation interval",
    "throughput_per_s": "Throughput",
    "energy_j": "Energy per inference",
    "power_w": "Power",
    "area_mm2": "Area",
    "usd": "Cost per good die",
    "lut": "LUT",
    "ff": "Flip-flops",
    "dsp": "DSP",
    "bram": "Block RAM",
    "ram_bytes": "RAM",
    "flash_bytes": "Flash",
    "dram_bytes": "DRAM traffic",
    "sram_bytes": "SRAM traffic",
    "macs": "Multiply-accumulates",
}
OUTLOOK_COSTS = ("latency_s", "energy_j", "lut", "dsp", "ram_bytes")  # of which the outlook of criteria has columns
_COUNTED = frozenset({"LUT", "FF", "DSP", "BRAM18", "cycles"})  # units that take no SI prefix


def si(value: float, unit: str = "") -> str:
    """A value with an SI prefix and three significant digits: 0.00123 s -> '1.23 ms'."""
    if value == 0:
        return f"0 {unit}".rstrip()
    if unit in _COUNTED:
        return f"{value:,.0f} {unit}"
    if unit == "USD":
        return f"{value:,.3f} USD"
    if unit == "1/s":
        return f"{si(value)} /s"
    factor, prefix = next(((f, p) for f, p in _SI if abs(value) >= f), _SI[-1])
    return f"{value / factor:.3g} {prefix}{unit}".rstrip()


def cost(value: float, key: str) -> str:
    """A cost by its name in its own unit."""
    return si(value, UNITS.get(key, ""))


def percent(value: float, digits: int = 2) -> str:
    """0.9875 -> '98.75 %'."""
    return f"{100 * value:.{digits}f} %"


def title(key: str) -> str:
    """The name of a cost for people."""
    return TITLES.get(key, key.replace("_", " "))
