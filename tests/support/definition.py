"""The integer contract once more, as slowly and plainly as it can be said: Python integers, fractions, loops.

Written from the contract's text, sharing no arithmetic with `compiler/integer/ops.py`, so that each can be tested
against the other. float32 appears only as `numpy.float32` scalars, one rounding per operation.

    evaluate(graph, op, inputs) -> output array
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np

from prunus.compiler.integer import graph as ir

Index = tuple[int, ...]
Array = np.ndarray


def requantize(acc: int, requant: ir.Requant, entry: int) -> int:
    """round_half_even(acc * m); Python's round() of a Fraction is exact and goes half to even."""
    if requant.scheme == "f32":
        scaled = np.float32(acc) * np.float32(requant.multiplier[entry])
        return round_clamped(scaled, 2**15)
    return round(Fraction(acc) * int(requant.multiplier[entry]) * Fraction(2) ** -int(requant.shift[entry]))


def round_clamped(value: np.float32, limit: int) -> int:
    """Half to even; infinities and everything beyond the limit give the limit."""
    if value >= limit:
        return limit
    return -limit if value <= -limit else round(Fraction(float(value)))


def clip(value: int, low: int, high: int) -> int:
    return max(low, min(high, value))


def finish(graph: ir.Graph, op: ir.Fused, rounded: int) -> int:
    return clip(rounded + graph.quant(op.output).zero_point, op.qmin, op.qmax)


def filled(graph: ir.Graph, op: ir.Op, shape: Sequence[int], element: Callable[[Index], Any]) -> Array:
    """The output array whose every element is computed on its own."""
    quant = graph.tensors[op.output].quant
    out = np.zeros(shape, np.float32 if quant is None else ir.NUMPY_TYPE[quant.dtype])
    for index in product(*map(range, shape)):
        out[index] = element(index)
    return out


# -- multiply-accumulate ------------------------------------------------------------------------------------------


def window_positions(window: ir.Window, oy: int, ox: int, height: int, width: int) -> list[tuple[Index, Index | None]]:
    """((ky, kx), input position or None in the padding) of every tap of one output."""
    positions = []
    for ky, kx in product(*map(range, window.kernel)):
        iy = oy * window.strides[0] + ky * window.dilations[0] - window.pads[0]
        ix = ox * window.strides[1] + kx * window.dilations[1] - window.pads[1]
        positions.append(((ky, kx), (iy, ix) if 0 <= iy < height and 0 <= ix < width else None))
    return positions


def out_size(window: ir.Window, height: int, width: int) -> tuple[int, int]:
    """The number of window positions that fit, counted one by one."""
    top, left, bottom, right = window.pads
    sizes = []
    for size, kernel, stride, dilation in (
        (height + top + bottom, window.kernel[0], window.strides[0], window.dilations[0]),
        (width + left + right, window.kernel[1], window.strides[1], window.dilations[1]),
    ):
        sizes.append(sum(1 for first in range(0, size, stride) if first + (kernel - 1) * dilation < size))
    return sizes[0], sizes[1]


def convolution(graph: ir.Graph, op: ir.QConv | ir.QDepthwise, x: Array, group: int) -> Array:
    data, weight, zero = x.tolist(), op.weight.tolist(), graph.quant(op.inputs[0]).zero_point
    n, channels, height, width = x.shape
    outputs, per_group = len(weight), channels // group

    def element(index: Index) -> int:
        i, o, oy, ox = index
        first = o // (outputs // group) * per_group
        acc = int(op.bias[o])
        for (ky, kx), position in window_positions(op.window, oy, ox, height, width):
            if position is not None:
                for c in range(per_group):
                    acc += (data[i][first + c][position[0]][position[1]] - zero) * weight[o][c][ky][kx]
        return finish(graph, op, requantize(acc, op.requant, 0 if op.requant.size == 1 else o))

    return filled(graph, op, (n, outputs, *out_size(op.window, height, width)), element)


def conv(graph: ir.Graph, op: ir.QConv, x: Array) -> Array:
    return convolution(graph, op, x, op.group)


def depthwise(graph: ir.Graph, op: ir.QDepthwise, x: Array) -> Array:
    return convolution(graph, op, x, x.shape[1])


