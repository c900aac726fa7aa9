"""Multiply-accumulate operators: convolutions and fully connected layers.

Under `pow2` a weight is the real number w * 2^-f with f fraction bits per channel, so the accumulator holds the exact
real sum and the result's type does the requantization: it rounds half to even and saturates. Under `fixed` the layer
stays integer, its result is the whole accumulator, and a batch normalization multiplies by M * 2^-shift.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ....compiler.errors import UnsupportedError
from ....compiler.integer import graph as ir
from . import layout
from .lowering import Ints, Lowering, Real, Value, refuse
from .types import Fixed, holding

_EXACT_LIMIT = 2**52  # weights and biases travel as float64
_MAX_SPREAD_BITS = 24  # between the scales of a layer's channels


@dataclass(frozen=True, eq=False)
class Weights:
    """Integer weights [out, ...] and biases in common units, their types, and the exact accumulator's."""

    weight: Real
    bias: Real
    types: dict[str, Fixed]


def weights_of(low: Lowering, op: ir.Linear, x: Value, weight: Ints) -> Weights:
    """`weight`: [out, ...] integers in the operator's own units, zeros inserted where a group was expanded."""
    if op.requant.scheme == "pow2":
        per_channel = op.requant.shift.astype(np.int64) + low.fraction(op.output) - x.type.fraction
    else:
        per_channel = np.zeros(1, np.int64)
    fraction = int(per_channel.max())
    spread = fraction - int(per_channel.min())
    if spread > _MAX_SPREAD_BITS:
        raise _spread(op, f"The weight scales of the channels differ by 2^{spread}.")
    left = np.broadcast_to(fraction - per_channel, (len(weight),))
    units = weight << left.reshape(-1, *[1] * (weight.ndim - 1))
    bias = op.bias.astype(np.int64) << left
    sums = np.abs(units).reshape(len(units), -1).sum(axis=1)
    bound = int((sums * x.type.max_abs + np.abs(bias)).max())
    grid = fraction + x.type.fraction
    types = {
        "weight": holding(int(np.abs(units).max()), fraction),
        "bias": holding(int(np.abs(bias).max()), grid),
        "accum": holding(bound, grid),
    }
    if bound >= _EXACT_LIMIT:
        raise _spread(op, f"The accumulator would need {holding(bound, 0).width} bits.")
    return Weights(np.ldexp(units.astype(np.float64), -fraction), np.ldexp(bias.astype(np.float64), -grid), types)


def _spread(op: ir.Op, what: str) -> UnsupportedError:
    return refuse(op, "scale-spread", what, "Quantize this layer per tensor, or equalise its channels first.")


def _finish(low: Lowering, op: ir.Linear, emit: Callable[[str, Fixed], Value], weights: Weights) -> Value:
    """Emits the layer with the result type that its scheme asks for, and what must follow it."""
    result = low.result_type(op)
    if op.requant.scheme == "pow2":
        return low.clipped(op, emit(op.output, result))
    acc = emit(f"{op.output}_acc", weights.types["accum"])
    multiplier, shift = (array.astype(np.int64) for array in (op.requant.multiplier, op.requant.shift))
    return low.clipped(op, low.scaled(f"{op.output}_scale", acc, multiplier, shift, result))


def lower_gemm(low: Lowering, op: ir.QGemm) -> Value:
    """[..., in] -> [..., out]; the weights follow the physical order of the elements of a vector."""
    x = low.values[op.inputs[0]]
    out, size = op.weight.shape
    if len(low.graph.tensors[op.inputs[0]].shape) > 1:
        return _rows(low, op, x)
    x = low.reshaped(x, (size,), "flat")
    weights = weights_of(low, op, x, op.weight.astype(np.int64)[:, x.order])

    def emit(name: str, result: Fixed) -> Value:
        return low.emit(
            "Dense",
            f"{name}_dense",
            (x,),
            result,
            (out,),
            np.arange(out),
            types=weights.types,
            arrays={"weight_data": weights.weight.T, "bias_data": weights.bias},
            products=(size, out, 1),
            attributes={"n_in": size, "n_out": out, "data_format": "channels_last"},
        )

    return _finish(low, op, emit, weights)


def _rows(low: Lowering, op: ir.QGemm, x: Value) -> Value:
    """A fully connected layer on the rows of a matrix: a 1x1 convolution on an image of height 1."""
    shape = low.graph.tensors[op.output].shape
    if not layout.is_identity(x.order):
        raise refuse(
            op, "layout", "The rows of a matrix product do not arrive in order.", "Flatten the tensor before the layer."
        )
    rows = low.reshaped(x, (1, int(np.prod(shape[:-1])), op.weight.shape[1]), "rows")
    weights = weights_of(low, op, rows, op.weight.astype(np.int64))

    def emit(name: str, result: Fixed) -> Value:
        kernel = weights.weight.T[None, None]
        value = emit_conv(low, f"{name}_rows", rows, ir.Window(kernel=(1, 1)), result, kernel, weights)
        return Value(value.layer, value.shape, np.arange(int(np.prod(shape))), value.type)

    return _finish(low, op, emit, weights)


