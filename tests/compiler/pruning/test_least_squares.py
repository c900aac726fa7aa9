"""Sums over samples, and what is solved from them."""

from __future__ import annotations

import numpy as np
import pytest

from prunus.compiler.pruning.least_squares import NormalEquations
from prunus.compiler.quantization.rounding import gptq


def equations(rows: int, seed: int) -> NormalEquations:
    rng = np.random.default_rng(seed)
    found = NormalEquations()
    found.add(rng.normal(size=(rows, 1, 16)).astype(np.float32), rng.normal(size=(rows, 1, 4)).astype(np.float32))
    return found


@pytest.mark.parametrize("seed", range(20))
def test_one_sample_still_gives_a_hessian_to_round_by(seed: int) -> None:
    gram, _ = equations(1, seed).centred()
    assert np.linalg.eigvalsh(gram).min() > 0
    assert gptq(np.random.default_rng(seed).normal(size=(1, 4, 16)) * 50, 127, gram).shape == (1, 4, 16)


def test_the_mean_is_taken_out() -> None:
    rng = np.random.default_rng(0)
    a = (rng.normal(size=(500, 1, 16)) + 3).astype(np.float32)
    found = NormalEquations()
    found.add(a, a)
    wanted = np.cov(a[:, 0].T.astype(np.float64), bias=True) * len(a)
    np.testing.assert_allclose(found.centred()[0][0], wanted, rtol=0, atol=0.02)  # of 500
