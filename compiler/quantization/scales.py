"""From ranges to integer types, and from float weights to int8 weights whose accumulators provably fit into int32."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..integer.graph import QType
from ..integer.ops import INT32_MAX, accumulator_bounds
from ..target import Formats
from .rounding import Fit

MAX_BIAS = 1 << 30
POW2_SPREAD = 8  # shifts between the coarsest and the finest channel of one layer, scheme `pow2`
MIN_ACTIVATION_SCALE = 2.0**-40
MIN_PRODUCT = 2.0**-100  # of s_x * s_w: keeps s_x * s_w / s_y a normal float32
CLIPPED_SHARES = tuple(1 - 0.05 * step for step in range(1, 13))  # of the widest range of weights
_MARGIN = 1 + 2.0**-16  # covers the float32 rounding of scales

Array = npt.NDArray[Any]


def check_formats(formats: Formats) -> None:
    """Raises UsageError for bit widths that the integer contract does not know."""
    widths = {name: getattr(formats, name) for name in ("weight_bits", "activation_bits", "border_bits")}
    for name, bits in widths.items():
        if not 2 <= bits <= 8 and not (name == "border_bits" and bits == 0):
            raise UsageError(
                f"{name} = {bits} is not supported.", code="bits-unsupported", hint="Give a width between 2 and 8 bits."
            )


def next_pow2(value: float) -> float:
    """The smallest power of two that is not below `value` > 0."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(1.0, exponent - 1 if mantissa == 0.5 else exponent)


