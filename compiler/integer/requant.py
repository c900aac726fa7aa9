"""From scales to requantization multipliers: how real ratios of scales become what the integer graph multiplies by.

All scales are float32 values. A ratio is exact (a `Fraction`) until the last step:

* `f32`: m = fl(fl(s_x * s_w) / s_y), two float32 operations, as the contract says; never below the smallest normal.
* `fixed`: M * 2^-shift is the nearest to the exact ratio with 2^(bits-1) <= M < 2^bits.
* `pow2`: the ratio itself must be a power of two.

A ratio so small that every int32 accumulator rounds to zero keeps doing so: its shift stops at 62, M at 2^(bits-1).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from ..errors import UnsupportedError
from .graph import Requant, Scheme

MIN_SHIFT, MAX_SHIFT = 1, 62
MIN_POW2_SHIFT = -31
AVERAGE_BITS = 16  # average pooling on `pow2` targets: a division by the window's size needs a multiplier
_TINY = np.finfo(np.float32).tiny


def product(factors: Sequence[float | npt.NDArray[np.float32]], divisor: float, scheme: Scheme, bits: int) -> Requant:
    """The requantization by factors[0] * factors[1] * … / divisor; one entry per element of the broadcast factors.

    Raises UnsupportedError: `requant-range` for a ratio too large for the scheme, `scale-not-pow2`.
    """
    arrays = np.broadcast_arrays(*(np.atleast_1d(np.asarray(factor, np.float32)) for factor in factors))
    if scheme == "f32":
        m: npt.NDArray[np.float32] = np.multiply.reduce(arrays, axis=0, dtype=np.float32)
        return single(np.divide(m, np.float32(divisor), dtype=np.float32))
    denominator = Fraction(float(np.float32(divisor)))
    ratios = []
    for entries in zip(*(array.tolist() for array in arrays), strict=True):
        ratio = Fraction(1)
        for entry in entries:
            ratio *= Fraction(entry)
        ratios.append(ratio / denominator)
    return from_ratios(ratios, scheme, bits)


def inputs_of_sum(scales: Sequence[float], output: float, scheme: Scheme, bits: int) -> Requant:
    """The requantization of an addition: one entry per input, s_i / s_y; `fixed` entries share one shift.

    The larger ratio decides the shift, so the other multiplier has fewer bits (at least 1, never 0).
    """
    if scheme != "fixed":
        return product([np.asarray(scales, np.float32)], output, scheme, bits)
    denominator = Fraction(float(np.float32(output)))
    ratios = [Fraction(float(np.float32(scale))) / denominator for scale in scales]
    _, shift = normalise(max(ratios), bits)
    multipliers = [max(1, round(ratio * Fraction(2) ** shift)) for ratio in ratios]
    if max(multipliers) == 1 << bits:  # rounding reached the next power of two
        shift -= 1
        multipliers = [max(1, round(ratio * Fraction(2) ** shift)) for ratio in ratios]
    return Requant("fixed", np.array(multipliers, np.int64), np.full(len(ratios), shift, np.int32), bits)


def average(x: float, y: float, counts: Iterable[int], scheme: Scheme, bits: int) -> Requant:
    """The requantization of a sum over a window: s_x / (s_y * count), one entry per count.

    `pow2` becomes `fixed(16)`: counts are rarely powers of two.
    """
    counts = list(counts)
    if scheme == "f32":
        return single(np.float32(x) / (np.float32(y) * np.asarray(counts, np.float32)))
    ratio = Fraction(float(np.float32(x))) / Fraction(float(np.float32(y)))
    return from_ratios([ratio / count for count in counts], "fixed", AVERAGE_BITS if scheme == "pow2" else bits)


def single(multiplier: npt.NDArray[np.float32]) -> Requant:
    """Scheme `f32`; a subnormal multiplier becomes the smallest normal one (accumulators round to 0 either way)."""
    if not np.isfinite(multiplier).all():
        raise _out_of_range("a multiplier is not a finite float32")
    m = np.maximum(multiplier.astype(np.float32), _TINY)
    return Requant("f32", m, np.zeros(m.shape, np.int32))


def from_ratios(ratios: Sequence[Fraction], scheme: Scheme, bits: int) -> Requant:
    """Scheme `fixed` or `pow2` from exact ratios."""
    if scheme == "pow2":
        shifts = [_pow2_shift(ratio) for ratio in ratios]
        return Requant("pow2", np.ones(len(shifts), np.int64), np.array(shifts, np.int32), bits)
    pairs = [normalise(ratio, bits) for ratio in ratios]
    return Requant("fixed", np.array([m for m, _ in pairs], np.int64), np.array([s for _, s in pairs], np.int32), bits)


def normalise(ratio: Fraction, bits: int) -> tuple[int, int]:
    """(M, shift): the M * 2^-shift nearest to `ratio` > 0 with 2^(bits-1) <= M < 2^bits and 1 <= shift <= 62."""
    low = 1 << (bits - 1)
    shift = bits - 1 - floor_log2(ratio)
    multiplier = round(ratio * Fraction(2) ** shift)  # Python rounds a Fraction half to even
    if multiplier == low << 1:
        multiplier, shift = low, shift - 1
    if shift < MIN_SHIFT:
        raise _out_of_range(f"a ratio of scales is 2^{floor_log2(ratio)} or more")
    if shift > MAX_SHIFT:
        if ratio * Fraction(2) ** 31 >= Fraction(1, 2):
            raise _out_of_range(f"a ratio of scales needs a shift of {shift}")
        return low, MAX_SHIFT
    return multiplier, shift


def floor_log2(value: Fraction) -> int:
    """The largest k with 2^k <= value, exactly; value > 0."""
    k = value.numerator.bit_length() - value.denominator.bit_length()
    return k if Fraction(2) ** k <= value else k - 1


def is_pow2(value: float) -> bool:
    """Whether a positive scale is an exact power of two."""
    return value > 0 and float(np.frexp(value)[0]) == 0.5


def _pow2_shift(ratio: Fraction) -> int:
    k = floor_log2(ratio)
    if Fraction(2) ** k != ratio:
        raise UnsupportedError(
            "A scale is not a power of two.",
            code="scale-not-pow2",
            why=f"The device's scheme is pow2 and a ratio of scales is {float(ratio):.9g}.",
            hint="Quantize the model for this device, so that every scale is a power of two.",
        )
    if -k < MIN_POW2_SHIFT:
        raise _out_of_range(f"a ratio of scales is 2^{k}")
    return min(-k, MAX_SHIFT)  # at 62 and beyond every accumulator rounds to zero


def _out_of_range(why: str) -> UnsupportedError:
    return UnsupportedError(
        "A requantization multiplier lies outside of the contract.",
        code="requant-range",
        why=f"{why[0].upper()}{why[1:]}.",
        hint="The output's scale is far too small for its input's; calibrate with representative data.",
    )
