"""Choices by distance between features: cover all samples, or keep one of each kind."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
NEAR = 0.05  # of the typical distance between two samples: closer ones count as equal


def k_center(features: Floats, count: int) -> Index:
    """Greedy k-centre: the first is the sample nearest to the mean, each next one is farthest from all before it.

    So the largest distance of a sample to the nearest kept one is at most twice the smallest possible (Sener and
    Savarese, Active Learning for Convolutional Neural Networks: A Core-Set Approach, 2018).
    """
    chosen = [int(np.argmin(_squares(features, features.mean(axis=0))))]
    distances = _squares(features, features[chosen[0]])
    while len(chosen) < count:
        distances[chosen[-1]] = -1  # below all others, equal samples included
        chosen.append(int(np.argmax(distances)))
        distances = np.minimum(distances, _squares(features, features[chosen[-1]]))
    return np.array(chosen, dtype=np.intp)


def representatives(features: Floats, count: int) -> Index:
    """At most `count` samples, in order, of which no two are near one another (Abbas et al., SemDeDup, 2023)."""
    typical = 2 * np.square(features - features.mean(axis=0)).sum(axis=1).mean()  # of squared distances
    chosen: list[int] = []
    left = np.ones(len(features), dtype=np.bool_)
    for number in range(len(features)):
        if len(chosen) == count:
            break
        if left[number]:
            chosen.append(number)
            left &= _squares(features, features[number]) > NEAR**2 * typical
    return np.array(chosen, dtype=np.intp)


def _squares(features: Floats, point: Floats) -> Floats:
    """The squared distance of every sample to a point."""
    return np.asarray(np.square(features - point).sum(axis=1))
