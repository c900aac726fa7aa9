"""The parts without a tool: types, layouts, averages, schedules."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from prunus.compiler.integer import requant
from prunus.compiler.integer.ops import round_shift
from prunus.targets.fpga.hls import layout, reuse
from prunus.targets.fpga.hls.pooling import plan_average, quotient
from prunus.targets.fpga.hls.types import Fixed, holding, saturating

# -- types -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("largest", [0, 1, 2, 3, 127, 128, 255, 256, 2**31])
def test_the_smallest_signed_type_holds_its_range(largest: int) -> None:
    kind = holding(largest, 3)
    assert kind.lowest <= -largest and largest <= kind.highest
    assert kind.width == 2 or Fixed(kind.width - 1, 3).highest < largest


@pytest.mark.parametrize(
    ("qmin", "qmax", "text"),
    [
        (0, 255, "ufixed<8,5,RND_CONV,SAT>"),
        (-128, 127, "fixed<8,5,RND_CONV,SAT>"),
        (-127, 127, "fixed<8,5,RND_CONV,SAT_SYM>"),
        (0, 15, "ufixed<4,1,RND_CONV,SAT>"),
        (0, 192, None),
        (-128, 100, None),
        (0, 0, None),
    ],
)
def test_a_type_clips_to_a_range_or_there_is_none(qmin: int, qmax: int, text: str | None) -> None:
    kind = saturating(qmin, qmax, 3)
    assert (str(kind) if kind else None) == text
    if kind:
        assert (kind.lowest, kind.highest) == (qmin, qmax)


def test_fractions_beyond_the_width() -> None:
    assert str(Fixed(8, 12)) == "fixed<8,-4>"
    assert str(Fixed(8, -2, signed=False)) == "ufixed<8,10>"


# -- layouts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("perm", permutations(range(3)))
def test_transposes_only_rename(perm: tuple[int, ...]) -> None:
    data = np.random.default_rng(0).integers(0, 99, (2, 3, 4, 5))
    order = layout.channels_last((3, 4, 5))
    stored = layout.to_physical(data, order)
    moved = data.transpose(0, *(axis + 1 for axis in perm))
    renamed = layout.after_transpose(order, (3, 4, 5), perm)
    np.testing.assert_array_equal(layout.to_physical(moved, renamed), stored)
    np.testing.assert_array_equal(layout.to_logical(stored, renamed, moved.shape[1:]), moved)


def test_axes_are_found_again() -> None:
    for axes in permutations(range(3)):
        assert layout.axes_of(layout.by_axes((2, 3, 4), axes), (2, 3, 4)) == axes
    assert layout.axes_of(np.array([1, 0, 2, 3]), (2, 2)) is None


# -- average pooling -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [4, 9, 36, 64, 100, 125])
@pytest.mark.parametrize("grid_shift", [-2, 0, 1])
def test_an_average_is_exact_on_every_sum(count: int, grid_shift: int) -> None:
    m = requant.average(1.0, 2.0**grid_shift, [count], "pow2", 31)
    multiplier, shift = int(m.multiplier[0]), int(m.shift[0])
    found = plan_average(count, Fixed(8, 0, signed=False), grid_shift, multiplier, shift, 0, 255)
    assert found is not None
    sums = np.arange(count * 255 + 1)
    mean = quotient(sums, count, found.extra_bits)
    fraction = found.extra_bits + (shift if found.product else grid_shift)
    got = round_shift(mean * (multiplier * count if found.product else 1), np.asarray(fraction))
    np.testing.assert_array_equal(got.clip(0, 255), round_shift(sums * multiplier, np.asarray(shift)).clip(0, 255))


def test_a_division_by_a_power_of_two_needs_no_product() -> None:
    m = requant.average(1.0, 0.25, [64], "pow2", 31)
    found = plan_average(64, Fixed(8, 0, signed=False), -2, int(m.multiplier[0]), int(m.shift[0]), 0, 255)
    assert found is not None and not found.product


def test_one_bit_too_few_is_noticed() -> None:
    """The plan is minimal: with fewer fraction bits the truncated quotient rounds wrongly somewhere."""
    sums = np.arange(25 * 255 + 1)
    exact = np.rint(sums / 25)  # 25 is odd: there are no ties
    assert (round_shift(quotient(sums, 25, 6), np.asarray(6)) == exact).all()
    assert (round_shift(quotient(sums, 25, 2), np.asarray(2)) != exact).any()


# -- schedules -------------------------------------------------------------------------------------------------------


def hls4ml_accepts(n_in: int, n_out: int, factor: int) -> bool:
    """The rule of hls4ml's documentation for the Resource strategy."""
    limit = -(-(n_in * n_out) // min(n_in, factor))
    correct = (limit % n_out == 0 or factor >= n_in) and (factor % n_in == 0 or factor < n_in)
    return correct and (n_in * n_out) % factor == 0


@pytest.mark.parametrize(("n_in", "n_out"), [(16, 64), (27, 8), (7, 5), (64, 1), (1, 12)])
def test_factors_are_those_that_hls4ml_takes(n_in: int, n_out: int) -> None:
    want = tuple(r for r in range(1, n_in * n_out + 1) if hls4ml_accepts(n_in, n_out, r))
    assert reuse.valid_factors(n_in, n_out, False) == want


def test_no_layer_gets_more_multipliers_than_a_partition_allows() -> None:
    for factor in reuse.valid_factors(1152, 128, False):
        assert 1152 * 128 // factor <= reuse.MAX_MULTIPLIERS


WORKS = (
    reuse.Work(27, 16, 1024),
    reuse.Work(144, 16, 1024, depthwise=True),
    reuse.Work(144, 32, 256),
    reuse.Work(64, 10, 1),
)


@pytest.mark.parametrize("budget", [20, 100, 500, 2000])
def test_the_schedule_fits_and_the_next_faster_one_does_not(budget: int) -> None:
    found = reuse.plan(WORKS, budget)
    assert found.fits and found.multipliers <= budget
    slowest = max(r * work.calls for r, work in zip(found.reuse_factors, WORKS, strict=True))
    faster = [
        max((r for r in reuse.valid_factors(w.n_in, w.n_out, w.depthwise) if r * w.calls < slowest), default=0)
        for w in WORKS
    ]
    if all(faster):
        assert sum(-(-w.products // r) for w, r in zip(WORKS, faster, strict=True)) > budget


def test_what_fits_at_once_runs_with_constant_weights() -> None:
    small = (reuse.Work(8, 8, 1), reuse.Work(8, 4, 1))
    assert reuse.plan(small, 96) == reuse.Schedule("Latency", (1, 1), 96, True)
    assert reuse.plan(small, 95).strategy == "Resource"


def test_a_network_that_cannot_fit_says_so() -> None:
    found = reuse.plan((reuse.Work(4, 4, 1),) * 5, 3)
    assert not found.fits
    assert found.multipliers == 5
