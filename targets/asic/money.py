"""What a chip costs: dies per wafer, yield, a good die, and a packaged, tested unit at a volume."""

from __future__ import annotations

import math

from ...compiler.quantity import Quantity
from .architecture import Manufacturing


def dies_per_wafer(area_mm2: float, diameter_mm: float) -> float:
    """Whole dies on a round wafer: pi (d/2)^2 / A - pi d / sqrt(2 A) (de Vries, IEEE TSM 2005, first order)."""
    return math.pi * (diameter_mm / 2) ** 2 / area_mm2 - math.pi * diameter_mm / math.sqrt(2 * area_mm2)


def murphy_yield(area_mm2: float, defects_per_cm2: float) -> float:
    """((1 - exp(-AD)) / AD)^2 (Murphy, Proc. IEEE 1964)."""
    expected = area_mm2 / 100 * defects_per_cm2
    return (-math.expm1(-expected) / expected) ** 2 if expected > 0 else 1.0


def negative_binomial_yield(area_mm2: float, defects_per_cm2: float, clustering: float) -> float:
    """(1 + AD / a)^-a: defects cluster, the less the larger `clustering` (Stapper, IBM J. R&D 1983)."""
    return math.pow(1 + area_mm2 / 100 * defects_per_cm2 / clustering, -clustering)


def die_yield(area_mm2: float, defects_per_cm2: float, how: Manufacturing) -> float:
    """The share of good dies under the chosen model."""
    if how.yield_model == "murphy":
        return murphy_yield(area_mm2, defects_per_cm2)
    return negative_binomial_yield(area_mm2, defects_per_cm2, how.clustering)


def good_die_usd(area: Quantity, how: Manufacturing) -> Quantity | None:
    """Wafer price over good dies; the range takes the ends of all inputs. None where no die fits on the wafer."""

    def cost(area_mm2: float, wafer_usd: float, density: float) -> float:
        return wafer_usd / (dies_per_wafer(area_mm2, how.wafer_diameter.value) * die_yield(area_mm2, density, how))

    if area.low <= 0 or dies_per_wafer(area.high, how.wafer_diameter.value) < 1:
        return None
    return Quantity(
        cost(area.value, how.wafer.value, how.defects.value),
        cost(area.low, how.wafer.low, how.defects.low),
        cost(area.high, how.wafer.high, how.defects.high),
        "USD",
        "modelled",
        f"silicon only, without masks, package and test; {how.yield_model.replace('_', ' ')} yield; {how.wafer.source}",
    )


def unit_usd(die: Quantity, how: Manufacturing) -> dict[str, Quantity]:
    """What one unit costs at the stated volume, by part: silicon, package, test, and its share of NRE and masks."""
    if how.volume is None:
        return {}
    once = 1.0 / how.volume
    return {
        "good die": die,
        "package": how.package.quantity(1.0),
        "test": how.test.quantity(1.0),
        "nre share": how.nre.quantity(once),
        "mask share": how.masks.quantity(once),
    }
