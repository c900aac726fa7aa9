"""One operator of the integer graph as one call of a kernel adapter: numpy only, no TVM.

A call is `FUNCTION(parameters, inputs…, constants…, output)`. `parameters` is an int32 vector whose layout `adapter.c`
documents at each function: the members of the kernels' C structures, in their order. Dimensions are not in it: the
adapter reads them from the tensors, so that the batch stays symbolic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...compiler.errors import UnsupportedError
from ...compiler.integer import graph as ir

Array = npt.NDArray[Any]
PREFIX = "prunus_tvm_"

DTYPE: Mapping[ir.IntType, int] = {"u8": 0, "s8": 1}  # prunus_dtype
SCHEME: Mapping[ir.Scheme, int] = {"f32": 0, "fixed": 1, "pow2": 2}  # prunus_scheme


@dataclass(frozen=True, eq=False)
class KernelCall:
    """`parameters`: int32 vector; `constants`: the arrays that follow the operator's inputs."""

    function: str
    parameters: Array
    constants: tuple[Array, ...] = ()


def _call(name: str, parameters: Sequence[int], *constants: Array) -> KernelCall:
    return KernelCall(PREFIX + name, np.asarray(parameters, np.int32), constants)


def _type(quant: ir.QType) -> list[int]:
    """prunus_type."""
    return [DTYPE[quant.dtype], quant.zero_point]


def _window(window: ir.Window) -> list[int]:
    """prunus_window."""
    return [*window.kernel, *window.strides, *window.pads, *window.dilations]


def _epilogue(graph: ir.Graph, op: ir.Fused) -> list[int]:
    """prunus_epilogue without the multipliers: scheme, type, qmin, qmax."""
    return [SCHEME[op.requant.scheme], *_type(graph.quant(op.output)), op.qmin, op.qmax]


def _requant(requant: ir.Requant) -> tuple[Array, Array]:
    """(multipliers, shifts): float32 and one unused zero for `f32`, int32 otherwise."""
    if requant.scheme == "f32":
        return requant.multiplier.astype(np.float32).reshape(-1), np.zeros(1, np.int32)
    return requant.multiplier.astype(np.int32).reshape(-1), requant.shift.astype(np.int32).reshape(-1)


def _linear(graph: ir.Graph, op: ir.Linear, name: str, head: Sequence[int]) -> KernelCall:
    parameters = [*head, *_type(graph.quant(op.inputs[0])), *_epilogue(graph, op)]
    return _call(name, parameters, op.weight.astype(np.int8), op.bias.astype(np.int32), *_requant(op.requant))


def _conv(graph: ir.Graph, op: ir.QConv) -> KernelCall:
    return _linear(graph, op, "conv2d", [op.group, *_window(op.window)])


def _depthwise(graph: ir.Graph, op: ir.QDepthwise) -> KernelCall:
    return _linear(graph, op, "depthwise2d", [graph.tensors[op.inputs[0]].shape[0], *_window(op.window)])


def _gemm(graph: ir.Graph, op: ir.QGemm) -> KernelCall:
    return _linear(graph, op, "gemm", [])


def _binary(graph: ir.Graph, op: ir.QAdd | ir.QMul) -> KernelCall:
    types = [value for name in op.inputs for value in _type(graph.quant(name))]
    return _call(op.kind, [*types, *_epilogue(graph, op)], *_requant(op.requant))


def _requantize(graph: ir.Graph, op: ir.QRequant) -> KernelCall:
    parameters = [*_type(graph.quant(op.inputs[0])), *_epilogue(graph, op)]
    return _call("requantize", parameters, *_requant(op.requant))


def _concat(graph: ir.Graph, op: ir.QConcat) -> KernelCall:
    out = graph.quant(op.output)
    parameters = [op.axis + 1, len(op.inputs), *_epilogue(graph, op)]
    for name in op.inputs:
        quant = graph.quant(name)
        parameters += [int(quant == out), *_type(quant)]
    return _call("concat", parameters, *_requant(op.requant))


