"""Types from ranges, and int8 weights whose accumulators fit into int32."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunus.compiler.errors import UsageError
from prunus.compiler.integer.graph import QType
from prunus.compiler.integer.ops import INT32_MAX, accumulator_bounds
from prunus.compiler.quantization import scales
from prunus.compiler.quantization.scales import MAX_BIAS, activation_type, check_formats, next_pow2, quantize_weights
from prunus.compiler.target import Formats

U8 = Formats()
S8 = Formats(activation="s8", unsigned_after_relu=False)
S8_ZERO = Formats(activation="s8", zero_point="zero")
POW2 = Formats(scheme="pow2", activation="s8")
UNIT = QType("u8", 0.01, 128)


@pytest.mark.parametrize(
    ("formats", "low", "high", "nonnegative", "expected"),
    [
        (U8, -1.0, 1.55, False, ("u8", 0.01, 100)),
        (U8, 0.5, 2.55, False, ("u8", 0.01, 0)),  # zero is always inside
        (U8, -2.55, -1.0, False, ("u8", 0.01, 255)),
        (U8, 0.0, 0.0, True, ("u8", 1 / 255, 0)),  # a dead tensor
        (S8, -1.0, 1.55, False, ("s8", 0.01, -28)),
        (S8, 0.0, 2.55, True, ("s8", 0.01, -128)),
        (S8_ZERO, -1.0, 1.27, False, ("s8", 0.01, 0)),
        (S8_ZERO, -2.56, 1.27, False, ("s8", 0.02, 0)),
        (S8_ZERO, 0.0, 2.55, True, ("u8", 0.01, 0)),
        (POW2, -1.0, 0.9, False, ("s8", 2**-7, 0)),
        (POW2, -1.001, 0.9, False, ("s8", 2**-6, 0)),
        (POW2, 0.0, 255.0, True, ("u8", 1.0, 0)),
        (Formats(activation_bits=4), 0.0, 1.5, True, ("u8", 0.1, 0)),
        (Formats(activation_bits=4, activation="s8", zero_point="zero"), -0.8, 0.7, False, ("s8", 0.1, 0)),
    ],
)
def test_activation_type(formats: Formats, low: float, high: float, nonnegative: bool, expected: tuple) -> None:
    found = activation_type(low, high, formats, nonnegative)
    assert (found.dtype, found.zero_point) == (expected[0], expected[2])
    assert found.scale == pytest.approx(expected[1], rel=1e-6)
    assert found.bits == formats.activation_bits


@given(st.floats(-1e6, 0), st.floats(0, 1e6), st.sampled_from([U8, S8, S8_ZERO, POW2]), st.booleans())
def test_every_value_of_the_range_is_within_one_step(low: float, high: float, formats: Formats, relu: bool) -> None:
    found = activation_type(0.0 if relu else low, high, formats, relu)
    ends = [(end - found.zero_point) * found.scale for end in (found.qmin, found.qmax)]
    assert ends[0] <= (0.0 if relu else low) + found.scale and ends[1] >= high - found.scale
    assert found.qmin <= found.zero_point <= found.qmax
    assert np.float32(found.scale) == found.scale


@given(st.floats(1e-30, 1e30))
def test_next_pow2_is_the_smallest_above(value: float) -> None:
    found = next_pow2(value)
    assert np.frexp(found)[0] == 0.5
    assert found / 2 < value <= found


def test_bits_outside_of_the_contract_are_refused() -> None:
    for formats in (Formats(weight_bits=1), Formats(activation_bits=9), Formats(border_bits=16)):
        with pytest.raises(UsageError, match="not supported"):
            check_formats(formats)


def test_plain_weights_use_the_whole_range_per_channel() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(6, 4, 3, 3)) * np.array([1, 10, 1e-3, 5, 0.2, 3]).reshape(-1, 1, 1, 1)
    found = quantize_weights(weight, 0, rng.normal(size=6), UNIT, U8)
    assert (np.abs(found.weight).reshape(6, -1).max(axis=1) == 127).all()
    error = np.abs(found.weight * found.scale.reshape(-1, 1, 1, 1) - weight).reshape(6, -1).max(axis=1)
    assert (error <= found.scale * 0.5000001).all()
    assert np.array_equal(found.bias_scale, np.float32(UNIT.scale) * found.scale)
    assert found.raised == 0


def test_weights_along_another_axis_and_per_tensor() -> None:
    weight = np.random.default_rng(1).normal(size=(7, 3)) * np.array([1.0, 4.0, 9.0])
    along_columns = quantize_weights(weight, 1, None, UNIT, U8)
    transposed = quantize_weights(weight.T, 0, None, UNIT, U8)
    assert np.array_equal(along_columns.weight, transposed.weight.T) and along_columns.bias is None
    per_tensor = quantize_weights(weight, 1, None, UNIT, Formats(per_channel=False))
    assert per_tensor.scale.shape == (1,)
    assert per_tensor.scale[0] == transposed.scale.max()


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("formats", [U8, POW2])
def test_narrow_weights_stay_inside_their_range(bits: int, formats: Formats) -> None:
    weight = np.random.default_rng(2).normal(size=(5, 40))
    wanted = Formats(scheme=formats.scheme, weight_bits=bits)
    found = quantize_weights(weight, 0, None, UNIT, wanted)
    assert np.abs(found.weight).max() == 2 ** (bits - 1) - 1 or formats.scheme == "pow2"
    assert np.abs(found.weight).max() < 2 ** (bits - 1)


def test_dead_channels_take_the_median_scale() -> None:
    weight = np.zeros((5, 3))
    weight[1], weight[2], weight[4] = 127.0, 1.27, 12.7
    found = quantize_weights(weight, 0, np.ones(5), UNIT, U8)
    assert found.scale[0] == found.scale[3] == found.scale[4] == pytest.approx(0.1)
    assert (found.weight[[0, 3]] == 0).all()
    assert quantize_weights(np.zeros((2, 3)), 0, None, UNIT, U8).scale.tolist() == [1.0, 1.0]


def test_pow2_channels_stay_within_eight_shifts() -> None:
    weight = np.random.default_rng(3).normal(size=(12, 9)) * np.logspace(-6, 2, 12)[:, None]
    found = quantize_weights(weight, 0, None, QType("s8", 2**-5), POW2)
    assert (np.frexp(found.scale)[0] == 0.5).all()
    assert found.scale.max() / found.scale.min() == 2**8


def _violations(found: scales.QuantizedWeights, x: QType) -> int:
    assert found.bias is not None
    bounds = accumulator_bounds(found.weight, found.bias, x)
    return int((bounds > INT32_MAX).sum() + (np.abs(found.bias.astype(np.int64)) > MAX_BIAS).sum())


NEARLY_DEAD = np.array([1e-9, 1.0, 1e-20, 3.0]).reshape(-1, 1)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.floats(-30, 10),
    st.floats(-10, 20),
    st.sampled_from([U8, POW2, Formats(per_channel=False)]),
    st.sampled_from([QType("u8", 0.02, 255), QType("s8", 2**-6, 0), QType("u8", 2**-40, 3), QType("u8", 50.0, 0)]),
)
def test_accumulators_fit_whatever_the_weights(
    seed: int, weight_exponent: float, bias_exponent: float, formats: Formats, x: QType
) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.normal(size=(4, 30)) * NEARLY_DEAD * 2.0**weight_exponent
    found = quantize_weights(weight, 0, rng.normal(size=4) * 2.0**bias_exponent, x, formats)
    assert _violations(found, x) == 0
    assert np.isfinite(found.scale).all() and (np.float32(x.scale) * found.scale >= np.finfo(np.float32).tiny).all()


def test_very_long_sums_fit() -> None:
    weight = np.ones((2, 90_000))
    found = quantize_weights(weight, 0, np.array([0.0, 1e6]), QType("u8", 1.0, 255), U8)
    assert _violations(found, QType("u8", 1.0, 255)) == 0
    assert found.raised == 2


def test_overflow_is_seen_when_scales_are_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, bias = np.ones((4, 30)), np.full(4, 1.5 * MAX_BIAS * UNIT.scale / 127)
    assert _violations(quantize_weights(weight, 0, bias, UNIT, U8), UNIT) == 0
    monkeypatch.setattr(scales, "_smallest_scales", lambda bias, x: np.zeros(len(bias)))
    monkeypatch.setattr(scales, "accumulator_bounds", lambda weight, bias, x: np.zeros(len(weight)))
    monkeypatch.setattr(scales, "MAX_BIAS", 1 << 41)
    assert _violations(quantize_weights(weight, 0, bias, UNIT, U8), UNIT) > 0


@pytest.mark.parametrize(
    "x", [QType("u8", 1.0, 0), QType("u8", 1.0, 200), QType("s8", 1.0, -3), QType("u8", 1.0, 2, 4)]
)
def test_bounds_hold_and_are_reached(x: QType) -> None:
    rng = np.random.default_rng(4)
    weight, bias = rng.integers(-127, 128, (5, 6)), rng.integers(-1000, 1000, 5)
    ends = np.array([x.qmin, x.qmax])
    extremes = np.stack(np.meshgrid(*[ends] * 6), axis=-1).reshape(-1, 6)
    centred = (extremes - x.zero_point) @ weight.T + bias
    bounds = accumulator_bounds(weight, bias, x)
    assert (np.abs(centred).max(axis=0) <= bounds).all()
    assert (bounds >= np.abs(bias) + np.abs(weight).sum(axis=1) * x.max_abs).all()
