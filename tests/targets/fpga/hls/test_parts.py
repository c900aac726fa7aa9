"""The parts without a tool: types, layouts, averages, schedules."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from prunus.compiler.integer import requant
from prunus.compiler.integer.ops import round_shift
from prunus.targets.fpga.hls import layout
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