def image(low: Lowering, op: ir.Op, name: str) -> Value:
    """An input as [height, width, channels]."""
    x, shape = low.values[name], low.graph.tensors[name].shape
    if len(shape) != 3 or not (x.order == layout.channels_last(shape)).all():
        raise refuse(
            op,
            "layout",
            "An image does not arrive with its channels last.",
            "hls4ml streams pixels with all their channels; move the transpose to the model's input.",
        )
    return low.reshaped(x, (shape[1], shape[2], shape[0]), "image")


def emit_conv(
    low: Lowering, name: str, x: Value, window: ir.Window, result: Fixed, kernel: Real, weights: Weights
) -> Value:
    """kernel: [kh, kw, in, out], or [kh, kw, channels] for a depthwise layer."""
    height, width, channels = x.shape
    out = kernel.shape[3] if kernel.ndim == 4 else channels
    out_height, out_width = window.output_size(height, width)
    top, left, bottom, right = window.pads
    arrays = {"weight_data": kernel} if kernel.ndim == 4 else {"depthwise_data": kernel[..., None]}
    return low.emit(
        "Conv2D" if kernel.ndim == 4 else "DepthwiseConv2D",
        f"{name}_conv",
        (x,),
        result,
        (out_height, out_width, out),
        layout.channels_last((out, out_height, out_width)),
        types=weights.types,
        arrays={**arrays, "bias_data": weights.bias},
        products=(channels * kernel.shape[0] * kernel.shape[1], out, out_height * out_width),
        attributes={
            "data_format": "channels_last",
            "in_height": height,
            "in_width": width,
            "n_chan": channels,
            "out_height": out_height,
            "out_width": out_width,
            "n_filt": out,
            "filt_height": kernel.shape[0],
            "filt_width": kernel.shape[1],
            "stride_height": window.strides[0],
            "stride_width": window.strides[1],
            "dilation_height": 1,
            "dilation_width": 1,
            "pad_top": top,
            "pad_left": left,
            "pad_bottom": bottom,
            "pad_right": right,
            "padding": "same" if any(window.pads) else "valid",
            **({} if kernel.ndim == 4 else {"depth_multiplier": 1}),
        },
    )


def _dilated(weight: Ints, window: ir.Window) -> Ints:
    """[out, in, kh, kw] with the holes of a dilation written out as zeros."""
    down, right = window.dilations
    if (down, right) == (1, 1):
        return weight
    out, channels, height, width = weight.shape
    full = np.zeros((out, channels, (height - 1) * down + 1, (width - 1) * right + 1), weight.dtype)
    full[:, :, ::down, ::right] = weight
    return full


def expand_groups(weight: Ints, group: int) -> Ints:
    """[out, in / group, kh, kw] -> [out, in, kh, kw] with zeros between the groups."""
    out, per_group = weight.shape[:2]
    full = np.zeros((out, per_group * group, *weight.shape[2:]), weight.dtype)
    rows = out // group
    for g in range(group):
        full[g * rows : (g + 1) * rows, g * per_group : (g + 1) * per_group] = weight[g * rows : (g + 1) * rows]
    return full


def lower_conv(low: Lowering, op: ir.QConv) -> Value:
    """A convolution; groups become a dense kernel with zeros, which is exact."""
    return _convolution(low, op, expand_groups(op.weight.astype(np.int64), op.group), op.window)


def lower_depthwise(low: Lowering, op: ir.QDepthwise) -> Value:
    """A depthwise convolution; hls4ml has none with a channel multiplier, which becomes a dense kernel with zeros."""
    channels = low.graph.tensors[op.inputs[0]].shape[0]
    weight = op.weight.astype(np.int64)
    if len(weight) != channels:
        return _convolution(low, op, expand_groups(weight, channels), op.window)
    x = image(low, op, op.inputs[0])
    weights = weights_of(low, op, x, _dilated(weight, op.window))

    def emit(name: str, result: Fixed) -> Value:
        return emit_conv(low, name, x, op.window, result, weights.weight[:, 0].transpose(1, 2, 0), weights)

    return _finish(low, op, emit, weights)


def _convolution(low: Lowering, op: ir.QConv | ir.QDepthwise, weight: Ints, window: ir.Window) -> Value:
    x = image(low, op, op.inputs[0])
    weights = weights_of(low, op, x, _dilated(weight, window))

    def emit(name: str, result: Fixed) -> Value:
        return emit_conv(low, name, x, window, result, weights.weight.transpose(2, 3, 1, 0), weights)

    return _finish(low, op, emit, weights)
