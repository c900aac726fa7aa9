"""Random problems: as sparse as asked, balanced, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from harness.problem import block_mask, broken, make, reference
from harness.shapes import conv, depthwise, gemm


@pytest.mark.parametrize(("density", "block"), [(0.5, (16, 4)), (0.25, (32, 4)), (0.1, (4, 4)), (0.25, (32, 64))])
def test_masks_are_balanced_and_made_of_whole_blocks(density: float, block: tuple[int, int]) -> None:
    mask = block_mask(64, 320, block, density, np.random.default_rng(0))
    blocks = mask.reshape(64 // block[0], block[0], 320 // block[1], block[1])
    assert np.array_equal(blocks.any(axis=(1, 3)), blocks.all(axis=(1, 3)))
    kept = blocks.any(axis=(1, 3)).sum(axis=1)
    assert set(kept) == {max(1, round(320 // block[1] * density))}


def test_ragged_borders_are_blocks_too() -> None:
    mask = block_mask(20, 10, (16, 4), 0.34, np.random.default_rng(0))
    assert mask.shape == (20, 10)
    assert all(mask[row].any() for row in range(20))


def test_blocks_lie_within_one_tap() -> None:
    problem = make(conv("layer", 8, 16, 5, 3), 0.25)
    groups = problem.weight.reshape(1, 16, 2, 4, 3, 3) != 0
    assert np.array_equal(groups.any(axis=(1, 3)), groups.all(axis=(1, 3)))
    assert np.mean(problem.weight != 0) == pytest.approx(0.25, abs=0.03)


def test_same_seed_same_problem() -> None:
    layer = conv("layer", 8, 16, 5, 3)
    a, b, c = make(layer, 0.5, seed=1), make(layer, 0.5, seed=1), make(layer, 0.5, seed=2)
    assert np.array_equal(a.weight, b.weight) and np.array_equal(a.x, b.x)
    assert not np.array_equal(a.weight, c.weight)


@pytest.mark.parametrize("layer", [conv("a", 8, 16, 6, 3, 2), depthwise("b", 8, 5, 7), gemm("c", 3, 16, 8)])
def test_outputs_use_their_range(layer) -> None:
    y = reference(make(layer))
    assert y.shape == ((3, 8) if layer.kind == "gemm" else (1, layer.out_c, layer.out_height, layer.out_width))
    assert 0.2 < np.mean(y > 0) < 0.9
    assert y.max() > 40


def test_a_broken_problem_differs() -> None:
    problem = make(conv("layer", 8, 16, 6, 3))
    assert np.abs(reference(problem).astype(int) - reference(broken(problem))).max() > 1
