"""Requantization multipliers: exactness against rational arithmetic, ranges, and what happens at their ends."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunus.compiler.errors import UnsupportedError
from prunus.compiler.integer import ops, requant

scales = st.floats(2.0**-20, 2.0**4, width=32)


@given(scales, scales, scales, st.sampled_from([8, 16, 18, 31]))
def test_fixed_is_the_nearest_multiplier_of_its_width(x, w, y, bits):
    exact = Fraction(x) * Fraction(w) / Fraction(y)
    if not Fraction(2) ** -28 < exact < Fraction(2) ** (bits - 3):
        return
    found = requant.product([x, np.array([w], np.float32)], y, "fixed", bits)
    m, shift = int(found.multiplier[0]), int(found.shift[0])
    assert 1 << (bits - 1) <= m < 1 << bits
    assert 1 <= shift <= 62
    error = abs(Fraction(m) / Fraction(2) ** shift - exact)
    assert error <= Fraction(1, 2) / Fraction(2) ** shift


@given(scales, scales, scales)
def test_f32_is_two_float32_operations(x, w, y):
    found = requant.product([x, np.array([w], np.float32)], y, "f32", 31)
    expected = np.float32(np.float32(x) * np.float32(w)) / np.float32(y)
    assert found.multiplier.dtype == np.float32
    assert found.multiplier[0] == max(expected, np.finfo(np.float32).tiny)


@given(st.integers(-10, 10), st.integers(-12, 3), st.integers(-10, 10))
def test_pow2_is_a_shift(x, w, y):
    found = requant.product([2.0**x, np.array([2.0**w], np.float32)], 2.0**y, "pow2", 31)
    assert (int(found.multiplier[0]), int(found.shift[0])) == (1, y - x - w)
    assert found.real()[0] == 2.0 ** (x + w - y)


def test_rounding_up_to_the_next_power_of_two_moves_the_shift():
    ratio = Fraction(1) - Fraction(1, 2**40)
    assert requant.normalise(ratio, 18) == (1 << 17, 17)


@pytest.mark.parametrize("bits", [18, 31])
def test_a_ratio_below_reach_gives_zero_for_every_accumulator(bits):
    found = requant.product([np.float32(1e-20), np.float32(1e-10)], 1.0, "fixed", bits)
    assert int(found.shift[0]) == 62
    acc = np.array([-(2**31) + 1, -1, 0, 1, 2**31 - 1])
    assert not ops.multiply(acc, found).any()


def test_subnormal_multipliers_become_normal():
    found = requant.product([np.float32(1e-25), np.float32(1e-20)], 1.0, "f32", 31)
    assert found.multiplier[0] == np.finfo(np.float32).tiny
    assert not ops.multiply(np.array([2**31 - 1]), found).any()


@pytest.mark.parametrize(
    ("factors", "divisor", "scheme", "code"),
    [
        ([2.0**10, 1.0], 2.0**-25, "fixed", "requant-range"),
        ([2.0**10, 1.0], 2.0**-25, "pow2", "requant-range"),
        ([3e38, 3e38], 1.0, "f32", "requant-range"),
        ([0.3, 1.0], 1.0, "pow2", "scale-not-pow2"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_out_of_range(factors, divisor, scheme, code):
    with pytest.raises(UnsupportedError) as caught:
        requant.product(factors, divisor, scheme, 31)
    assert caught.value.code == code


@given(scales, scales, scales)
def test_inputs_of_a_sum_share_one_shift(a, b, y):
    ratios = [Fraction(a) / Fraction(y), Fraction(b) / Fraction(y)]
    if not Fraction(2) ** -28 < max(ratios) < Fraction(2) ** 28:
        return
    found = requant.inputs_of_sum([a, b], y, "fixed", 31)
    assert found.shift[0] == found.shift[1]
    assert 1 << 30 <= found.multiplier.max() < 1 << 31
    for m, ratio in zip(found.multiplier.tolist(), ratios, strict=True):
        assert abs(m - ratio * Fraction(2) ** int(found.shift[0])) <= 1


@given(st.lists(st.integers(1, 400), min_size=1, max_size=5), scales, scales)
def test_average_divides_by_the_count(counts, x, y):
    if not 2.0**-10 < x / y < 2.0**10:
        return
    exact = np.array([x / (y * n) for n in counts])
    assert np.allclose(requant.average(x, y, counts, "fixed", 31).real(), exact, rtol=2.0**-30)
    assert np.allclose(requant.average(x, y, counts, "f32", 31).real(), exact, rtol=2.0**-22)
    short = requant.average(x, y, counts, "pow2", 31)
    assert (short.scheme, short.bits) == ("fixed", 16)
    assert np.allclose(short.real(), exact, rtol=2.0**-16)


@pytest.mark.parametrize(("value", "expected"), [(1.0, True), (0.25, True), (0.3, False), (0.0, False), (-2.0, False)])
def test_is_pow2(value, expected):
    assert requant.is_pow2(value) is expected
