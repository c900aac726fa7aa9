"""Operators that work position by position: labels pass through, operands of equal size are tied."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from ..labels import Dim, Dims
from ..trace import Trace, attribute, computed, label
from .unknown import pinned


def unary(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """One input, the same shape out. Further inputs (as the bounds of Clip) are scalars."""
    return [trace.dims(node.inputs[0])] * len(node.outputs)


def dropout(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """Nothing at inference; in training mode the values are random, and no cut of them can be proven."""
    training = trace.integers(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] is not None else [0]
    if training != [0]:
        return pinned(trace, node, "unsupported-form")
    return unary(trace, node)


def broadcast(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """Any number of operands, aligned at their last dimensions. Covers constants, residuals and squeeze-and-excite."""
    operands = [trace.dims(value) for value in node.inputs]
    return [tie_aligned(trace, operands, trace.fixed(node.outputs[0], "broadcast", label(node)))]


def tie_aligned(trace: Trace, operands: Sequence[Dims], result: Sequence[Dim]) -> Dims:
    """Ties what meets in each dimension of the result; a size of one is repeated and ties nothing."""
    dims: Dims = []
    for back, out in enumerate(reversed(result), start=1):
        meeting = [dims_of[-back] for dims_of in operands if len(dims_of) >= back and dims_of[-back].size == out.size]
        dims.append(computed(trace.tie(*meeting)) if meeting else out)
    return dims[::-1]


def quantize(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """QuantizeLinear and DequantizeLinear: per-channel scales and zero points follow their axis."""
    x = trace.dims(node.inputs[0])
    axis = attribute(node, "axis", 1) % max(len(x), 1)
    for value in node.inputs[1:]:
        parameters = trace.dims(value)
        if len(parameters) == 1 and parameters[0].size == x[axis].size:
            trace.tie(x[axis], parameters[0])
        elif len(parameters) > 1:  # blocks of positions share a scale
            trace.pin([*x, *parameters], "blocked-quantization", label(node))
    return [x]