def gemm(graph: ir.Graph, op: ir.QGemm, x: Array) -> Array:
    weight, zero = op.weight.tolist(), graph.quant(op.inputs[0]).zero_point

    def element(index: Index) -> int:
        row, o = x[index[:-1]].tolist(), index[-1]
        acc = int(op.bias[o]) + sum((q - zero) * w for q, w in zip(row, weight[o], strict=True))
        return finish(graph, op, requantize(acc, op.requant, 0 if op.requant.size == 1 else o))

    return filled(graph, op, (*x.shape[:-1], len(weight)), element)


# -- elementwise --------------------------------------------------------------------------------------------------


def pairs(graph: ir.Graph, op: ir.Fused, a: Array, b: Array) -> tuple[Index, Callable[[Index], tuple[int, int]]]:
    """The broadcast shape and the centred operands at an index of it."""
    rank = max(a.ndim, b.ndim)
    arrays = [array.reshape((1,) * (rank - array.ndim) + array.shape) for array in (a, b)]
    zeros = [graph.quant(name).zero_point for name in op.inputs]

    def operands(index: Index) -> tuple[int, int]:
        left, right = (
            int(array[tuple(0 if size == 1 else i for i, size in zip(index, array.shape, strict=True))]) - zero
            for array, zero in zip(arrays, zeros, strict=True)
        )
        return left, right

    return tuple(max(sizes) for sizes in zip(*(array.shape for array in arrays), strict=True)), operands


def add(graph: ir.Graph, op: ir.QAdd, a: Array, b: Array) -> Array:
    shape, operands = pairs(graph, op, a, b)
    m = op.requant

    def element(index: Index) -> int:
        left, right = operands(index)
        if m.scheme == "f32":
            products = np.float32(left) * np.float32(m.multiplier[0]), np.float32(right) * np.float32(m.multiplier[1])
            return finish(graph, op, round_clamped(products[0] + products[1], 2**15))
        terms = (
            value * int(m.multiplier[i]) * Fraction(2) ** -int(m.shift[i]) for i, value in enumerate((left, right))
        )
        return finish(graph, op, round(sum(terms, Fraction(0))))

    return filled(graph, op, shape, element)


def mul(graph: ir.Graph, op: ir.QMul, a: Array, b: Array) -> Array:
    shape, operands = pairs(graph, op, a, b)

    def element(index: Index) -> int:
        left, right = operands(index)
        return finish(graph, op, requantize(left * right, op.requant, 0))

    return filled(graph, op, shape, element)


def change(graph: ir.Graph, op: ir.QRequant, x: Array) -> Array:
    zero = graph.quant(op.inputs[0]).zero_point
    return filled(graph, op, x.shape, lambda i: finish(graph, op, requantize(int(x[i]) - zero, op.requant, 0)))


def concat(graph: ir.Graph, op: ir.QConcat, *xs: Array) -> Array:
    axis, out = op.axis + 1, graph.quant(op.output)
    shape = list(xs[0].shape)
    shape[axis] = sum(x.shape[axis] for x in xs)

    def element(index: Index) -> int:
        part, position = 0, index[axis]
        while position >= xs[part].shape[axis]:
            position -= xs[part].shape[axis]
            part += 1
        q = int(xs[part][(*index[:axis], position, *index[axis + 1 :])])
        quant = graph.quant(op.inputs[part])
        if quant == out:
            return clip(q, op.qmin, op.qmax)
        return finish(graph, op, requantize(q - quant.zero_point, op.requant, part))

    return filled(graph, op, shape, element)


def lut(graph: ir.Graph, op: ir.QLut, x: Array) -> Array:
    offset = {"u8": 0, "s8": 128}[graph.quant(op.inputs[0]).dtype]
    return filled(graph, op, x.shape, lambda i: op.table[int(x[i]) + offset])


