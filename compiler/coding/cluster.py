"""Weight sharing: the weights of a tensor take few values, so that their indices need few bits.

The values are centroids of k-means in one dimension (Lloyd 1982; Han, Mao and Dally, Deep Compression, 2016). Zeros
stay zeros: what pruning made is worth more than a centroid near 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
MAX_ITERATIONS = 500


def cluster(weight: Array, bits: int) -> Array:
    """The weight with at most 2^bits different values, 0 among them where it was; of the same type and shape.

    Centroids of integers are integers. Weights that have no more values than that stay as they are.
    """
    present = weight != 0
    values = weight[present].astype(np.float64)
    centroids = codebook(values, (1 << bits) - (not present.all()))
    if weight.dtype.kind in "iu":
        centroids = np.unique(np.rint(centroids))
    shared = np.zeros_like(weight)
    shared[present] = centroids[_nearest(values, centroids)].astype(weight.dtype)
    return shared


def codebook(values: Floats, size: int) -> Floats:
    """At most `size` centroids, ascending, that leave little squared error.

    Lloyd's iteration from two starts, evenly over the range (which serves the few large weights) and evenly over the
    values (which serves the many small ones); the better result is taken.
    """
    unique, counts = np.unique(values, return_counts=True)
    if unique.size <= size:
        return unique
    starts = np.linspace(unique[0], unique[-1], size), np.quantile(values, (np.arange(size) + 0.5) / size)
    return min((_lloyd(unique, counts, start) for start in starts), key=lambda found: _squared_error(values, found))


def _lloyd(unique: Floats, counts: npt.NDArray[np.int64], centroids: Floats) -> Floats:
    """Alternates between nearest centroids and means; values are sorted, so that clusters are ranges."""
    weights = np.concatenate([[0], np.cumsum(counts)])
    sums = np.concatenate([[0.0], np.cumsum(unique * counts)])
    for _ in range(MAX_ITERATIONS):
        edges = np.searchsorted(unique, (centroids[1:] + centroids[:-1]) / 2, side="right")
        bounds = np.concatenate([[0], edges, [unique.size]])
        members = np.diff(weights[bounds])
        means = np.where(members > 0, np.diff(sums[bounds]) / np.maximum(members, 1), centroids)
        if np.array_equal(means, centroids):
            break
        centroids = np.sort(means)
    return np.unique(centroids[members > 0])


def _nearest(values: Floats, centroids: Floats) -> npt.NDArray[np.int64]:
    """The index of the nearest centroid of each value; the lower one of two equally near."""
    return np.searchsorted((centroids[1:] + centroids[:-1]) / 2, values, side="left").astype(np.int64)


def _squared_error(values: Floats, centroids: Floats) -> float:
    return float(np.square(values - centroids[_nearest(values, centroids)]).sum())
