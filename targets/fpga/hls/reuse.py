"""Which layer is built how: the schedule of a network under the DSP slices, LUTs and block RAM of a device.

A multiple-choice knapsack: one option (strategy and reuse factor, see `options`) per layer, such that the slowest layer
of the pipeline is as fast as the device allows (the initiation interval), and among those schedules the one that takes
the smallest share of the device. A schedule within T cycles exists or not, monotonically in T, so T is found by
bisection. For one T the cheapest option of every layer is the answer whenever these fit together; otherwise HiGHS
decides (scipy.optimize.milp). The result is exact, not a heuristic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from .options import Option, Work, options_of
from .spec import Strategy

RESOURCES = ("dsp", "lut", "bram")
_MILP_NODES = 10_000  # a bound that does not depend on the machine; networks of a hundred layers take a few


@dataclass(frozen=True)
class Budget:
    """What all layers together may take. `lut_share`: of the LUTs that layers leave whatever their schedule."""

    dsp: float
    lut: float
    bram: float
    lut_share: float = 1.0


@dataclass(frozen=True)
class Schedule:
    """One option per layer. `binding`: where nothing fits, the resource that lacks most; `needed`: what the design
    takes of each resource; `tightest`: the resource that keeps the design from being faster."""

    options: tuple[Option, ...]
    needed: Mapping[str, float]
    offered: Mapping[str, float]
    binding: str = ""
    tightest: str = ""

    @property
    def fits(self) -> bool:
        return not self.binding

    @property
    def reuse_factors(self) -> tuple[int, ...]:
        return tuple(option.reuse for option in self.options)

    @property
    def multipliers(self) -> int:
        return sum(option.multipliers for option in self.options)

    @property
    def interval_cycles(self) -> int:
        return max((option.cycles for option in self.options), default=1)

    @property
    def strategy(self) -> str:
        """That of all layers that multiply, or `mixed`."""
        found = {option.strategy for option in self.options if option.multipliers} or {"Latency"}
        return found.pop() if len(found) == 1 else "mixed"


def plan(works: Sequence[Work], budget: Budget) -> Schedule:
    """The fastest schedule within the budget; where none is, the one that takes least of what lacks most."""
    return _plan(tuple(works), budget)


@lru_cache(maxsize=4096)
def _plan(works: tuple[Work, ...], budget: Budget) -> Schedule:
    fixed = np.array([0.0, sum(work.lut for work in works), sum(work.bram for work in works)])
    whole = np.array([budget.dsp, budget.lut, budget.bram])
    left = whole - fixed
    left[1] *= budget.lut_share
    problem = _Problem([options_of(work) for work in works], np.maximum(left, 0))
    targets = sorted({option.cycles for options in problem.options for option in options})
    low, high, best = 0, len(targets), None
    while low < high:
        middle = (low + high) // 2
        found = problem.within(targets[middle])
        if found is None:
            low = middle + 1
        else:
            high, best = middle, found
    chosen = best or problem.smallest()
    needed = dict(zip(RESOURCES, (fixed + _total(chosen)).tolist(), strict=True))
    offered = dict(zip(RESOURCES, (fixed + left).tolist(), strict=True))
    if best is None or (left < 0).any():
        return Schedule(chosen, needed, dict(zip(RESOURCES, whole.tolist(), strict=True)), _most_lacking(needed, whole))
    return Schedule(chosen, needed, offered, tightest=problem.obstacle(targets[low - 1]) if low else "options")


def _most_lacking(needed: Mapping[str, float], whole: np.ndarray) -> str:
    return max(RESOURCES, key=lambda key: needed[key] / max(whole[RESOURCES.index(key)], 1e-9))


def _use(option: Option) -> tuple[float, float, float]:
    return option.dsp, option.lut, option.bram


def _total(options: Sequence[Option]) -> np.ndarray:
    total: np.ndarray = np.array([_use(option) for option in options]).reshape(-1, 3).sum(axis=0)
    return total


class _Problem:
    """The knapsack: the options of each layer, and how much of each resource they may take."""

    def __init__(self, options: Sequence[tuple[Option, ...]], left: np.ndarray) -> None:
        self.options = options
        self.left = left
        self.uses = [np.array([_use(option) for option in choice]) for choice in options]  # [options, resources]
        self.cycles = [np.array([option.cycles for option in choice]) for choice in options]
        self.shares = [use @ (1 / np.maximum(left, 1e-9)) for use in self.uses]  # of the device, summed

    def _allowed(self, cycles: int) -> list[np.ndarray]:
        return [np.flatnonzero(each <= cycles) for each in self.cycles]

    def within(self, cycles: int) -> tuple[Option, ...] | None:
        """The smallest choice in which no layer takes more cycles, or None where none fits."""
        allowed = self._allowed(cycles)
        if any(not len(each) for each in allowed) or (self._least(allowed) > self.left + 1e-9).any():
            return None
        picks = [each[np.argmin(share[each])] for each, share in zip(allowed, self.shares, strict=True)]
        if (_total([o[p] for o, p in zip(self.options, picks, strict=True)]) <= self.left + 1e-9).all():
            return tuple(o[p] for o, p in zip(self.options, picks, strict=True))
        return self._milp(allowed)

    def _least(self, allowed: list[np.ndarray]) -> np.ndarray:
        """Of each resource, the least that any choice takes."""
        parts = [use[each].min(axis=0) for use, each in zip(self.uses, allowed, strict=True)]
        least: np.ndarray = np.sum(parts, axis=0)
        return least

    def _milp(self, allowed: list[np.ndarray]) -> tuple[Option, ...] | None:
        from scipy.optimize import Bounds, LinearConstraint, milp  # slow to import, and seldom needed
        from scipy.sparse import block_diag

        uses = np.concatenate([use[each] for use, each in zip(self.uses, allowed, strict=True)])
        shares = np.concatenate([share[each] for share, each in zip(self.shares, allowed, strict=True)])
        one_each = block_diag([np.ones((1, len(each))) for each in allowed], format="csc")
        limits = [LinearConstraint(one_each, 1, 1), LinearConstraint(uses.T, -np.inf, self.left)]
        options = {"node_limit": _MILP_NODES}
        found = milp(shares, integrality=np.ones(len(shares)), bounds=Bounds(0, 1), constraints=limits, options=options)
        if found.x is None:
            return None
        ends = np.cumsum([len(each) for each in allowed])
        picks = [int(np.argmax(part)) for part in np.split(found.x, ends[:-1])]
        return tuple(o[each[p]] for o, each, p in zip(self.options, allowed, picks, strict=True))

    def smallest(self) -> tuple[Option, ...]:
        """The choice that takes the least share of the device, however slow."""
        return tuple(o[int(np.argmin(share))] for o, share in zip(self.options, self.shares, strict=True))

    def obstacle(self, cycles: int) -> str:
        """What forbids a choice within so many cycles: a resource, or `options` where some layer has none so fast."""
        allowed = self._allowed(cycles)
        if any(not len(each) for each in allowed):
            return "options"
        least = self._least(allowed) / np.maximum(self.left, 1e-9)
        return RESOURCES[int(np.argmax(least))]


def does_not_fit(found: Schedule) -> str:
    """The resource that binds, and what would fit, in words."""
    key = found.binding
    need, offer = found.needed[key], found.offered[key]
    return (
        f"Even the most shared schedule needs {need:,.0f} {key} of {offer:,.0f} that a design may take here: a network "
        f"of about {offer / need:.0%} of its size or {need / max(offer, 1):.1f} times as many here would fit."
    )


def strategy_in_words(strategy: Strategy) -> str:
    """Why a layer has its strategy, for reports."""
    return {
        "Latency": "constants in logic: no DSP slices, zeros cost nothing",
        "Resource": "weights in memory, multipliers shared",
    }[strategy]
