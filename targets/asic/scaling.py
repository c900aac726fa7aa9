"""Moving a coefficient from the process it was stated for to another, with an error that says how little that is worth.

Area goes with the feature size to some power: 2 if everything shrank alike. Published equations (Stillmaker and Baas,
Integration 2017) give x0.41 from 28 to 16 nm, the power 1.59; the same NVDLA blocks synthesised in both give x0.60, the
power 0.91. The model takes their mean and keeps both as the range. Switching energy goes with capacitance (feature
size) and the square of the nominal supply voltage. Leakage, prices and defect densities are never scaled.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import replace

from .units import Coefficient

AREA_POWER = (0.91, 1.25, 1.59)
CAPACITANCE_POWER = (0.8, 1.0, 1.3)

# Nominal core voltage by feature size in nm (ITRS 2005 and 2013 tables, high-performance logic).
SUPPLY_V: Mapping[float, float] = {
    5: 0.65, 7: 0.7, 10: 0.75, 16: 0.8, 22: 0.85, 28: 0.9, 32: 0.95, 45: 1.0, 65: 1.1, 90: 1.2, 130: 1.3, 180: 1.8,
}  # fmt: skip


def supply_v(node_nm: float) -> float:
    """Nominal supply voltage, interpolated between the nodes of the table."""
    nodes = sorted(SUPPLY_V)
    at = bisect_left(nodes, node_nm)
    if at == 0 or at == len(nodes):
        return SUPPLY_V[nodes[min(at, len(nodes) - 1)]]
    low, high = nodes[at - 1], nodes[at]
    share = (node_nm - low) / (high - low)
    return SUPPLY_V[low] * (1 - share) + SUPPLY_V[high] * share


def scale_area(coefficient: Coefficient, node_nm: float) -> Coefficient:
    """An area at `node_nm`; unchanged when it was stated for that process, or for none."""
    if coefficient.node_nm is None:
        return coefficient
    ratio = node_nm / coefficient.node_nm
    return _scaled(coefficient, node_nm, [ratio**power for power in AREA_POWER])


def scale_energy(coefficient: Coefficient, node_nm: float) -> Coefficient:
    """A switching energy at `node_nm`; unchanged when it was stated for that process, or for none."""
    if coefficient.node_nm is None:
        return coefficient
    ratio = node_nm / coefficient.node_nm
    voltage = (supply_v(node_nm) / supply_v(coefficient.node_nm)) ** 2
    return _scaled(coefficient, node_nm, [voltage * ratio**power for power in CAPACITANCE_POWER])


def _scaled(coefficient: Coefficient, node_nm: float, factors: list[float]) -> Coefficient:
    if coefficient.node_nm == node_nm:
        return coefficient
    return replace(
        coefficient,
        value=coefficient.value * factors[1],
        low=coefficient.low * min(factors),
        high=coefficient.high * max(factors),
        node_nm=node_nm,
        source=f"{coefficient.source}; scaled from {coefficient.node_nm:g} nm",
        confidence="low",
    )
