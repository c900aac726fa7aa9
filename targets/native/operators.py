"""Every operator of the integer graph as one call of the kernels.

The calls have one form for two receivers: the module `prunus.kernels` computes on arrays at once, and a
`kernels.Network` defines the operator on the numbers of its tensors. `batch` is that of the values: 1 for a network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ... import kernels
from ...compiler.integer import graph as ir

Value = Any  # an array, or the number of a tensor in a network
Receiver = Any  # the module prunus.kernels or a kernels.Network
Call = Callable[..., Value]


def requantization(op: ir.Fused) -> kernels.Requant:
    """The operator's multipliers in the kernels' form."""
    requant = op.requant
    if requant.scheme == "f32":
        return kernels.Requant.f32(requant.multiplier.astype(np.float32))
    if requant.scheme == "fixed":
        return kernels.Requant.fixed(requant.multiplier.astype(np.int32), requant.shift)
    return kernels.Requant.pow2(requant.shift)


def _output(graph: ir.Graph, op: ir.Op) -> kernels.Output:
    quant = graph.quant(op.output)
    low, high = (op.qmin, op.qmax) if isinstance(op, ir.Fused) else (quant.qmin, quant.qmax)
    return kernels.Output(quant.dtype, quant.zero_point, low, high)


def _zero(graph: ir.Graph, op: ir.Op, index: int = 0) -> int:
    return graph.quant(op.inputs[index]).zero_point


def _geometry(window: ir.Window) -> dict[str, Any]:
    return {"strides": window.strides, "pads": window.pads, "dilations": window.dilations}


def _shape(graph: ir.Graph, op: ir.Op, batch: int) -> tuple[int, ...]:
    return (batch, *graph.tensors[op.output].shape)


def _linear(to: Receiver, graph: ir.Graph, op: ir.Linear, _batch: int, x: Value) -> Value:
    arguments = (x, op.weight, op.bias, requantization(op), _output(graph, op))
    zero = _zero(graph, op)
    if isinstance(op, ir.QConv):
        return to.conv2d(*arguments, x_zero_point=zero, group=op.group, **_geometry(op.window))
    if isinstance(op, ir.QDepthwise):
        return to.depthwise2d(*arguments, x_zero_point=zero, **_geometry(op.window))
    return to.gemm(*arguments, x_zero_point=zero)


def _binary(to: Receiver, graph: ir.Graph, op: ir.QAdd | ir.QMul, _batch: int, a: Value, b: Value) -> Value:
    function = to.add if isinstance(op, ir.QAdd) else to.mul
    zeros = {"a_zero_point": _zero(graph, op), "b_zero_point": _zero(graph, op, 1)}
    return function(a, b, requantization(op), _output(graph, op), **zeros)


def _concat(to: Receiver, graph: ir.Graph, op: ir.QConcat, _batch: int, *xs: Value) -> Value:
    types = [graph.quant(name) for name in op.inputs]
    return to.concat(
        list(xs),
        requantization(op),
        _output(graph, op),
        axis=op.axis + 1,
        zero_points=[quant.zero_point for quant in types],
        copy=[quant == graph.quant(op.output) for quant in types],
    )


def _requant(to: Receiver, graph: ir.Graph, op: ir.QRequant, _batch: int, x: Value) -> Value:
    return to.requantize(x, requantization(op), _output(graph, op), x_zero_point=_zero(graph, op))


def _maxpool(to: Receiver, graph: ir.Graph, op: ir.QMaxPool, _batch: int, x: Value) -> Value:
    return to.maxpool2d(x, op.window.kernel, fill=graph.quant(op.inputs[0]).qmin, **_geometry(op.window))


def _avgpool(to: Receiver, graph: ir.Graph, op: ir.QAvgPool, _batch: int, x: Value) -> Value:
    arguments = (x, op.count_index, requantization(op), _output(graph, op), op.window.kernel)
    return to.avgpool2d(*arguments, x_zero_point=_zero(graph, op), **_geometry(op.window))


def _lut(to: Receiver, graph: ir.Graph, op: ir.QLut, _batch: int, x: Value) -> Value:
    return to.lut(x, op.table.astype(ir.NUMPY_TYPE[graph.quant(op.output).dtype]))


def _softmax(to: Receiver, graph: ir.Graph, op: ir.QSoftmax, _batch: int, x: Value) -> Value:
    axis = op.axis + 1 if op.axis >= 0 else op.axis
    return to.softmax(x, op.table, op.reciprocal, _output(graph, op), axis=axis)


def _transpose(to: Receiver, _graph: ir.Graph, op: ir.QTranspose, _batch: int, x: Value) -> Value:
    return to.transpose(x, (0, *(axis + 1 for axis in op.perm)))


def _slice(to: Receiver, graph: ir.Graph, op: ir.QSlice, batch: int, x: Value) -> Value:
    return to.slice(x, (0, *op.starts), (1, *op.steps), _shape(graph, op, batch))


def _pad(to: Receiver, graph: ir.Graph, op: ir.QPad, batch: int, x: Value) -> Value:
    shape = _shape(graph, op, batch)
    return to.slice(x, (0, *(-before for before in op.before)), (1,) * len(shape), shape, fill=op.value)


def _resize(to: Receiver, _graph: ir.Graph, op: ir.QResize, _batch: int, x: Value) -> Value:
    return to.resize_nearest(x, op.rows, op.columns)


def _quantize(to: Receiver, graph: ir.Graph, op: ir.Quantize, _batch: int, x: Value) -> Value:
    quant = graph.quant(op.output)
    return to.quantize(x, op.scale, kernels.Output(quant.dtype, op.zero_point, quant.qmin, quant.qmax))


def _dequantize(to: Receiver, graph: ir.Graph, op: ir.Dequantize, _batch: int, x: Value) -> Value:
    quant = graph.quant(op.inputs[0])
    return to.dequantize(x, quant.scale, x_zero_point=quant.zero_point)


# a reshape moves nothing: it is left to who holds the values
CALLS: Mapping[type[ir.Op], Call] = {
    ir.QConv: _linear,
    ir.QDepthwise: _linear,
    ir.QGemm: _linear,
    ir.QAdd: _binary,
    ir.QMul: _binary,
    ir.QConcat: _concat,
    ir.QMaxPool: _maxpool,
    ir.QAvgPool: _avgpool,
    ir.QRequant: _requant,
    ir.QLut: _lut,
    ir.QSoftmax: _softmax,
    ir.QTranspose: _transpose,
    ir.QSlice: _slice,
    ir.QPad: _pad,
    ir.QResize: _resize,
    ir.Quantize: _quantize,
    ir.Dequantize: _dequantize,
}
