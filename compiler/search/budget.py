"""Budgets: upper bounds on costs, in units or as shares of what the unpruned network costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite

from ..errors import UsageError
from ..quantity import UNITS, Estimate


@dataclass(frozen=True)
class Share:
    """A bound relative to the same network quantized but not pruned: 0.6 for 60 %."""

    of_unpruned: float


Budget = Mapping[str, float | Share]  # keys of `quantity.UNITS`


def absolute(budget: Budget, unpruned: Estimate, device: str) -> dict[str, float]:
    """The budget in units. A cost that the device's model does not state stays as it is where it is given in units.

    Raises:
        UsageError: an unknown cost (code `unknown-budget`), a bound that is not positive, or a share above 100 %
            (`bad-budget`), a share of a cost that the device's model does not state (`unknown-cost`).
    """
    return {key: _bound(key, bound, unpruned, device) for key, bound in budget.items()}


def _bound(key: str, bound: float | Share, unpruned: Estimate, device: str) -> float:
    if key not in UNITS:
        raise UsageError(
            f"There is no cost called '{key[:64]}'.", code="unknown-budget", hint=f"Costs: {', '.join(UNITS)}."
        )
    number = bound.of_unpruned if isinstance(bound, Share) else bound
    if not (isfinite(number) and number > 0):
        raise UsageError(
            f"The budget for {key} is {number:g}.",
            code="bad-budget",
            why="No network costs nothing or less.",
            hint="Give a positive number.",
        )
    if not isinstance(bound, Share):
        return float(bound)
    if bound.of_unpruned > 1:
        raise UsageError(
            f"The budget for {key} is {bound.of_unpruned:.0%} of what the unpruned network costs.",
            code="bad-budget",
            why="Pruning makes nothing larger: above 100 % there is nothing to do.",
            hint="Give a share up to 100 %, or a number with its unit.",
        )
    if key not in unpruned.costs:
        raise UsageError(
            f"The cost model of '{device}' states no {key}, so there is no share of it.",
            code="unknown-cost",
            hint=f"It states: {', '.join(sorted(unpruned.costs))}.",
        )
    return bound.of_unpruned * unpruned.costs[key].value
