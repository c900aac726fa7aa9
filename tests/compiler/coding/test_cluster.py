"""Weight sharing finds planted values, keeps zeros, and loses less than even steps do."""

from __future__ import annotations

import numpy as np
import pytest
from packed_models import bell, model_of

from prunus.compiler.coding import pack
from prunus.compiler.coding.cluster import cluster, codebook

RNG = np.random.default_rng(0)


def squared_error(before: np.ndarray, after: np.ndarray) -> float:
    return float(np.square(before.astype(float) - after).sum())


def test_planted_values_are_found():
    planted = np.array([-3.0, -1.0, 0.5, 2.5])
    values = planted[RNG.integers(0, 4, 4000)] + RNG.normal(0, 0.02, 4000)
    np.testing.assert_allclose(codebook(values, 4), planted, atol=0.01)


def test_zeros_stay_and_count_as_a_value():
    weights = bell(RNG, (64, 64), 0.3).astype(np.float32)
    shared = cluster(weights, 4)
    np.testing.assert_array_equal(shared == 0, weights == 0)
    assert np.unique(shared).size <= 16 and shared.dtype == np.float32


@pytest.mark.parametrize("bits", [2, 3, 4, 6])
def test_shared_values_lose_less_than_even_steps(bits):
    weights = RNG.laplace(0, 1, 20_000).astype(np.float32)
    step = 2 * np.abs(weights).max() / ((1 << bits) - 1)
    even = step * np.rint(weights / step)
    assert squared_error(weights, cluster(weights, bits)) < 0.5 * squared_error(weights, even)


def test_integers_stay_integers_within_their_range():
    weights = bell(RNG, (100, 100), 0.8)
    shared = cluster(weights, 4)
    assert shared.dtype == np.int8 and np.unique(shared).size <= 16
    assert weights.min() <= shared.min() and shared.max() <= weights.max()
    assert not shared[weights == 0].any()


def test_few_values_stay_as_they_are():
    weights = RNG.choice(np.array([-2, 0, 1, 5], np.int8), 1000)
    np.testing.assert_array_equal(cluster(weights, 2), weights)


def test_shared_values_make_the_file_smaller():
    weights = bell(RNG, (128, 128), width=30)
    plain, shared = (len(pack(model_of(w=each))) for each in (weights, cluster(weights, 4)))
    assert shared < 0.6 * plain


def test_means_are_the_best_values():
    """Companion: any other centroids of the same clusters are worse."""
    weights = RNG.normal(0, 1, 5000)
    best = cluster(weights, 3)
    worse = best + 0.05 * np.sign(best)
    assert squared_error(weights, best) < squared_error(weights, worse)
