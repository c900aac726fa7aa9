"""Chooses the channels to remove: the least important ones that together save the wanted share of the MACs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..analysis.channels import Channels
from ..analysis.channels.groups import Mask
from ..analysis.channels.trace import key
from ..data import Data
from ..errors import UsageError
from ..model.edit import weight
from ..model.model import Model
from ..target import Progress, no_progress
from .criteria import Scores, importance, resolve
from .structures import ChannelStructure, unit_width
from .widths import Search, affordable_trials, search_widths

SCOPES = ("global", "inner", "layer", "searched")


@dataclass(frozen=True, eq=False)
class Selection:
    """A removal, and what it saves. `met` is False when even the largest allowed removal misses the target.

    `trials` is the number of widths that a search measured; 0 where the scores alone decided.
    """

    removed: Mask
    criterion: str
    macs_before: int
    macs_after: int
    met: bool
    trials: int = 0

    @property
    def fraction(self) -> float:
        """The share of MACs that goes."""
        return 1 - self.macs_after / self.macs_before if self.macs_before else 0.0


def select(
    model: Model,
    channels: Channels,
    fraction: float,
    criterion: str = "l2",
    *,
    structure: ChannelStructure | None = None,
    seed: int = 0,
    data: Data | None = None,
    scope: str = "global",
    scores: Scores | None = None,
    progress: Progress = no_progress,
) -> Selection:
    """The smallest removal, in order of importance, that saves at least `fraction` of the MACs.

    Scope `global`: one threshold on the importance holds for all groups; each group then loses as many units as lie
    below it and as its structure allows, the least important first. So a layer of which much is dead weight loses much,
    another little. Scope `layer`: every group loses the same share of its units.

    Scope `inner`: as `global`, but what additions join, such as the stream of a residual network, keeps its channels.

    `scores` are those of the criterion, where they are known already; minus infinity is removed in any case.

    Scope `searched`: the widths of the groups are searched for on the network as a whole, starting from those of scope
    `global` (see widths.py). A network that is too large for that, or too few samples, leave it there: `trials` is 0.

    Raises:
        UsageError: `fraction` is not in [0, 1) (code `bad-sparsity`), the scope is unknown (`unknown-scope`), or the
            criterion is unknown or lacks data.
    """
    if not 0 <= fraction < 1:
        raise UsageError(
            f"The sparsity {fraction} is not a share of the MACs.",
            code="bad-sparsity",
            hint="Give a number from 0 (remove nothing) to just below 1.",
        )
    if scope not in SCOPES:
        raise UsageError(
            f"There is no pruning scope called '{scope[:64]}'.",
            code="unknown-scope",
            hint=f"Scopes: {', '.join(SCOPES)}.",
        )
    if scope == "searched" and data is None:
        raise UsageError(
            "The scope 'searched' runs the network: it needs data.",
            code="needs-data",
            hint="Give some hundred unlabelled samples (--data FILE.npz), or take the scope global.",
        )
    if scores is None:
        scores = importance(model, channels, criterion, seed, data)
    if scope == "layer":
        scores = _ranks(channels, scores)
    if scope == "inner":
        scores = np.where(_joined(model, channels) & (scores > -np.inf), np.inf, scores)
    structure = structure or ChannelStructure()
    candidates = np.concatenate([scores[group.units] for group in channels.prunable] or [np.zeros(0)])
    thresholds = np.unique(candidates[np.isfinite(candidates)])
    before = channels.macs()
    budget = before * (1 - fraction)
    low, high = 0, len(thresholds)  # invariant: `low` units below the threshold are too few, `high` enough or all
    while fraction and low < high:
        middle = (low + high) // 2
        if channels.macs(_below(channels, scores, structure, thresholds, middle)) <= budget:
            high = middle
        else:
            low = middle + 1
    removed = _below(channels, scores, structure, thresholds, low)
    trials = 0
    if scope == "searched" and data is not None and fraction and channels.macs(removed) <= budget:
        trials = affordable_trials(model, channels, data)
        if trials:
            how = Search(fraction, trials, structure, seed)
            removed = search_widths(model, channels, scores, removed, data, how, progress).removed
    after = channels.macs(removed)
    return Selection(removed, resolve(criterion, data), before, after, after <= budget, trials)


def _joined(model: Model, channels: Channels) -> Mask:
    """The units of values that are the sum of computed ones."""
    joined = channels.keep_all()
    for node in model.graph:
        if node.op_type in ("Add", "Sum") and all(weight(value) is None for value in node.inputs):
            for units in channels.places.get(key(node), {}).values():
                joined[units[units >= 0]] = True
    return joined


def _ranks(channels: Channels, scores: Scores) -> Scores:
    """Scores that say which share of its group matters no more than a unit; infinite ones stay."""
    ranks = scores.copy()
    for group in channels.prunable:
        order = np.argsort(scores[group.units], kind="stable")
        ranks[group.units[order]] = np.arange(1, group.size + 1) / group.size
    return np.where(np.isinf(scores), scores, ranks)


def _below(channels: Channels, scores: Scores, structure: ChannelStructure, thresholds: Scores, count: int) -> Mask:
    """The removal of units whose score is among the `count` lowest values."""
    removed = channels.keep_all()
    if not count:
        return removed
    for group in channels.prunable:
        of_group = scores[group.units]
        wanted = int((of_group <= thresholds[count - 1]).sum())
        allowed = structure.removable(group, unit_width(channels, group), wanted)
        removed[group.units[np.argsort(of_group, kind="stable")[:allowed]]] = True
    return removed
