"""What each operator of the integer graph computes, in numpy. This file *defines* the results; every backend equals it.

Arrays carry the batch as dimension 0. All integer arithmetic is exact: sums of products run as float32 or float64
matrix products only where the operator's bound proves that every partial sum is an exactly representable integer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..errors import UnsupportedError
from . import graph as ir

if TYPE_CHECKING:
    Array = npt.NDArray[Any]

INT32_MAX = 2**31 - 1
_CLAMP = np.float32(2**15)


# -- requantization -----------------------------------------------------------------------------------------------


def _round_f32(value: Array) -> Array:
    """Round half to even after clamping to +-2^15, so that conversion to int never leaves the range."""
    rounded: Array = np.rint(np.clip(value, -_CLAMP, _CLAMP)).astype(np.int64)
    return rounded


def round_shift(value: Array, shift: Array) -> Array:
    """value * 2^-shift in int64 with one rounding, half to even; a negative shift is a left shift."""
    shift = shift.astype(np.int64)
    right = np.maximum(shift, 0)
    floor = value >> right
    remainder = value - (floor << right)
    half = np.where(right > 0, np.int64(1) << np.maximum(right - 1, 0), 0)
    up = (remainder > half) | ((remainder == half) & (floor & 1 == 1))
    rounded = floor + ((right > 0) & up)
    return np.where(shift < 0, value << np.maximum(-shift, 0), rounded)


def multiply(acc: Array, requant: ir.Requant, entry: Any = slice(None), axis: int | None = None) -> Array:
    """round_half_even(acc * m) as int64. `entry` selects among the multipliers; `axis` lays them along a dimension."""
    multiplier, shift = requant.multiplier[entry], requant.shift[entry]
    if axis is not None and requant.size > 1:
        shape = [1] * acc.ndim
        shape[axis] = -1
        multiplier, shift = multiplier.reshape(shape), shift.reshape(shape)
    if requant.scheme == "f32":
        return _round_f32(acc.astype(np.float32) * multiplier.astype(np.float32))
    return round_shift(acc.astype(np.int64) * multiplier.astype(np.int64), np.asarray(shift))


def saturate(value: Array, zero_point: int, qmin: int, qmax: int, dtype: ir.IntType) -> Array:
    """Adds the zero point as an integer, after rounding, and clips."""
    clipped: Array = np.clip(value + zero_point, qmin, qmax).astype(ir.NUMPY_TYPE[dtype])
    return clipped


def _finish(graph: ir.Graph, op: ir.Fused, value: Array) -> Array:
    out = graph.quant(op.output)
    return saturate(value, out.zero_point, op.qmin, op.qmax, out.dtype)


def _centred(graph: ir.Graph, name: str, x: Array) -> Array:
    return x.astype(np.int64) - graph.quant(name).zero_point


# -- multiply-accumulate ------------------------------------------------------------------------------------------


def accumulator_bounds(weight: Array, bias: Array, x: ir.QType) -> npt.NDArray[np.int64]:
    """The largest |accumulator| over all inputs, per output channel, in the centred and in the zero-point-folded form.

    weight: integers, output channels first; bias: one per channel.
    Centred: |b| + sum|w| * max|x - z|. Folded (what kernels may compute): |b - z * sum w| + sum|w| * max|x|.
    """
    rows = weight.reshape(weight.shape[0], -1).astype(np.int64)
    offset = bias.astype(np.int64)
    magnitude = np.abs(rows).sum(axis=1)
    centred = np.abs(offset) + magnitude * x.max_abs
    raw = np.abs(offset - x.zero_point * rows.sum(axis=1)) + magnitude * max(abs(x.qmin), abs(x.qmax))
    bounds: npt.NDArray[np.int64] = np.maximum(centred, raw)
    return bounds


def accumulator_bound(op: ir.Linear, x: ir.QType) -> int:
    """The largest of `accumulator_bounds` over the channels of one operator."""
    return int(accumulator_bounds(op.weight, op.bias, x).max())


def _matmul_type(op: ir.Linear, x: ir.QType) -> type[np.floating[Any]]:
    """The fastest float type in which every partial sum of the operator is an exact integer."""
    weight = np.abs(op.weight.reshape(op.weight.shape[0], -1).astype(np.int64)).sum(axis=1)
    return np.float32 if int(weight.max(initial=0)) * x.max_abs < 2**24 else np.float64


def windows(x: Array, window: ir.Window, fill: int) -> Array:
    """[n, c, h, w] -> [n, c, out_h, out_w, kh, kw], a view of the padded input."""
    top, left, bottom, right = window.pads
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=fill)
    (kh, kw), (dh, dw), (sh, sw) = window.kernel, window.dilations, window.strides
    view = np.lib.stride_tricks.sliding_window_view(padded, ((kh - 1) * dh + 1, (kw - 1) * dw + 1), axis=(2, 3))
    return view[:, :, ::sh, ::sw, ::dh, ::dw]


def conv_accumulate(op: ir.QConv, x: ir.QType, data: Array) -> Array:
    """Accumulators [n, out, oh, ow] of a (grouped) convolution."""
    dtype = _matmul_type(op, x)
    view = windows((data.astype(np.int32) - x.zero_point).astype(dtype), op.window, 0)
    n, _, oh, ow = view.shape[:4]
    out_per_group = op.weight.shape[0] // op.group
    in_per_group = op.weight.shape[1]
    acc = np.empty((n, op.weight.shape[0], oh, ow), np.int64)
    for g in range(op.group):
        part = view[:, g * in_per_group : (g + 1) * in_per_group]
        columns = part.transpose(0, 2, 3, 1, 4, 5).reshape(n * oh * ow, -1)
        rows = slice(g * out_per_group, (g + 1) * out_per_group)
        weight = op.weight[rows].reshape(out_per_group, -1).astype(dtype)
        acc[:, rows] = (columns @ weight.T).reshape(n, oh, ow, out_per_group).transpose(0, 3, 1, 2)
    return acc + op.bias.astype(np.int64)[:, None, None]


def depthwise_accumulate(op: ir.QDepthwise, x: ir.QType, data: Array) -> Array:
    """Accumulators [n, channels * multiplier, oh, ow] of a depthwise convolution."""
    dtype = _matmul_type(op, x)
    view = windows((data.astype(np.int32) - x.zero_point).astype(dtype), op.window, 0)
    multiplier = op.weight.shape[0] // data.shape[1]
    weight = op.weight[:, 0].astype(dtype)
    n, _, oh, ow = view.shape[:4]
    acc = np.zeros((n, op.weight.shape[0], oh, ow), dtype)
    for i in range(op.window.kernel[0]):
        for j in range(op.window.kernel[1]):
            acc += np.repeat(view[..., i, j], multiplier, axis=1) * weight[:, i, j][:, None, None]
    return acc.astype(np.int64) + op.bias.astype(np.int64)[:, None, None]


def _conv(graph: ir.Graph, op: ir.QConv, x: Array) -> Array:
    return _finish(graph, op, multiply(conv_accumulate(op, graph.quant(op.inputs[0]), x), op.requant, axis=1))


def _depthwise(graph: ir.Graph, op: ir.QDepthwise, x: Array) -> Array:
    return _finish(graph, op, multiply(depthwise_accumulate(op, graph.quant(op.inputs[0]), x), op.requant, axis=1))


def _gemm(graph: ir.Graph, op: ir.QGemm, x: Array) -> Array:
    quant = graph.quant(op.inputs[0])
    dtype = _matmul_type(op, quant)
    acc = (x.astype(np.int32) - quant.zero_point).astype(dtype) @ op.weight.T.astype(dtype)
    return _finish(graph, op, multiply(acc.astype(np.int64) + op.bias.astype(np.int64), op.requant, axis=acc.ndim - 1))


# -- elementwise --------------------------------------------------------------------------------------------------


def _add(graph: ir.Graph, op: ir.QAdd, a: Array, b: Array) -> Array:
    left, right = (_centred(graph, name, x) for name, x in zip(op.inputs, (a, b), strict=True))
    requant = op.requant
    if requant.scheme == "f32":
        m = requant.multiplier.astype(np.float32)
        return _finish(graph, op, _round_f32(left.astype(np.float32) * m[0] + right.astype(np.float32) * m[1]))
    # fixed has one common shift; for pow2 the operand with the smaller shift moves left until both agree
    common = int(requant.shift.max())
    scaled = [x * (int(requant.multiplier[i]) << (common - int(requant.shift[i]))) for i, x in enumerate((left, right))]
    return _finish(graph, op, round_shift(scaled[0] + scaled[1], np.asarray(common)))


def _mul(graph: ir.Graph, op: ir.QMul, a: Array, b: Array) -> Array:
    acc = _centred(graph, op.inputs[0], a) * _centred(graph, op.inputs[1], b)
    return _finish(graph, op, multiply(acc, op.requant, 0))


def _requant(graph: ir.Graph, op: ir.QRequant, x: Array) -> Array:
    return _finish(graph, op, multiply(_centred(graph, op.inputs[0], x), op.requant, 0))


def _concat(graph: ir.Graph, op: ir.QConcat, *xs: Array) -> Array:
    out = graph.quant(op.output)
    parts = []
    for i, (name, x) in enumerate(zip(op.inputs, xs, strict=True)):
        same = graph.quant(name) == out
        value = x.astype(np.int64) if same else multiply(_centred(graph, name, x), op.requant, i) + out.zero_point
        parts.append(np.clip(value, op.qmin, op.qmax).astype(ir.NUMPY_TYPE[out.dtype]))
    return np.concatenate(parts, axis=op.axis + 1)


def _lut(graph: ir.Graph, op: ir.QLut, x: Array) -> Array:
    offset = 0 if graph.quant(op.inputs[0]).dtype == "u8" else 128
    return op.table.astype(ir.NUMPY_TYPE[graph.quant(op.output).dtype])[x.astype(np.int64) + offset]


def _softmax(graph: ir.Graph, op: ir.QSoftmax, x: Array) -> Array:
    axis = op.axis + 1 if op.axis >= 0 else op.axis
    q = x.astype(np.int64)
    table = op.table.astype(np.uint64)[q.max(axis=axis, keepdims=True) - q]
    total = table.sum(axis=axis, keepdims=True, dtype=np.uint64)
    value = (np.uint64(2 * op.reciprocal) * table + total) // (np.uint64(2) * total)
    out = graph.quant(op.output)
    return saturate(value.astype(np.int64), out.zero_point, out.qmin, out.qmax, out.dtype)


# -- pooling and data movement ------------------------------------------------------------------------------------


def _maxpool(graph: ir.Graph, op: ir.QMaxPool, x: Array) -> Array:
    largest: Array = windows(x, op.window, graph.quant(op.inputs[0]).qmin).max(axis=(4, 5))
    return largest


def _avgpool(graph: ir.Graph, op: ir.QAvgPool, x: Array) -> Array:
    acc = windows(_centred(graph, op.inputs[0], x), op.window, 0).sum(axis=(4, 5))
    return _finish(graph, op, multiply(acc, op.requant, op.count_index))


def _reshape(graph: ir.Graph, op: ir.QReshape, x: Array) -> Array:
    return x.reshape(x.shape[0], *graph.tensors[op.output].shape)


def _transpose(graph: ir.Graph, op: ir.QTranspose, x: Array) -> Array:
    return np.ascontiguousarray(x.transpose(0, *(axis + 1 for axis in op.perm)))


def _slice(graph: ir.Graph, op: ir.QSlice, x: Array) -> Array:
    cuts = (slice(a, b, s) for a, b, s in zip(op.starts, op.stops, op.steps, strict=True))
    return x[(slice(None), *cuts)]


def _pad(graph: ir.Graph, op: ir.QPad, x: Array) -> Array:
    return np.pad(x, ((0, 0), *zip(op.before, op.after, strict=True)), constant_values=op.value)


def _resize(graph: ir.Graph, op: ir.QResize, x: Array) -> Array:
    return x[:, :, op.rows][..., op.columns]


# -- the borders of the integer part ------------------------------------------------------------------------------


def _quantize(graph: ir.Graph, op: ir.Quantize, x: Array) -> Array:
    out = graph.quant(op.output)
    scaled = np.rint(x.astype(np.float32) / np.float32(op.scale))
    # beyond +-2^24 every value saturates; clamping first keeps the conversion to int defined
    value = np.clip(scaled, -(2.0**24), 2.0**24).astype(np.int64)
    return saturate(value, op.zero_point, out.qmin, out.qmax, out.dtype)


def _dequantize(graph: ir.Graph, op: ir.Dequantize, x: Array) -> Array:
    quant = graph.quant(op.inputs[0])
    return (x.astype(np.int32) - quant.zero_point).astype(np.float32) * np.float32(quant.scale)


EVALUATE: Mapping[type[ir.Op], Callable[..., Array]] = {
    ir.QConv: _conv,
    ir.QDepthwise: _depthwise,
    ir.QGemm: _gemm,
    ir.QAdd: _add,
    ir.QMul: _mul,
    ir.QConcat: _concat,
    ir.QMaxPool: _maxpool,
    ir.QAvgPool: _avgpool,
    ir.QRequant: _requant,
    ir.QLut: _lut,
    ir.QSoftmax: _softmax,
    ir.QReshape: _reshape,
    ir.QTranspose: _transpose,
    ir.QSlice: _slice,
    ir.QPad: _pad,
    ir.QResize: _resize,
    ir.Quantize: _quantize,
    ir.Dequantize: _dequantize,
}


def evaluate(graph: ir.Graph, op: ir.Op, inputs: tuple[Array, ...]) -> tuple[Array, ...]:
    """The outputs of one operator. Float islands run in onnxruntime (they are outside the bit-exact contract)."""
    if isinstance(op, ir.Island):
        from .island import run_island

        return run_island(op, inputs)
    function = EVALUATE.get(type(op))
    if function is None:
        raise UnsupportedError(
            f"The integer reference does not know the operator '{op.kind}'.", code="unknown-op", where=op.name
        )
    return (function(graph, op, *inputs),)


def run(graph: ir.Graph, feeds: Mapping[str, Array], keep: bool = False) -> dict[str, Array]:
    """Evaluates the whole graph on a batch.

    feeds: one array per graph input, [n, *shape]. Returns the graph's outputs by name, or with `keep` every tensor.
    """
    values: dict[str, Array] = {name: np.asarray(feeds[name]) for name in graph.inputs}
    last_use = {name: op for op in graph.ops for name in op.inputs}
    for op in graph.ops:
        results = evaluate(graph, op, tuple(values[name] for name in op.inputs))
        values.update(zip(op.outputs, results, strict=True))
        if not keep:
            for name in set(op.inputs) - set(graph.outputs):
                if last_use[name] is op:
                    values.pop(name, None)
    return values if keep else {name: values[name] for name in graph.outputs}
