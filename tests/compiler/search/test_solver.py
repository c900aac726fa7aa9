"""The knapsack, its rounds and exchanges: as good as looking at everything, where everything can be looked at."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from prunus.compiler.search.decisions import Decision, Point
from prunus.compiler.search.knapsack import choose_options
from prunus.compiler.search.solver import Solver

CHANNELS = (4, 8, 12, 16)


def chain(seed: int, groups: int = 5) -> Solver:
    """A chain of layers: cost of a layer is the product of neighbouring widths; losses fall with the width."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.2, 3.0, groups + 1)
    decisions = [
        Decision(number, CHANNELS, (*np.sort(rng.exponential(rng.uniform(0.1, 2.0), 3))[::-1], 0.0))
        for number in range(groups)
    ]

    def costs(points: list[Point]) -> np.ndarray:
        widths = np.array([[3, *(CHANNELS[option] for option in point), 10] for point in points], dtype=float)
        layers = weights * widths[:, :-1] * widths[:, 1:]
        return np.stack([layers.sum(axis=1), widths[:, 1:-1].max(axis=1) * 7], axis=1)

    return Solver(decisions, costs)


MULTIPLIERS = (1, 2, 4, 8, 16)


def shared_multipliers(seed: int, groups: int = 4) -> Solver:
    """The chain on a device that shares multipliers: fewer of them take less area, and each network more time."""
    plain = chain(seed, groups)
    settings = Decision("multipliers", MULTIPLIERS, (0.0,) * len(MULTIPLIERS))

    def costs(points: list[Point]) -> np.ndarray:
        work = plain.costs([point[:-1] for point in points])[:, 0]
        lanes = np.array([MULTIPLIERS[point[-1]] for point in points], dtype=float)
        area = np.sqrt(work) * 3 + np.minimum(lanes, work / 200) * 12  # what a small network cannot use is left out
        return np.stack([area, np.ceil(work / lanes)], axis=1)

    return Solver([*plain.decisions, settings], costs)


def exhaustive(solver: Solver, limits: np.ndarray) -> float:
    """The least loss of all points within the limits."""
    points = list(product(*(range(len(each.options)) for each in solver.decisions)))
    fits = (solver.costs(points) <= limits).all(axis=1)
    return min((solver.loss(point) for point, fit in zip(points, fits, strict=True) if fit), default=np.inf)


@pytest.mark.parametrize("share", [0.85, 0.6, 0.4, 0.25])
@pytest.mark.parametrize("seed", range(6))
def test_within_two_per_cent_of_exhaustive_search(seed: int, share: float) -> None:
    """1024 networks whose neighbouring widths multiply, under two limits."""
    solver = chain(seed)
    limits = solver.cost(solver.whole) * [share, 1.0]
    found = solver.solve(limits)
    assert found is not None
    assert (solver.cost(found) <= limits * (1 + 1e-9)).all()
    assert solver.loss(found) <= 1.02 * exhaustive(solver, limits)


@pytest.mark.parametrize("share", [0.8, 0.6, 0.45])
@pytest.mark.parametrize("seed", range(6))
def test_within_two_per_cent_where_the_device_has_settings(seed: int, share: float) -> None:
    """1280 networks and settings; what a width saves depends on the setting."""
    solver = shared_multipliers(seed)
    limits = solver.cost(solver.whole) * [share, 4.0]
    found = solver.solve(limits)
    assert found is not None
    assert (solver.cost(found) <= limits * (1 + 1e-9)).all()
    assert solver.loss(found) <= 1.02 * exhaustive(solver, limits)


def test_a_point_with_every_setting_that_keeps_the_limits() -> None:
    solver = shared_multipliers(0)
    limits = solver.cost(solver.whole) * [1.0, 4.0]
    found = solver.within(solver.whole, limits)
    assert [MULTIPLIERS[point[-1]] for point in found] == [16, 8, 4]
    assert all(point[:-1] == solver.whole[:-1] for point in found)


def test_the_comparison_sees_a_solver_that_does_not_look_again() -> None:
    """One knapsack around the whole network, repaired: what the rounds and exchanges are worth."""
    worse = 0
    for seed in range(6):
        solver = chain(seed)
        limits = solver.cost(solver.whole) * [0.4, 1.0]
        first = next(iter(solver._rounds(limits, {})))
        repaired = solver._repair(first, limits)
        assert repaired is not None
        worse += solver.loss(repaired) > 1.02 * exhaustive(solver, limits)
    assert worse >= 2


def test_the_second_limit_binds_too() -> None:
    solver = chain(0)
    limits = solver.cost(solver.whole) * [1.0, 0.5]
    found = solver.solve(limits)
    assert found is not None
    assert max(CHANNELS[option] for option in found) == 8
    assert solver.loss(found) == pytest.approx(exhaustive(solver, limits))


def test_whole_network_where_the_limits_allow_it() -> None:
    solver = chain(1)
    assert solver.solve(solver.cost(solver.whole)) == solver.whole


def test_impossible_limits_name_the_one_that_decides() -> None:
    solver = chain(2)
    least = solver.cost((0,) * 5)
    limits = least * [3.0, 0.5]
    assert solver.solve(limits) is None
    nearest = solver.nearest(limits)
    assert (nearest.point, nearest.binding) == ((0,) * 5, 1)
    assert nearest.ratio == pytest.approx(2.0)


def test_knapsack_is_exact() -> None:
    rng = np.random.default_rng(0)
    for _ in range(5):
        losses = [rng.random(4) for _ in range(4)]
        costs = [rng.random((4, 2)) for _ in range(4)]
        room = np.array([2.0, 2.2])
        best = min(
            (sum(loss[o] for loss, o in zip(losses, point, strict=True)), point)
            for point in product(range(4), repeat=4)
            if (sum(cost[o] for cost, o in zip(costs, point, strict=True)) <= room).all()
        )
        assert choose_options(losses, costs, room) == best[1]


def test_knapsack_says_when_nothing_fits() -> None:
    assert choose_options([np.zeros(2)], [np.array([[2.0], [3.0]])], np.array([1.0])) is None
