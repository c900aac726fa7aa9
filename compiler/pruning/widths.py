"""Chooses how wide every channel group stays, by what the whole network's outputs lose after refitting.

Scores that one layer gives say which channels of a group matter least, and less well how much one group's channels
matter against another's: errors grow or fade on their way to the output. So the widths are searched for, on the network
as a whole, as NetAdapt does (Yang et al., 2018): every trial is cut, refitted by least squares and run. The steps are
those of a (1+1) evolution strategy (Rechenberg, 1973): all widths are changed at random, then scaled by one factor so
that the budget holds; what loses less is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax

from ..analysis.channels import Channels
from ..analysis.channels.groups import Mask
from ..analysis.channels.shapes import with_shapes
from ..data import Data
from ..executor import Session
from ..model.model import Model
from ..target import Progress, no_progress
from .cut import cut
from .prove import compared_values
from .reconstruct import reconstruct
from .sampling import fixed_batch
from .scoring.sensitivity import damage
from .structures import ChannelStructure, unit_width

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
TRIALS = 40
SAMPLES = 192  # that a trial is refitted on, and at most as many others that it is judged by
LEAST_SAMPLES = 32
MAX_MACS = 4e11  # that all trials may run, both networks and all samples counted
LEAST_TRIALS = 10  # fewer are not worth their time
_FIRST_STEP, _LAST_STEP = 0.4, 0.1  # deviation of the logarithm of a width
_CHANGED = 0.6  # share of the groups that a trial changes
_HALVINGS = 30


@dataclass(frozen=True)
class Search:
    """What to search for: at least `fraction` of the MACs gone, in `trials` steps."""

    fraction: float
    trials: int
    structure: ChannelStructure = field(default_factory=ChannelStructure)
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Widths:
    """The best removal found, and how much the outputs lose with it and with the first one."""

    removed: Mask
    first_damage: float
    damage: float


def affordable_trials(model: Model, channels: Channels, data: Data) -> int:
    """How many trials a search may take; 0 where it is not worth it, or there are too few samples."""
    if len(channels.prunable) < 2 or len(data) < LEAST_SAMPLES or fixed_batch(model) not in (None, 1):
        return 0
    samples = 2 * min(len(data), SAMPLES)
    count = min(TRIALS, int(MAX_MACS / max(channels.macs() * samples, 1)))
    return count if count >= LEAST_TRIALS else 0


def search_widths(
    model: Model,
    channels: Channels,
    scores: Floats,
    first: Mask,
    data: Data,
    how: Search,
    progress: Progress = no_progress,
) -> Widths:
    """The widths that lose least among all trials, starting from those of `first`; all save what was asked for.

    Within a group the units with the lowest `scores` go. The same seed gives the same widths.
    """
    rng = np.random.default_rng([how.seed, 1])
    shares = _Shares(channels, scores, how.structure, channels.macs() * (1 - how.fraction))
    judge = _Judge(model, channels, data, rng)
    best, best_share = first, shares.of(first)
    first_damage = least = judge(best)
    seen = {first.tobytes()}
    for number in range(how.trials):
        progress("Searching for widths", number / how.trials)
        step = _FIRST_STEP + (_LAST_STEP - _FIRST_STEP) * number / how.trials
        moves = step * rng.standard_normal(len(best_share)) * (rng.random(len(best_share)) < _CHANGED)
        removed = shares.fitted(best_share * np.exp(moves))
        if removed is None or removed.tobytes() in seen:
            continue
        seen.add(removed.tobytes())
        found = judge(removed)
        if found < least:
            best, best_share, least = removed, shares.of(removed), found
    return Widths(best, first_damage, least)


class _Shares:
    """Removals as shares of the units that stay, group by group."""

    def __init__(self, channels: Channels, scores: Floats, structure: ChannelStructure, budget: float) -> None:
        self._channels, self._structure, self._budget = channels, structure, budget
        self._orders = [group.units[np.argsort(scores[group.units], kind="stable")] for group in channels.prunable]
        # of a group, at least and at most so many units go: infinite scores say always, or never
        self._least = [int((scores[group.units] == -np.inf).sum()) for group in channels.prunable]
        self._most = [int((scores[group.units] < np.inf).sum()) for group in channels.prunable]

    def of(self, removed: Mask) -> Floats:
        return np.array([(~removed[group.units]).mean() for group in self._channels.prunable])

    def fitted(self, shares: Floats) -> Mask | None:
        """The widest removal in these proportions that keeps the budget; None where none does."""
        low, high = 0.0, 1 / max(float(shares.min()), 1e-6)
        if self._macs(shares * low) > self._budget:
            return None
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            low, high = (middle, high) if self._macs(shares * middle) <= self._budget else (low, middle)
        return self._removed(shares * low)

    def _macs(self, shares: Floats) -> int:
        return self._channels.macs(self._removed(shares))

    def _removed(self, shares: Floats) -> Mask:
        removed = self._channels.keep_all()
        groups = zip(self._channels.prunable, self._orders, self._least, self._most, shares, strict=True)
        for group, order, least, most, share in groups:
            wanted = min(max(group.size - round(group.size * min(float(share), 1.0)), least), most)
            width = unit_width(self._channels, group)
            removed[order[: self._structure.removable(group, width, wanted)]] = True
        return removed


class _Judge:
    """What the outputs lose by a removal: after refitting on some samples, on others.

    For a network that ends in a softmax it is the divergence of the classes' probabilities, else the squared error.
    """

    def __init__(self, model: Model, channels: Channels, data: Data, rng: np.random.Generator) -> None:
        self._model, self._channels = with_shapes(model), channels
        self._outputs = list(compared_values(model))
        chosen = rng.permutation(len(data))[: 2 * SAMPLES]
        plain = Data(data.inputs)  # no labels: the original network is the goal
        self._fitting = plain.take(np.sort(chosen[len(chosen) // 3 :][:SAMPLES]))
        self._judging = plain.take(np.sort(chosen[: len(chosen) // 3]))
        self._goal = self._run(self._model)

    def __call__(self, removed: Mask) -> float:
        pruned = cut(self._model, self._channels, removed)
        found = self._run(reconstruct(self._model, pruned, self._channels, removed, self._fitting).model)
        softmax = len(self._outputs) == 2 and found[1].ndim == 2
        loss = _divergence(self._goal[1], found[1]) if softmax else damage(self._goal, found, None)
        return loss if np.isfinite(loss) else np.inf

    def _run(self, model: Model) -> list[Array]:
        found = Session(model, self._outputs).run(self._judging.inputs)
        return [found[name] for name in self._outputs]


def _divergence(goal: Array, found: Array) -> float:
    """The mean of KL(softmax(goal) || softmax(found)) over samples; logits [n, classes]."""
    wanted, other = log_softmax(goal.astype(np.float64), axis=1), log_softmax(found.astype(np.float64), axis=1)
    return float((np.exp(wanted) * (wanted - other)).sum(axis=1).mean())
