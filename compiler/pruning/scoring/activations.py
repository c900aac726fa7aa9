"""Criteria that look at what a channel carries on samples: its size, its zeros, its rank, its part in the next sum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...analysis.channels import Channels
from ...data import Data
from ...model.model import Model
from .base import Array, Criterion, Scores, needed, real_weight, relative, rows
from .observe import Reader, observe

SAMPLES = 256
RANK_SAMPLES = 64  # each takes a singular value decomposition a channel
Statistic = Callable[[Array], Scores]  # [samples, channels, places …] -> [samples, channels]


def _observed(name: str, statistic: Statistic, samples: int = SAMPLES) -> Criterion:
    """The statistic's mean over samples, within each reading layer relative to its mean."""

    def scores(model: Model, channels: Channels, seed: int, data: Data | None) -> Scores:
        found, means = _means(model, channels, needed(data, name), statistic, samples, seed)
        return relative(channels.count, zip((reader.units for reader in found), means, strict=True))

    return scores


def _means(
    model: Model, channels: Channels, data: Data, statistic: Statistic, samples: int, seed: int
) -> tuple[list[Reader], list[Scores]]:
    found, pieces, _ = observe(model, channels, data, samples, seed)
    totals, counts = [np.zeros(len(reader.units)) for reader in found], np.zeros(len(found))
    for piece in pieces:
        for number, x in enumerate(piece):
            totals[number] += statistic(x).sum(axis=0)
            counts[number] += len(x)
    return found, [total / max(count, 1) for total, count in zip(totals, counts, strict=True)]


def _flat(x: Array) -> Scores:
    return x.reshape(*x.shape[:2], -1).astype(np.float64)


def _ranks(x: Array) -> Scores:
    """The rank of every map; a value or a row has rank 1 unless all of it is zero."""
    maps = x.reshape(*x.shape[:3], -1) if x.ndim > 3 else x.reshape(*x.shape[:2], 1, -1)
    return np.asarray(np.linalg.matrix_rank(maps), dtype=np.float64)


mean_activation = _observed("activation", lambda x: np.abs(_flat(x)).mean(axis=2))
"""Mean magnitude of what the next layer reads (Molchanov et al., 2017)."""

apoz = _observed("apoz", lambda x: (_flat(x) != 0).mean(axis=2))
"""One minus the average percentage of zeros (Hu et al., Network Trimming, 2016); it tells little where no Relu is."""

hrank = _observed("hrank", _ranks, RANK_SAMPLES)
"""Average rank of the feature map (Lin et al., HRank, 2020): it hardly changes from sample to sample."""


def wanda(model: Model, channels: Channels, seed: int, data: Data | None) -> Scores:
    """|w| |x|, weight times norm of its input, summed over all weights that read a channel (Sun et al., 2023).

    The norm is over samples and places. Products of two computed values have no weight: they do not count.
    """
    found, energies = _means(
        model, channels, needed(data, "wanda"), lambda x: np.square(_flat(x)).sum(2), SAMPLES, seed
    )
    return relative(
        channels.count,
        (
            (reader.units, np.sqrt(energy) * _reading_weights(model, reader))
            for reader, energy in zip(found, energies, strict=True)
            if reader.site.weight is not None
        ),
    )


def _reading_weights(model: Model, reader: Reader) -> Scores:
    """The sum of the magnitudes of the weights that read each channel."""
    assert reader.site.weight is not None  # of readers with a weight only
    name, axis = reader.site.weight
    data = np.abs(real_weight(model, name))
    count = len(reader.units)
    if data.shape[axis] != count:  # a convolution in groups [out, in / group, …]: outputs stand group by group
        groups = count // data.shape[axis]
        parts = data.reshape(groups, data.shape[0] // groups, data.shape[1], -1)
        return np.asarray(parts.sum(axis=(1, 3)).ravel())
    return np.asarray(rows(data, axis).sum(axis=1))
