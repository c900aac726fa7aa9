"""Max and average pooling.

hls4ml's average is a truncated division inside a fixed-point type; the integer contract multiplies the sum by M * 2^-s
and rounds half to even. Which form equals it is not argued but tried on every sum that can occur:

1. the quotient with enough fraction bits, rounded by the result's type;
2. the quotient with many fraction bits, multiplied by count * M * 2^-s in a batch normalization;
3. a depthwise convolution with ones, then the multiplication by M * 2^-s: always exact, but it needs a line buffer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....compiler.integer import graph as ir
from ....compiler.integer.ops import round_shift
from . import layout
from .linear import Weights, emit_conv, image
from .lowering import Ints, Lowering, Value, refuse
from .types import Fixed, holding

_MANY_BITS = 20  # at most, for the quotient in form 2; 20 + 16 bits of M + 27 bits of sums fit an int64
_MAX_SUMS = 1 << 24  # that are tried


@dataclass(frozen=True)
class Average:
    """How a sum over `count` elements is scaled: fraction bits of the quotient, and whether a product follows."""

    extra_bits: int
    product: bool


def rounded(raw: Ints, fraction: int) -> Ints:
    """Integers in units of 2^-fraction, rounded half to even to integers."""
    result: Ints = round_shift(raw, np.asarray(fraction))
    return result


def quotient(sums: Ints, count: int, extra_bits: int) -> Ints:
    """hls4ml's division: truncated towards zero, in units of 2^-extra_bits."""
    raw = np.abs(sums) << extra_bits
    result: Ints = np.sign(sums) * (raw // count)
    return result


def plan_average(
    count: int, x: Fixed, grid_shift: int, multiplier: int, shift: int, qmin: int, qmax: int
) -> Average | None:
    """The cheapest form of the division that is exact for every sum, or None where only form 3 is.

    grid_shift: log2 of the input's grid over the output's, so that the real mean in the output's units is
    sum / count * 2^-grid_shift. multiplier, shift: the contract's M and s.
    """
    if count * (x.highest - x.lowest) > _MAX_SUMS or multiplier.bit_length() > 18:
        return None
    sums = np.arange(count * x.lowest, count * x.highest + 1, dtype=np.int64)
    wanted = np.clip(rounded(sums * multiplier, shift), qmin, qmax)
    extra = int(2 * count - 1).bit_length()
    if np.array_equal(np.clip(rounded(quotient(sums, count, extra), extra + grid_shift), qmin, qmax), wanted):
        return Average(extra, product=False)
    for bits in range(extra, _MANY_BITS + 1):
        product = quotient(sums, count, bits) * (multiplier * count)
        if np.array_equal(np.clip(rounded(product, bits + shift), qmin, qmax), wanted):
            return Average(bits, product=True)
    return None


def _tiles(window: ir.Window, x: Value) -> bool:
    """Whether windows neither overlap nor leave gaps nor reach over the border: all that hls4ml's streams can pool.
    A window as large as the image does so with any stride."""
    sides = zip(window.kernel, window.strides, x.shape[:2], strict=True)
    steps = all(stride == kernel or kernel == size for kernel, stride, size in sides)
    return steps and not any(window.pads) and window.dilations == (1, 1)


def _emit_pool(low: Lowering, kind: str, layer: str, x: Value, window: ir.Window, result: Fixed, accum: Fixed) -> Value:
    height, width, channels = x.shape
    kernel_height, kernel_width = window.kernel
    sizes = {"in_height": height, "in_width": width, "n_filt": channels, "data_format": "channels_last"}
    types = {"accum": accum}
    if (kernel_height, kernel_width) == (height, width):
        name, order = f"Global{kind}Pooling2D", np.arange(channels)
        return low.emit(name, layer, (x,), result, (channels,), order, types=types, attributes=sizes)
    out_height, out_width = window.output_size(height, width)
    sizes |= {
        "out_height": out_height,
        "out_width": out_width,
        "pool_height": kernel_height,
        "pool_width": kernel_width,
        "stride_height": kernel_height,
        "stride_width": kernel_width,
        **dict.fromkeys(("pad_top", "pad_bottom", "pad_left", "pad_right"), 0),
        "padding": "valid",
        "count_pad": False,
    }
    order = layout.channels_last((channels, out_height, out_width))
    shape = (out_height, out_width, channels)
    return low.emit(f"{kind}Pooling2D", layer, (x,), result, shape, order, types=types, attributes=sizes)


def lower_maxpool(low: Lowering, op: ir.QMaxPool) -> Value:
    """Windows must tile the image: hls4ml's streaming pooling asserts it."""
    x = image(low, op, op.inputs[0])
    if not _tiles(op.window, x):
        raise refuse(
            op,
            "pool-window",
            "hls4ml's streaming pooling takes windows that neither overlap nor need padding.",
            "Use a stride equal to the kernel and no padding, or a strided convolution.",
        )
    plain = Fixed(x.type.width, x.type.fraction, x.type.signed)
    return _emit_pool(low, "Max", f"{op.output}_max", x, op.window, x.type, plain)


def lower_avgpool(low: Lowering, op: ir.QAvgPool) -> Value:
    """An average over windows that all have the same divisor."""
    entries = np.unique(op.count_index)
    if entries.size != 1 or op.requant.scheme == "f32":
        raise refuse(
            op,
            "pool-count",
            "Windows at the border have another divisor.",
            "Let padding count, or pool without padding.",
        )
    x = image(low, op, op.inputs[0])
    count = op.window.kernel[0] * op.window.kernel[1]
    multiplier, shift = int(op.requant.multiplier[entries[0]]), int(op.requant.shift[entries[0]])
    if op.requant.scheme == "pow2":
        multiplier = 1
    result = low.result_type(op)
    grid_shift = x.type.fraction - low.fraction(op.output)
    plan = None
    if _tiles(op.window, x):
        plan = plan_average(count, x.type, grid_shift, multiplier, shift, op.qmin, op.qmax)
    if plan is None:
        return low.clipped(op, _sum_and_scale(low, op, x, multiplier, shift, result))
    accum = holding(count * x.type.max_abs << plan.extra_bits, x.type.fraction + plan.extra_bits)
    if not plan.product:
        return low.clipped(op, _emit_pool(low, "Average", f"{op.output}_mean", x, op.window, result, accum))
    mean = _emit_pool(low, "Average", f"{op.output}_mean", x, op.window, accum, accum)
    factor = np.array([multiplier * count]), np.array([shift - grid_shift])
    return low.clipped(op, low.scaled(f"{op.output}_scale", mean, *factor, result))


def _sum_and_scale(low: Lowering, op: ir.QAvgPool, x: Value, multiplier: int, shift: int, result: Fixed) -> Value:
    """Form 3. The batch normalization works on the output's grid: real = sum * M * 2^-shift * 2^-f_y."""
    kernel_height, kernel_width = op.window.kernel
    channels = x.shape[2]
    accum = holding(kernel_height * kernel_width * x.type.max_abs, x.type.fraction)
    types = {"weight": Fixed(2, 0), "bias": Fixed(2, 0), "accum": accum}
    weights = Weights(np.ones((channels, 1, kernel_height, kernel_width)), np.zeros(channels), types)
    kernel = weights.weight[:, 0].transpose(1, 2, 0)
    total = emit_conv(low, f"{op.output}_sum", x, op.window, accum, kernel, weights)
    grid_shift = x.type.fraction - low.fraction(op.output)
    factor = np.array([multiplier]), np.array([shift - grid_shift])
    return low.scaled(f"{op.output}_scale", total, *factor, result)