def activation_type(low: float, high: float, formats: Formats, nonnegative: bool) -> QType:
    """The type that covers [low, high] and zero.

    `nonnegative`: whether the tensor can hold no value below zero, whatever the data (after a Relu, for example).
    A range of nothing but zero becomes [0, 1].
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        high = 1.0
    bits = formats.activation_bits
    symmetric = formats.scheme == "pow2" or formats.zero_point == "zero"
    unsigned = (nonnegative and formats.unsigned_after_relu) or (formats.activation == "u8" and not symmetric)
    bare = QType("u8" if unsigned else "s8", 1.0, 0, bits)
    if symmetric:
        scale = max(high / bare.qmax, low / bare.qmin if bare.qmin else 0.0, MIN_ACTIVATION_SCALE)
        return replace(bare, scale=next_pow2(scale) if formats.scheme == "pow2" else float(np.float32(scale)))
    scale = float(np.float32(max((high - low) / (bare.qmax - bare.qmin), MIN_ACTIVATION_SCALE)))
    zero_point = min(max(round(bare.qmin - low / scale), bare.qmin), bare.qmax)
    return replace(bare, scale=scale, zero_point=zero_point)


@dataclass(frozen=True, eq=False)
class QuantizedWeights:
    """`weight` has the float weight's shape; `scale` one entry, or one per output channel; `bias` one per channel.

    `raised` counts the channels whose scale was raised above what their weights need.
    """

    weight: npt.NDArray[np.int8]
    scale: npt.NDArray[np.float32]
    bias: npt.NDArray[np.int32] | None
    bias_scale: npt.NDArray[np.float32]
    raised: int

    def real(self, axis: int) -> npt.NDArray[np.float64]:
        """The numbers that the integer weights stand for; output channels along `axis`."""
        shape = [1] * self.weight.ndim
        shape[axis] = -1
        return self.weight * self.scale.astype(np.float64).reshape(shape)


def quantize_weights(
    weight: Array, axis: int, bias: Array | None, x: QType, formats: Formats, fit: Fit | None = None
) -> QuantizedWeights:
    """Symmetric integer weights and their int32 bias for an input of type `x`.

    weight: float, output channels along `axis`; bias: float, one entry per output channel. The scale is that of
    `_usual_scales`, raised where the bias or the accumulator would leave int32. Weights are rounded to the nearest, or
    as `fit` says, which then also gives the bias where there is one.
    """
    rows = np.moveaxis(np.asarray(weight, np.float64), axis, 0)
    shape, rows = rows.shape, rows.reshape(rows.shape[0], -1)
    offset = np.zeros(len(rows)) if bias is None else np.broadcast_to(np.asarray(bias, np.float64).ravel(), len(rows))
    qmax = (1 << (formats.weight_bits - 1)) - 1
    wanted = _usual_scales(rows, qmax, formats, fit)
    scale = _on_grid(np.maximum(wanted, _smallest_scales(offset, x)), formats)
    while True:
        integers = _round(rows / scale[:, None], qmax, fit)
        if fit is not None and bias is not None:
            offset = fit.bias(integers * scale[:, None], offset)
        integer_bias = _integer_bias(offset, scale, x)
        over = (accumulator_bounds(integers, integer_bias, x) > INT32_MAX) | (np.abs(integer_bias) > MAX_BIAS)
        if not over.any():
            break
        scale = _on_grid(np.where(over, 2 * scale, scale), formats)
    kept = scale if formats.per_channel else scale[:1]
    return QuantizedWeights(
        weight=np.moveaxis(integers.reshape(shape), 0, axis).astype(np.int8),
        scale=kept.astype(np.float32),
        bias=None if bias is None else integer_bias.astype(np.int32),
        bias_scale=np.float32(x.scale) * kept.astype(np.float32),
        raised=int((scale > _on_grid(wanted, formats)).sum()),
    )


def _round(steps: Array, qmax: int, fit: Fit | None) -> npt.NDArray[np.int64]:
    if fit is None:
        return np.clip(np.rint(steps), -qmax, qmax).astype(np.int64)
    return fit.rounding(fit.grouped(steps), qmax, fit.hessian).reshape(steps.shape)


def _integer_bias(bias: Array, scale: Array, x: QType) -> npt.NDArray[np.int64]:
    """Biases in steps of the float32 product s_x * s_w."""
    product = (np.float32(x.scale) * scale.astype(np.float32)).astype(np.float64)
    return np.clip(np.rint(bias / product), -(2.0**40), 2.0**40).astype(np.int64)


def _usual_scales(rows: Array, qmax: int, formats: Formats, fit: Fit | None) -> npt.NDArray[np.float64]:
    """max|w| / qmax per channel, or less where clipping the largest weights makes the error smaller.

    The error is that of the outputs where `fit` tells it, otherwise that of the weights. 8-bit weights that are rounded
    to the nearest are never clipped. Channels of zeros take the median scale of the others (1 where all are zero).
    """
    widest = np.abs(rows).max(axis=1, initial=0.0) / qmax
    alive = np.sort(widest[widest > 0])
    widest[widest == 0] = alive[len(alive) // 2] if len(alive) else 1.0
    best = _on_grid(widest, formats)
    if fit is None and formats.weight_bits >= 8:
        return best
    least = _rounding_error(rows, best, qmax, formats, fit)
    for share in CLIPPED_SHARES:
        scale = _on_grid(widest * share, formats)
        error = _rounding_error(rows, scale, qmax, formats, fit)
        best, least = np.where(error < least, scale, best), np.minimum(error, least)
    return best


def _rounding_error(rows: Array, scale: Array, qmax: int, formats: Formats, fit: Fit | None) -> npt.NDArray[np.float64]:
    """The squared error of rounding to the nearest at a scale, per channel; with one scale for all, their sum."""
    difference = np.clip(np.rint(rows / scale[:, None]), -qmax, qmax) * scale[:, None] - rows
    error = np.square(difference).sum(axis=1) if fit is None else fit.error(difference)
    return error if formats.per_channel else np.full_like(error, error.sum())


def _smallest_scales(bias: Array, x: QType) -> npt.NDArray[np.float64]:
    """The smallest weight scales at which the bias fits into +-2^30 and s_x * s_w stays a normal number."""
    smallest: npt.NDArray[np.float64] = np.maximum(np.abs(bias) * _MARGIN / MAX_BIAS, MIN_PRODUCT) / x.scale
    return smallest


def _on_grid(scales: Array, formats: Formats) -> npt.NDArray[np.float64]:
    """The scales that the device can have, none below those given."""
    if not formats.per_channel:
        scales = np.full_like(scales, scales.max(initial=0.0))
    if formats.scheme == "pow2":
        scales = np.array([next_pow2(scale) for scale in scales.tolist()])
        scales = np.maximum(scales, scales.max(initial=0.0) * 2.0**-POW2_SPREAD)
    return scales.astype(np.float32).astype(np.float64)
