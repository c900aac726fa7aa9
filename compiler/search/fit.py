"""Fits a network to a device: which widths keep a budget, or an accuracy, at the least loss or cost.

The steps: ask the device where its cost steps (decisions.py), measure what channels are worth after refitting
(loss.py), solve (solver.py), measure the answer's neighbourhood anew and solve again, since losses only nearly add up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, product

import numpy as np
import numpy.typing as npt

from ..analysis.channels import Channels
from ..errors import UsageError
from ..pruning.structures import ChannelStructure
from ..target import Progress, no_progress
from .decisions import (
    Choice,
    Decision,
    DeviceCosts,
    Point,
    WeightBits,
    WeightDensity,
    allowed_widths,
    choice_of,
    setting_decisions,
    width_decisions,
)
from .loss import MEASURE_MACS, MEASURE_SAMPLES, RefitLoss
from .solver import Nearest, Solver
from .widths import full_widths

Floats = npt.NDArray[np.float64]
MEASURED = 6  # widths of one group whose loss is measured; the others lie between
ROUNDS = 2  # of measuring the answer's neighbourhood
NEIGHBOURS = 48  # of a network that are measured to find a better one
MEASURED_MOVES = 480  # of them for one answer; fewer in large networks
CLIMBED = 2  # networks of least loss that are improved
FRONT = 7  # budgets along the front
SIMPLE = 41  # shares, and thresholds, that are tried
THINNED = 4  # shares of zeros in all layers that are tried
_WORTH = 0.02  # a smaller relative saving is none


@dataclass(frozen=True, eq=False)
class Candidate:
    """One network that the solver proposes: its choice, what it costs (by key), and its loss, measured on samples with
    each layer refitted for itself. `predicted_loss` is the sum that the knapsack saw."""

    choice: Choice
    costs: dict[str, float]
    loss: float
    predicted_loss: float


@dataclass(frozen=True)
class Shortfall:
    """Why a budget cannot be kept: the cost that decides, its bound, and the costs of the nearest network found."""

    binding: str
    allowed: float
    least: float  # of the binding cost, in the network that exceeds all bounds least
    nearest: dict[str, float] = field(default_factory=dict)
    choice: Choice = field(default_factory=lambda: Choice(()))


class Fitter:
    """A network on a device, ready to be asked for budgets. Building it measures what all decisions lose."""

    def __init__(
        self,
        channels: Channels,
        structure: ChannelStructure,
        costs: DeviceCosts,
        loss: RefitLoss,
        *,
        layers: Sequence[Decision] = (),
        progress: Progress = no_progress,
    ) -> None:
        """`layers`: the decisions on layers' weights (`decisions.bits_decisions`, `density_decisions`)."""
        if not channels.prunable and not layers:
            raise UsageError(
                "The network has no channels that can be removed, so no budget changes it.",
                code="nothing-to-prune",
                hint="`prunus prune` says for each layer why its channels stay.",
            )
        self.channels, self.structure = channels, structure
        self.costs, self.loss = costs, loss
        progress("Asking the device where its cost steps", 0.0)
        widths = width_decisions(channels, structure, costs)
        asked = [*widths, *(each for each in layers if self._measurable(each))]
        measured = [self._with_losses(each, progress, number / len(asked)) for number, each in enumerate(asked)]
        settings = setting_decisions(costs.target, costs.device)
        self.solver = self._solver([*measured, *settings])
        full = [each for each in measured if not isinstance(each.subject, WeightDensity)]
        self._solvers = [self.solver] if len(full) == len(measured) else [self.solver, self._solver([*full, *settings])]
        self.whole = self._candidate(self.solver, self.solver.whole)

    @property
    def keys(self) -> tuple[str, ...]:
        return self.costs.keys

    @property
    def narrows(self) -> bool:
        """Whether bits of weights are decided, too."""
        return any(isinstance(each.subject, WeightBits) for each in self.solver.decisions)

    @property
    def zeroes(self) -> bool:
        """Whether zeros inside of layers are decided, too."""
        return any(isinstance(each.subject, WeightDensity) for each in self.solver.decisions)

    def fit(self, limits: Floats, progress: Progress = no_progress) -> Candidate | Shortfall:
        """The network of least loss within the limits (one per key), or why there is none."""
        found = self.proposals(limits, progress)
        return found[0] if found else self.shortfall(limits)

    def proposals(self, limits: Floats, progress: Progress = no_progress) -> list[Candidate]:
        """A few different networks within the limits, least loss first: what the solver finds with losses around the
        whole network, and anew around each answer, one of equal shares, and one of one threshold on all scores. Where
        zeros are decided, too, they are looked for with and without any: the more decisions, the less is found of each.
        Empty where nothing fits."""
        found = [each for solver in self._solvers for each in self._proposals(solver, limits, progress)]
        return sorted({each.choice: each for each in found}.values(), key=_by_loss)

    def _proposals(self, solver: Solver, limits: Floats, progress: Progress) -> list[Candidate]:
        simple = self._simple(solver, limits)
        first, point = solver, solver.solve(limits, starts=simple)
        if point is None:
            return []
        found = [self._candidate(solver, point), *(self._candidate(solver, each) for each in simple)]
        for number in range(ROUNDS if found[0].loss > 0 else 0):
            progress("Measuring around the answer", number / ROUNDS)
            solver = self._solver(self._recalibrated(solver, point))
            following = solver.solve(limits, near=point)
            if following is None or following == point:
                break
            point = following
            found.append(self._candidate(solver, point))
        best = sorted(found, key=_by_loss)[:CLIMBED]
        return found + [self._climbed(first, each, limits, progress) for each in best]

    def _climbed(self, solver: Solver, candidate: Candidate, limits: Floats, progress: Progress) -> Candidate:
        """Exchanges between groups as long as the measured loss of all groups together falls: sums miss what groups
        that feed each other lose together."""
        left = min(MEASURED_MOVES, int(MEASURE_MACS / max(self.channels.macs() * MEASURE_SAMPLES, 1)))
        while left > 0 and candidate.loss > 0:
            progress("Exchanging channels between layers", 1 - left / MEASURED_MOVES)
            near = self._neighbours(solver, candidate, limits)
            left -= len(near)
            if not near or near[0].loss >= candidate.loss:
                break
            candidate = near[0]
        return candidate

    def neighbours(self, candidate: Candidate, limits: Floats) -> list[Candidate]:
        """Networks within the limits that differ from one in a few decisions, least measured loss first."""
        return self._neighbours(self.solver, candidate, limits)

    def _neighbours(self, solver: Solver, candidate: Candidate, limits: Floats) -> list[Candidate]:
        points = solver.neighbours(_point(solver, candidate.choice), limits, NEIGHBOURS)
        found = [self._candidate(solver, each) for each in points]
        return sorted((each for each in found if each.choice != candidate.choice), key=_by_loss)

    def shortfall(self, limits: Floats) -> Shortfall:
        """The network that exceeds the limits least."""
        nearest = self.solver.nearest(limits)
        return Shortfall(
            self.keys[nearest.binding],
            float(limits[nearest.binding]),
            float(nearest.costs[nearest.binding]),
            dict(zip(self.keys, map(float, nearest.costs), strict=True)),
            choice_of(self.solver.decisions, nearest.point),
        )

    def nearest(self, limits: Floats) -> Candidate:
        """The network that exceeds the limits least."""
        return self._candidate(self.solver, self.solver.nearest(limits).point)

    def least_share(self, limits: Floats) -> float:
        """The share of the whole network's first cost that the nearest network has."""
        return float(self.solver.nearest(limits).costs[0] / self.solver.cost(self.solver.whole)[0])

    def front(self, progress: Progress = no_progress) -> list[Candidate]:
        """Networks between the whole one and the smallest, by the first cost: none is beaten in both cost and loss.

        Cheapest first. All other costs stay within those of the whole network.
        """
        whole = self.solver.cost(self.solver.whole)
        least = self._least()
        found, start = [self.whole], self.solver.whole
        for number, share in enumerate(np.linspace(1.0, least.ratio, FRONT + 1)[1:]):
            progress("Drawing the Pareto front", number / FRONT)
            limits = whole.copy()
            limits[0] *= share
            point = self.solver.solve(limits, near=start)
            if point is not None:
                found.append(self._candidate(self.solver, point))
                start = point
        return pareto(found, self.keys[0])

    def gain(self) -> float:
        """The largest share of the first cost that any widths could save."""
        return max(0.0, 1 - self._least().ratio)

    def _least(self) -> Nearest:
        limits = np.full(len(self.keys), np.inf)
        limits[0] = self.solver.cost(self.solver.whole)[0]
        return self.solver.nearest(limits)

    # -- losses -------------------------------------------------------------------------------------------------------

    def _measurable(self, decision: Decision) -> bool:
        subject = decision.subject
        if isinstance(subject, WeightDensity):
            return subject.layer in self.loss.zeroable
        return isinstance(subject, WeightBits) and subject.layer in self.loss.layers

    def _with_losses(self, decision: Decision, progress: Progress, done: float) -> Decision:
        """Measured at some options, all else whole; in between by straight lines."""
        progress("Measuring what channels are worth", done)
        whole = full_widths(self.channels)
        chosen = np.unique(np.linspace(0, decision.whole, MEASURED).round().astype(int))
        measured = []
        for index in chosen:
            widths, option, layers = list(whole), decision.options[index], choice_of([decision], (int(index),))
            if isinstance(decision.subject, int):
                widths[decision.subject] = option
            measured.append(self.loss(tuple(widths), layers.bits, layers.densities))
        falling = np.maximum.accumulate(measured[::-1])[::-1]  # more channels never count as worse
        between = np.interp(decision.options, [decision.options[index] for index in chosen], falling)
        return replace(decision, losses=tuple(map(float, between)))

    def _recalibrated(self, solver: Solver, point: Point) -> list[Decision]:
        """Losses in the proportion that the neighbours of a point show, all other groups as they are there."""
        decisions = []
        for number, decision in enumerate(solver.decisions):
            if isinstance(decision.subject, str):
                decisions.append(decision)
                continue
            low, high = max(point[number] - 1, 0), min(point[number] + 1, decision.whole)
            moved = [(*point[:number], option, *point[number + 1 :]) for option in (low, high)]
            more, less = (self._measured(choice_of(solver.decisions, each)) for each in moved)
            expected = decision.losses[low] - decision.losses[high]
            ratio = float(np.clip((more - less) / expected, 0.2, 5.0)) if expected > 0 else 1.0
            decisions.append(replace(decision, losses=tuple(loss * ratio for loss in decision.losses)))
        return decisions

    # -- points -------------------------------------------------------------------------------------------------------

    def _solver(self, decisions: Sequence[Decision]) -> Solver:
        return Solver(decisions, lambda points: self.costs([choice_of(decisions, point) for point in points]))

    def _candidate(self, solver: Solver, point: Point) -> Candidate:
        choice = choice_of(solver.decisions, point)
        costs = dict(zip(self.keys, map(float, solver.cost(point)), strict=True))
        return Candidate(choice, costs, self._measured(choice), solver.loss(point))

    def _measured(self, choice: Choice) -> float:
        return self.loss(choice.widths, choice.bits, choice.densities)

    def _simple(self, solver: Solver, limits: Floats) -> list[Point]:
        """The largest points within the limits whose groups all keep about the same share of their channels, and whose
        channels all score above one threshold; both with the device's bits, and with the next fewer everywhere, and
        both without further zeros, and with the same share of them in all layers."""
        sizes = full_widths(self.channels)
        scores = [np.sort(self.loss.scores[group.units]) for group in self.channels.prunable]
        thresholds = np.unique(np.concatenate(scores))
        thresholds = thresholds[np.isfinite(thresholds)]
        tried = thresholds[:: max(len(thresholds) // SIMPLE, 1)]
        above = [
            tuple(len(each) - int(np.searchsorted(each, threshold, side="right")) for each in scores)
            for threshold in tried
        ]
        shares = np.linspace(1.0, 0.0, SIMPLE)
        uniform = [tuple(int(share * size) for size in sizes) for share in shares]
        found: list[Point] = []
        narrowings = (0, 1) if self.narrows else (0,)
        thins = any(isinstance(each.subject, WeightDensity) for each in solver.decisions)
        thinnings = range(THINNED if thins else 1)
        for family, narrower, thinner in product((uniform, above), narrowings, thinnings):
            points = dict.fromkeys(_nearest_point(solver, widths, narrower, thinner) for widths in family)
            fitting = (each for point in points for each in solver.within(point, limits))
            found += islice(fitting, 1)
        return found


def _by_loss(candidate: Candidate) -> float:
    return candidate.loss


def _point(solver: Solver, choice: Choice) -> Point:
    """The options that a choice took."""
    bits, densities, settings = dict(choice.bits), dict(choice.densities), dict(choice.settings)
    taken = []
    for each in solver.decisions:
        if isinstance(each.subject, int):
            taken.append(choice.widths[each.subject])
        elif isinstance(each.subject, WeightBits):
            taken.append(bits.get(each.subject.layer, each.options[-1]))
        elif isinstance(each.subject, WeightDensity):
            taken.append(densities.get(each.subject.layer, each.options[-1]))
        else:
            taken.append(settings[each.subject])
    return tuple(each.options.index(option) for each, option in zip(solver.decisions, taken, strict=True))


def _nearest_point(solver: Solver, widths: Sequence[int], narrower: int = 0, thinner: int = 0) -> Point:
    """The options at or below these widths; bits and densities so many below whole, settings as they are."""
    point = []
    for decision in solver.decisions:
        match decision.subject:
            case int() as group:
                option = int(np.searchsorted(decision.options, widths[group], side="right")) - 1
            case WeightBits():
                option = decision.whole - narrower
            case WeightDensity():
                option = decision.whole - thinner
            case _:
                option = decision.whole
        point.append(max(option, 0))
    return tuple(point)


def uniform_choice(
    channels: Channels, structure: ChannelStructure, costs: DeviceCosts, limits: Floats
) -> Choice | None:
    """The baseline: all groups keep the same share of their channels, the largest that keeps the limits."""
    allowed = [allowed_widths(channels, number, structure) for number in range(len(channels.prunable))]
    offered = setting_decisions(costs.target, costs.device)
    names = [str(each.subject) for each in offered]
    settings = [tuple(zip(names, values, strict=True)) for values in product(*(each.options[::-1] for each in offered))]
    for share in np.linspace(1.0, 0.0, 101):
        widths = tuple(
            max((width for width in each if width <= share * each[-1] + 1e-9), default=each[0]) for each in allowed
        )
        for setting in settings:
            choice = Choice(widths, setting)
            if (costs([choice])[0] <= limits * (1 + 1e-9)).all():
                return choice
    return None


def pareto(candidates: Sequence[Candidate], key: str) -> list[Candidate]:
    """Those that no other one beats in both cost and loss, cheapest first."""
    front: list[Candidate] = []
    for each in sorted(candidates, key=lambda one: (one.costs[key], one.loss)):
        if not front or each.loss < front[-1].loss:
            front.append(each)
    return front


def worthwhile(before: float, after: float) -> bool:
    """Whether a predicted saving is more than noise of the cost model's steps."""
    return after < before * (1 - _WORTH)
