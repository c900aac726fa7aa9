"""How much each channel matters. Scores are comparable between layers; an infinite one says: never remove."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from ..analysis.channels import Channels
from ..data import Data
from ..errors import UsageError
from ..model.edit import weight
from ..model.model import Model
from .surgeon import surgeon

Scores = npt.NDArray[np.float64]  # per unit; larger matters more
AUTO = "auto"
Criterion = Callable[[Model, Channels, int, Data | None], Scores]  # (model, channels, seed, samples)


def resolve(criterion: str, data: Data | None) -> str:
    """The criterion itself; for `auto` the best one that there is data for.

    Raises:
        UsageError: no criterion has this name (code `unknown-criterion`).
    """
    if criterion == AUTO:
        return "l2" if data is None else "obs"
    if criterion not in CRITERIA:
        raise UsageError(
            f"There is no pruning criterion called '{criterion[:64]}'.",
            code="unknown-criterion",
            hint=f"Criteria: {', '.join((AUTO, *CRITERIA))}.",
        )
    return criterion


def importance(model: Model, channels: Channels, criterion: str, seed: int = 0, data: Data | None = None) -> Scores:
    """The score of every unit under a criterion of `CRITERIA`, or `auto`.

    Raises:
        UsageError: the criterion is unknown (code `unknown-criterion`), or it needs data (`needs-data`).
    """
    return CRITERIA[resolve(criterion, data)](model, channels, seed, data)


def magnitude(order: int) -> Criterion:
    """The L1 or L2 norm of the weights that compute a channel (Li et al., Pruning Filters for Efficient ConvNets).

    Within every layer the norms are divided by their mean; a channel's score is the mean over the layers that compute
    it (several in a residual network).
    """

    def scores(model: Model, channels: Channels, seed: int, data: Data | None) -> Scores:
        total, layers = np.zeros(channels.count), np.zeros(channels.count)
        for name, axis in sorted({(m.initializer, m.axis) for group in channels.groups for m in group.producers}):
            norms = _norms(weight(model.graph.initializers[name]), axis, order)
            units = channels.units[name, axis]
            scored = units >= 0
            np.add.at(total, units[scored], norms[scored] / max(norms.mean(), np.finfo(np.float64).tiny))
            np.add.at(layers, units[scored], 1)
        return total / np.maximum(layers, 1)

    return scores


def _norms(data: npt.NDArray[Any] | None, axis: int, order: int) -> Scores:
    """The norm of every slice along an axis."""
    assert data is not None  # an initializer
    rows = np.moveaxis(data, axis, 0).reshape(data.shape[axis], -1).astype(np.float64)
    return np.asarray(np.linalg.norm(rows, ord=order, axis=1), dtype=np.float64)


def chance(model: Model, channels: Channels, seed: int, data: Data | None) -> Scores:
    """Seeded random numbers: the baseline that every criterion has to beat."""
    return np.random.default_rng(seed).uniform(size=channels.count)


CRITERIA: Mapping[str, Criterion] = {
    "l2": magnitude(2),
    "l1": magnitude(1),
    "obs": surgeon,
    "random": chance,
}
