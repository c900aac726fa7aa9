"""Patterns of zeros: parsing, the exact shape and balance of what stays, and that the best stays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunus.compiler.errors import UsageError
from prunus.compiler.model.zeros import structure_of
from prunus.compiler.pruning.patterns import Pattern, device_pattern, parse_pattern
from prunus.compiler.target import Formats


@pytest.mark.parametrize("text", ["16x4", "4x4", "32x64", "1x1", "2:4", "1:2", "weight"])
def test_patterns_read_what_they_write(text: str) -> None:
    assert str(parse_pattern(text)) == text


@pytest.mark.parametrize("text", ["", "16", "16x", "0x4", "4:2", "2:2", "x", "16X4", "a:b", "99999x1", "weights"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_pattern(text)
    assert error.value.code == "unknown-pattern"


sizes = st.integers(1, 9)


@given(
    shape=st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 19), st.integers(1, 19)),
    block=st.tuples(sizes, sizes),
    density=st.floats(0.05, 1),
    seed=st.integers(0, 99),
)
def test_blocks_are_whole_and_balanced(
    shape: tuple[int, int, int, int], block: tuple[int, int], density: float, seed: int
) -> None:
    """Each row of blocks keeps the same number of whole ones, and no dropped block scores above a kept one."""
    scores = np.random.default_rng(seed).uniform(0.1, 1, shape)
    keep = Pattern("block", block).keep(scores, density)
    rows, columns = block
    groups, taps, inputs, outputs = shape
    per_row = -(-inputs // columns) * taps
    expected = max(1, round(density * per_row))
    for group in range(groups):
        for first in range(0, outputs, rows):
            cells = [
                (
                    keep[group, tap, column : column + columns, first : first + rows],
                    scores[group, tap, column : column + columns, first : first + rows].sum(),
                )
                for tap in range(taps)
                for column in range(0, inputs, columns)
            ]
            assert all(cell.all() or not cell.any() for cell, _ in cells)
            kept = [score for cell, score in cells if cell.all()]
            dropped = [score for cell, score in cells if not cell.any()]
            assert len(kept) == expected
            assert not dropped or max(dropped) <= min(kept)


@given(seed=st.integers(0, 99), inputs=st.integers(1, 17), size=st.sampled_from([(2, 4), (1, 2), (4, 8)]))
def test_n_of_m_neighbours_stay(seed: int, inputs: int, size: tuple[int, int]) -> None:
    n, m = size
    scores = np.random.default_rng(seed).uniform(0.1, 1, (1, 2, inputs, 3))
    keep = Pattern("n_m", size).keep(scores, 0.123)
    for first in range(0, inputs, m):
        part = keep[:, :, first : first + m]
        assert (part.sum(axis=2) == min(n, part.shape[2])).all()
        if part.shape[2] == m:
            chosen = np.where(part, scores[:, :, first : first + m], np.inf).min(axis=2)
            lost = np.where(part, -np.inf, scores[:, :, first : first + m]).max(axis=2)
            assert (lost <= chosen).all()


def test_n_of_m_is_reached_step_by_step() -> None:
    steps = [str(parse_pattern("2:8").on_the_way(done / 3)) for done in (1, 2, 3)]
    assert steps == ["6:8", "4:8", "2:8"]
    assert str(parse_pattern("2:4").on_the_way(1 / 3)) == "4:4"
    assert parse_pattern("16x4").on_the_way(0.5) == parse_pattern("16x4")


def test_single_weights_are_the_highest_of_the_layer() -> None:
    scores = np.arange(24, dtype=np.float64).reshape(1, 2, 3, 4)
    keep = Pattern("weight").keep(scores, 0.25)
    assert np.flatnonzero(keep).tolist() == list(range(18, 24))


@pytest.mark.parametrize("text", ["16x4", "4x4", "8x8", "1x16", "2:4", "1:4"])
@given(
    size=st.tuples(st.integers(2, 6), st.integers(1, 3)),
    taps=st.sampled_from([1, 9]),
    share=st.floats(0.2, 0.6),
    seed=st.integers(0, 99),
)
def test_the_structure_of_zeros_is_known_before_they_are_there(
    text: str, size: tuple[int, int], taps: int, share: float, seed: int
) -> None:
    """Of whole blocks: what a solver predicts of a layer is what is measured once its weights are zeroed."""
    pattern = parse_pattern(text)
    columns = pattern.size[1]
    rows = pattern.size[0] if pattern.kind == "block" else 8
    inputs, outputs, density = size[0] * columns, size[1] * rows, pattern.density(share)
    scores = np.random.default_rng(seed).uniform(0.1, 1, (1, taps, inputs, outputs))
    kept = pattern.keep(scores, density)
    found = structure_of((scores * kept)[0].transpose(2, 1, 0))
    expected = pattern.sparsity(density, inputs, outputs, taps)
    if found.kind in ("channel", "dense"):  # so few blocks that whole channels went, or none could
        assert kept[0].any(axis=0).mean() < 1 or kept.all()
        return
    assert found.density == pytest.approx(expected.density)
    assert pattern.kind != "n_m" or (found.kind, found.block) == (expected.kind, expected.block)
    assert pattern.kind != "block" or found.kind in ("block", "n_m")


@pytest.mark.parametrize(
    ("formats", "expected"),
    [
        (Formats(), None),
        (Formats(block=(16, 4)), "16x4"),
        (Formats(block=(1, 1)), "weight"),
        (Formats(n_m=(2, 4)), "2:4"),
    ],
)
def test_a_device_has_its_pattern(formats: Formats, expected: str | None) -> None:
    found = device_pattern(formats)
    assert (None if found is None else str(found)) == expected