def _maxpool(graph: ir.Graph, op: ir.QMaxPool) -> KernelCall:
    quant = graph.quant(op.inputs[0])
    return _call("maxpool2d", [*_window(op.window), *_type(quant), quant.qmin])


def _avgpool(graph: ir.Graph, op: ir.QAvgPool) -> KernelCall:
    parameters = [*_window(op.window), *_type(graph.quant(op.inputs[0])), *_epilogue(graph, op)]
    return _call("avgpool2d", parameters, op.count_index.astype(np.int32), *_requant(op.requant))


def _lut(graph: ir.Graph, op: ir.QLut) -> KernelCall:
    table = op.table.astype(ir.NUMPY_TYPE[graph.quant(op.output).dtype])
    return _call("lut", [DTYPE[graph.quant(op.inputs[0]).dtype]], table)


def _softmax(graph: ir.Graph, op: ir.QSoftmax) -> KernelCall:
    out = graph.quant(op.output)
    rank = len(graph.tensors[op.inputs[0]].shape) + 1
    axis = op.axis + 1 if op.axis >= 0 else op.axis + rank
    types = [*_type(graph.quant(op.inputs[0])), *_type(out)]
    return _call("softmax", [axis, op.reciprocal, *types, out.qmin, out.qmax], op.table.astype(np.uint32))


def _transpose(_graph: ir.Graph, op: ir.QTranspose) -> KernelCall:
    return _call("transpose", [0, *(axis + 1 for axis in op.perm)])


def _slice(graph: ir.Graph, op: ir.QSlice) -> KernelCall:
    # what Python's slicing makes of open or negative bounds is settled here
    sizes = graph.tensors[op.inputs[0]].shape
    cuts = zip(op.starts, op.stops, op.steps, strict=True)
    ranges = [slice(*cut).indices(size) for cut, size in zip(cuts, sizes, strict=True)]
    return _call("slice", [0, 0, *(start for start, _, _ in ranges), 1, *(step for _, _, step in ranges)])


def _pad(_graph: ir.Graph, op: ir.QPad) -> KernelCall:
    return _call("slice", [op.value, 0, *(-before for before in op.before), 1, *(1 for _ in op.before)])


def _resize(_graph: ir.Graph, op: ir.QResize) -> KernelCall:
    return _call("resize_nearest", [], op.rows.astype(np.int32), op.columns.astype(np.int32))


def _quantize(graph: ir.Graph, op: ir.Quantize) -> KernelCall:
    out = graph.quant(op.output)
    parameters = [DTYPE[out.dtype], op.zero_point, out.qmin, out.qmax]
    return _call("quantize", parameters, np.asarray([op.scale], np.float32))


def _dequantize(graph: ir.Graph, op: ir.Dequantize) -> KernelCall:
    quant = graph.quant(op.inputs[0])
    return _call("dequantize", _type(quant), np.asarray([quant.scale], np.float32))


CALLS: Mapping[type[ir.Op], Callable[..., KernelCall]] = {
    ir.QConv: _conv,
    ir.QDepthwise: _depthwise,
    ir.QGemm: _gemm,
    ir.QAdd: _binary,
    ir.QMul: _binary,
    ir.QRequant: _requantize,
    ir.QConcat: _concat,
    ir.QMaxPool: _maxpool,
    ir.QAvgPool: _avgpool,
    ir.QLut: _lut,
    ir.QSoftmax: _softmax,
    ir.QTranspose: _transpose,
    ir.QSlice: _slice,
    ir.QPad: _pad,
    ir.QResize: _resize,
    ir.Quantize: _quantize,
    ir.Dequantize: _dequantize,
}


def kernel_call(graph: ir.Graph, op: ir.Op) -> KernelCall:
    """The call that computes `op`. Raises UnsupportedError for operators that no kernel computes."""
    build = CALLS.get(type(op))
    if build is None:
        raise UnsupportedError(f"No kernel computes the operator '{op.kind}'.", code="unknown-op", where=op.name)
    return build(graph, op)