def softmax(graph: ir.Graph, op: ir.QSoftmax, x: Array) -> Array:
    axis = op.axis + 1 if op.axis >= 0 else x.ndim + op.axis
    out = graph.quant(op.output)

    @functools.cache
    def exponentials(before: Index, after: Index) -> list[int]:
        line = [int(x[(*before, j, *after)]) for j in range(x.shape[axis])]
        return [int(op.table[max(line) - q]) for q in line]

    def element(index: Index) -> int:
        terms = exponentials(index[:axis], index[axis + 1 :])
        t, s = terms[index[axis]], sum(terms)
        return clip((2 * t * op.reciprocal + s) // (2 * s) + out.zero_point, out.qmin, out.qmax)

    return filled(graph, op, x.shape, element)


# -- pooling and data movement ------------------------------------------------------------------------------------


def maxpool(graph: ir.Graph, op: ir.QMaxPool, x: Array) -> Array:
    lowest = graph.quant(op.inputs[0]).qmin

    def element(index: Index) -> int:
        i, c, oy, ox = index
        taps = window_positions(op.window, oy, ox, *x.shape[2:])
        return max(lowest if position is None else int(x[(i, c, *position)]) for _, position in taps)

    return filled(graph, op, (*x.shape[:2], *out_size(op.window, *x.shape[2:])), element)


def avgpool(graph: ir.Graph, op: ir.QAvgPool, x: Array) -> Array:
    zero = graph.quant(op.inputs[0]).zero_point

    def element(index: Index) -> int:
        i, c, oy, ox = index
        taps = window_positions(op.window, oy, ox, *x.shape[2:])
        acc = sum(int(x[(i, c, *position)]) - zero for _, position in taps if position is not None)
        return finish(graph, op, requantize(acc, op.requant, int(op.count_index[oy, ox])))

    return filled(graph, op, (*x.shape[:2], *out_size(op.window, *x.shape[2:])), element)


def reshape(graph: ir.Graph, op: ir.QReshape, x: Array) -> Array:
    flat = iter(x.ravel().tolist())
    return filled(graph, op, (x.shape[0], *graph.tensors[op.output].shape), lambda _: next(flat))


def transpose(graph: ir.Graph, op: ir.QTranspose, x: Array) -> Array:
    perm = (0, *(axis + 1 for axis in op.perm))
    shape = [x.shape[axis] for axis in perm]
    return filled(graph, op, shape, lambda index: x[tuple(index[perm.index(axis)] for axis in range(x.ndim))])


def cut(graph: ir.Graph, op: ir.QSlice, x: Array) -> Array:
    limits = zip(op.starts, op.stops, op.steps, x.shape[1:], strict=True)
    kept = [range(x.shape[0]), *([i for i in range(a, b, s) if i < size] for a, b, s, size in limits)]
    return filled(
        graph, op, [len(k) for k in kept], lambda index: x[tuple(k[i] for k, i in zip(kept, index, strict=True))]
    )


def pad(graph: ir.Graph, op: ir.QPad, x: Array) -> Array:
    before = (0, *op.before)
    shape = [b + size + a for b, size, a in zip(before, x.shape, (0, *op.after), strict=True)]

    def element(index: Index) -> int:
        at = tuple(i - b for i, b in zip(index, before, strict=True))
        return int(x[at]) if all(0 <= i < size for i, size in zip(at, x.shape, strict=True)) else op.value

    return filled(graph, op, shape, element)


def resize(graph: ir.Graph, op: ir.QResize, x: Array) -> Array:
    shape = (*x.shape[:2], len(op.rows), len(op.columns))
    return filled(graph, op, shape, lambda i: x[i[0], i[1], op.rows[i[2]], op.columns[i[3]]])


# -- the borders --------------------------------------------------------------------------------------------------


def quantize(graph: ir.Graph, op: ir.Quantize, x: Array) -> Array:
    out = graph.quant(op.output)

    def element(index: Index) -> int:
        quotient = np.float32(x[index]) / np.float32(op.scale)
        return clip(round_clamped(quotient, 2**40) + op.zero_point, out.qmin, out.qmax)

    return filled(graph, op, x.shape, element)


def dequantize(graph: ir.Graph, op: ir.Dequantize, x: Array) -> Array:
    quant = graph.quant(op.inputs[0])
    return filled(graph, op, x.shape, lambda i: np.float32(int(x[i]) - quant.zero_point) * np.float32(quant.scale))


EVALUATE: Mapping[str, Callable[..., Array]] = {
    "conv": conv,
    "depthwise": depthwise,
    "gemm": gemm,
    "add": add,
    "mul": mul,
    "requant": change,
    "concat": concat,
    "lut": lut,
    "softmax": softmax,
    "maxpool": maxpool,
    "avgpool": avgpool,
    "reshape": reshape,
    "transpose": transpose,
    "slice": cut,
    "pad": pad,
    "resize": resize,
    "quantize": quantize,
    "dequantize": dequantize,
}


def evaluate(graph: ir.Graph, op: ir.Op, inputs: Sequence[Array]) -> Array:
    """The output of one operator."""
    return EVALUATE[op.kind](graph, op, *inputs)


def run(graph: ir.Graph, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Every tensor of the graph."""
    values = dict(feeds)
    for op in graph.ops:
        values[op.output] = evaluate(graph, op, [values[name] for name in op.inputs])
    return values
