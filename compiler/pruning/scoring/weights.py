"""Criteria that look at the weights alone: magnitude, geometric median, chance."""

from __future__ import annotations

import numpy as np

from ...analysis.channels import Channels
from ...data import Data
from ...model.model import Model
from .base import Criterion, Scores, producers, real_weight, relative, rows


def magnitude(order: int) -> Criterion:
    """The L1 or L2 norm of the weights that compute a channel (Li et al., Pruning Filters for Efficient ConvNets).

    Within every layer the norms are divided by their mean; a channel's score is the mean over the layers that compute
    it (several in a residual network).
    """

    def scores(model: Model, channels: Channels, seed: int, data: Data | None) -> Scores:
        return relative(
            channels.count,
            (
                (channels.units[name, axis], np.linalg.norm(rows(real_weight(model, name), axis), ord=order, axis=1))
                for name, axis in producers(channels)
            ),
        )

    return scores


def geometric_median(model: Model, channels: Channels, seed: int, data: Data | None) -> Scores:
    """The sum of a filter's distances to all others of its layer (He et al., Filter Pruning via Geometric Median).

    A filter near the geometric median of its layer can be expressed by the others, whatever its norm.
    """
    return relative(
        channels.count,
        (
            (channels.units[name, axis], _distances(rows(real_weight(model, name), axis)))
            for name, axis in producers(channels)
        ),
    )


def _distances(filters: Scores) -> Scores:
    """For every row the sum of its Euclidean distances to all rows."""
    squares = np.square(filters).sum(axis=1)
    squared = squares[:, None] + squares[None, :] - 2 * filters @ filters.T
    return np.asarray(np.sqrt(np.maximum(squared, 0)).sum(axis=1))


def chance(model: Model, channels: Channels, seed: int, data: Data | None) -> Scores:
    """Seeded random numbers: the baseline that every criterion has to beat."""
    return np.random.default_rng(seed).uniform(size=channels.count)
