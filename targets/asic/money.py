"""What a die costs: dies per wafer, Murphy's yield, cost per good die. Masks, package and test are not in it."""

from __future__ import annotations

import math

from ...compiler.quantity import Quantity


def dies_per_wafer(area_mm2: float, diameter_mm: float) -> float:
    """Whole dies on a round wafer: pi (d/2)^2 / A - pi d / sqrt(2 A) (de Vries, IEEE TSM 2005, first order)."""
    return math.pi * (diameter_mm / 2) ** 2 / area_mm2 - math.pi * diameter_mm / math.sqrt(2 * area_mm2)


def murphy_yield(area_mm2: float, defects_per_cm2: float) -> float:
    """((1 - exp(-AD)) / AD)^2 (Murphy, Proc. IEEE 1964)."""
    expected = area_mm2 / 100 * defects_per_cm2
    return (-math.expm1(-expected) / expected) ** 2 if expected > 0 else 1.0


def good_die_usd(area: Quantity, wafer: Quantity, diameter: Quantity, defects: Quantity) -> Quantity:
    """Wafer cost over good dies; the range takes the ends of all inputs."""

    def cost(area_mm2: float, wafer_usd: float, density: float) -> float:
        return wafer_usd / (dies_per_wafer(area_mm2, diameter.value) * murphy_yield(area_mm2, density))

    return Quantity(
        cost(area.value, wafer.value, defects.value),
        cost(area.low, wafer.low, defects.low),
        cost(area.high, wafer.high, defects.high),
        "USD",
        "modelled",
        f"silicon only, without masks, package and test; Murphy yield; {wafer.source}",
    )
