"""The measured structure of a weight's zeros."""

from __future__ import annotations

import numpy as np
import pytest

from prunus.compiler.model.zeros import Sparsity, structure_of


def dense(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32) + 10


def test_dense() -> None:
    assert structure_of(dense(16, 16, 3, 3)) == Sparsity()


def test_channels() -> None:
    weight = dense(32, 16, 3, 3)
    weight[::2] = 0
    weight[:, :4] = 0
    assert structure_of(weight) == Sparsity("channel", 0.5 * 0.75)


@pytest.mark.parametrize("block", [(16, 4), (4, 4), (1, 8)])
def test_blocks(block: tuple[int, int]) -> None:
    weight = dense(64, 64)
    keep = np.random.default_rng(1).random((64 // block[0], 64 // block[1])) < 0.5
    weight *= np.kron(keep, np.ones(block))
    found = structure_of(weight)
    assert (found.kind, found.block) == ("block", block)
    assert found.density == pytest.approx(keep.mean())


@pytest.mark.parametrize(("n", "m"), [(1, 4), (2, 4), (4, 8)])
def test_n_of_m(n: int, m: int) -> None:
    weight, generator = dense(8, 64), np.random.default_rng(2)
    for row in weight.reshape(-1, m):
        row[generator.permutation(m)[n:]] = 0
    found = structure_of(weight)
    assert found.kind == "n_m"
    assert found.block[0] / found.block[1] == n / m
    assert found.density == n / m


def test_single_zeros() -> None:
    weight = dense(64, 64)
    weight[np.random.default_rng(3).random(weight.shape) < 0.5] = 0
    found = structure_of(weight)
    assert found.kind == "weight"
    assert found.density == np.count_nonzero(weight) / weight.size


def test_one_nonzero_too_many_breaks_a_pattern() -> None:
    weight = dense(8, 64)
    weight[::2] = dense(4, 64) * np.tile([1, 1, 0, 0], 16)
    weight[1::2] = dense(4, 64) * np.tile([0, 1, 0, 1], 16)
    assert structure_of(weight).kind == "n_m"
    weight[0, 2] = 1
    assert structure_of(weight).kind == "weight"
