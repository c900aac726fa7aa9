"""Least loss within a budget: knapsacks on linearised costs, in rounds, then exchanges on the exact ones.

The costs of neighbouring groups multiply, so a knapsack on the savings of single groups is off by their products. Each
round linearises anew around the last answer; what is left of the error, exchanges of two decisions at a time remove,
judged by the device's own cost. Losses of single decisions add up: that is the model that the search optimises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice, permutations, product

import numpy as np
import numpy.typing as npt

from .decisions import Costs, Decision, Point, thin
from .knapsack import choose_options

Floats = npt.NDArray[np.float64]
ROUNDS = 4
IMPROVED = 2  # points that exchanges start from
ALLOWANCE = 500  # new points costed for one answer before no further improvement is tried
SETTINGS = 6  # options of a setting of the device that knapsacks are tried with
KICKS, KICKED = 8, 3  # restarts, and decisions that each of them changes
REACH = 3  # options that one exchange moves at most
FEW = 12  # decisions, up to which exchanges of three are tried
BATCH = 32  # exchanges that are costed together
PAIR_ERROR = 0.03  # relative, that the sum of two single effects may have
_SLACK = 1e-9  # relative, of rounding in costs


@dataclass(frozen=True, eq=False)
class Nearest:
    """The point whose costs exceed the limits least: `ratio` is the largest cost / limit; 1 or less fits."""

    point: Point
    costs: Floats
    ratio: float
    binding: int  # number of the limit that decides


class Solver:
    """Decisions with losses, their costs, and the answers for any limits. Every cost is at least zero."""

    def __init__(self, decisions: Sequence[Decision], costs: Costs) -> None:
        self.decisions = tuple(decisions)
        self._ask, self._known = costs, dict[Point, Floats]()
        self._enough = 0
        self._losses = [np.array(decision.losses, dtype=np.float64) for decision in decisions]

    @property
    def _settings(self) -> list[int]:
        """Numbers of the decisions on settings of the device; these lose nothing."""
        return [number for number, decision in enumerate(self.decisions) if isinstance(decision.subject, str)]

    def _options(self, number: int) -> list[int]:
        return list(range(len(self.decisions[number].options)))

    @property
    def whole(self) -> Point:
        """The point that changes nothing."""
        return tuple(decision.whole for decision in self.decisions)

    def loss(self, point: Point) -> float:
        """The sum of the decisions' losses."""
        return float(sum(losses[option] for losses, option in zip(self._losses, point, strict=True)))

    def cost(self, point: Point) -> Floats:
        """[keys]."""
        return np.asarray(self.costs([point])[0])

    def costs(self, points: Sequence[Point]) -> Floats:
        """[points, keys]; every point is asked once."""
        new = [point for point in dict.fromkeys(points) if point not in self._known]
        self._known |= zip(new, self._ask(new), strict=True) if new else ()
        return np.stack([self._known[point] for point in points])

    def within(self, point: Point, limits: Floats) -> list[Point]:
        """The point with all options of the device's settings, those that keep the limits, least changed first."""
        numbers = self._settings
        points = []
        for options in product(*(self._options(number)[::-1] for number in numbers)):
            changed = dict(zip(numbers, options, strict=True))
            points.append(tuple(changed.get(number, option) for number, option in enumerate(point)))
        return [each for each, fits in zip(points, self._fits(self.costs(points), limits), strict=True) if fits]

    def solve(self, limits: Floats, starts: Sequence[Point] = (), near: Point | None = None) -> Point | None:
        """The point of least loss whose costs keep the limits; None when none was found that does.

        `starts` are further points to improve from. `near` is the answer to nearly the same question: nothing is
        started anew, and the device's settings are those that it has.
        """
        tried: list[Mapping[int, int]] = [{}]
        if near is None:
            tried += [{number: option} for number in self._settings for option in thin(self._options(number), SETTINGS)]
        else:
            starts = (*starts, near)
            tried += [{number: near[number] for number in self._settings}] if self._settings else []
        answers = dict.fromkeys((*starts, *(each for held in tried for each in self._rounds(limits, held))))
        self._enough = len(self._known) + ALLOWANCE
        repaired = [self._repair(point, limits) for point in answers]
        fitting = {point for point in repaired if point is not None}
        if not fitting:
            nearest = self.nearest(limits)
            if nearest.ratio > 1 + _SLACK:
                return None
            fitting = {nearest.point}
        improved = [self._exchange(point, limits) for point in sorted(fitting, key=self._rank)[:IMPROVED]]
        best = min(improved, key=self._rank)
        return self._kicked(best, limits) if near is None else best

    def _kicked(self, best: Point, limits: Floats) -> Point:
        """Iterated local search: some decisions at random, then repair and exchanges, from the best point so far."""
        rng = np.random.default_rng(0)
        for _ in range(KICKS):
            if len(self._known) > self._enough:
                break
            point = best
            for number in rng.choice(len(point), min(KICKED, len(point)), replace=False).tolist():
                point = _moved(point, number, int(rng.integers(len(self.decisions[number].options))))
            repaired = self._repair(point, limits)
            if repaired is not None:
                best = min(best, self._exchange(repaired, limits), key=self._rank)
        return best

    def _rank(self, point: Point) -> tuple[float, Point]:
        return self.loss(point), point

    def nearest(self, limits: Floats) -> Nearest:
        """Descends, decision by decision, to the costs that exceed the limits least."""
        best: Nearest | None = None
        for start in (tuple(0 for _ in self.decisions), self.whole):
            point, ratio = start, self._ratio(start, limits)
            improved = True
            while improved:
                improved = False
                for number, decision in enumerate(self.decisions):
                    moves = [_moved(point, number, option) for option in range(len(decision.options))]
                    ratios = (self.costs(moves) / limits).max(axis=1)
                    if ratios.min() < ratio * (1 - _SLACK):
                        point, ratio, improved = moves[int(ratios.argmin())], float(ratios.min()), True
            if best is None or ratio < best.ratio:
                costs = self.cost(point)
                best = Nearest(point, costs, ratio, int((costs / limits).argmax()))
        assert best is not None  # two starts
        return best

    def _ratio(self, point: Point, limits: Floats) -> float:
        return float((self.cost(point) / limits).max())

    def _fits(self, costs: Floats, limits: Floats) -> npt.NDArray[np.bool_]:
        return np.asarray((costs <= limits * (1 + _SLACK)).all(axis=-1))

    # -- knapsacks ----------------------------------------------------------------------------------------------------

    def _rounds(self, limits: Floats, held: Mapping[int, int]) -> Iterator[Point]:
        """The answers of knapsacks, each linearised around the one before. `held`: decision -> its option throughout,
        since a knapsack linearised around one setting of the device is far off for another."""
        centre, seen = tuple(held.get(number, option) for number, option in enumerate(self.whole)), set[Point]()
        offered = [[held[number]] if number in held else self._options(number) for number in range(len(self.decisions))]
        losses = [each[options] for each, options in zip(self._losses, offered, strict=True)]
        for _ in range(ROUNDS):
            here = self.cost(centre)
            savings = [
                self.costs([_moved(centre, number, option) for option in options]) - here
                for number, options in enumerate(offered)
            ]
            found = choose_options(losses, savings, limits - here)
            if found is None:  # the linear model sees no way: go as far as it can
                found = tuple(int((each / limits).max(axis=1).argmin()) for each in savings)
            answer = tuple(options[index] for options, index in zip(offered, found, strict=True))
            yield answer
            if answer in seen:
                return
            seen.add(answer)
            centre = answer

    # -- exact costs --------------------------------------------------------------------------------------------------

    def _repair(self, point: Point, limits: Floats) -> Point | None:
        """Steps down where it loses least for each part of the excess, until the limits are kept."""
        while not self._fits(costs := self.cost(point), limits):
            moves = [_moved(point, number, option) for number, chosen in enumerate(point) for option in range(chosen)]
            if not moves:
                return None
            excess = np.maximum(costs / limits - 1, 0).sum()
            gains = excess - np.maximum(self.costs(moves) / limits - 1, 0).sum(axis=1)
            if gains.max() <= 0:
                return None
            lost = np.array([self.loss(move) for move in moves]) - self.loss(point)
            worth = np.where(gains > 0, np.maximum(lost, 1e-12) / np.maximum(gains, 1e-300), np.inf)
            point = moves[int(worth.argmin())]
        return point

    def _exchange(self, point: Point, limits: Floats) -> Point:
        """The best move of one or two decisions, again and again while it loses less and keeps the limits."""
        while len(self._known) <= self._enough:
            better = self._better(point, limits)
            if better is None:
                break
            point = better
        return point

    def _better(self, point: Point, limits: Floats) -> Point | None:
        """The least loss among the moves that keep the limits; None where no move loses less than the point itself."""
        return next(self._fitting(point, limits, self.loss(point) * (1 - 1e-12)), None)

    def neighbours(self, point: Point, limits: Floats, count: int) -> list[Point]:
        """The moves of least loss that keep the limits, at most `count`: also such that lose more than the point."""
        return list(islice(self._fitting(point, limits, np.inf), count))

    def _fitting(self, point: Point, limits: Floats, below: float) -> Iterator[Point]:
        """Moves that keep the limits and lose less than `below`, least loss first.

        Most pairs are ruled out by the sum of their single effects, so that few are costed exactly.
        """
        costs = self.cost(point)
        singles = [
            self.costs([_moved(point, number, option) for option in range(len(decision.options))]) - costs
            for number, decision in enumerate(self.decisions)
        ]
        ranked: list[tuple[float, Point]] = []
        for move in self._moves(point):
            loss = self.loss(move)
            change = np.sum([singles[number][option] for number, option in enumerate(move)], axis=0)
            if loss < below and (costs + change <= limits * (1 + PAIR_ERROR)).all():
                ranked.append((loss, move))
        ranked.sort()
        for start in range(0, len(ranked), BATCH):
            batch = [move for _, move in ranked[start : start + BATCH]]
            for index in np.flatnonzero(self._fits(self.costs(batch), limits)):
                yield batch[int(index)]

    def _moves(self, point: Point) -> set[Point]:
        """All points that differ in one decision, in two by a few options in opposite directions, or in three by one
        each (of networks with few groups)."""
        moves = {
            _moved(point, number, option)
            for number, decision in enumerate(self.decisions)
            for option in range(len(decision.options))
        }
        steps = range(1, REACH + 1)
        for up, down in permutations(range(len(point)), 2):
            for rise, fall in product(steps, steps):
                if point[up] + rise <= self.decisions[up].whole and point[down] >= fall:
                    moves.add(_moved(_moved(point, up, point[up] + rise), down, point[down] - fall))
        if len(point) <= FEW:
            for three in combinations(range(len(point)), 3):
                for changes in product((-1, 1), repeat=3):
                    options = list(point)
                    for number, change in zip(three, changes, strict=True):
                        options[number] = min(max(options[number] + change, 0), self.decisions[number].whole)
                    moves.add(tuple(options))
        return moves


def _moved(point: Point, number: int, option: int) -> Point:
    return (*point[:number], option, *point[number + 1 :])
