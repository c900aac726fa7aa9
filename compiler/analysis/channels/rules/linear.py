"""Convolutions and matrix products: they end one vector of labels and begin another."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..groups import CountPatch
from ..labels import Dim, Dims
from ..trace import Trace, attribute, computed, key, label
from .elementwise import tie_aligned
from .unknown import pinned


def conv(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """W is [out, in / group, *kernel]. In groups, the same positions of every group go together; depthwise, a channel
    takes all outputs made from it along, and the attribute `group` shrinks."""
    x, w = trace.dims(node.inputs[0]), trace.dims(node.inputs[1])
    group = attribute(node, "group", 1)
    outside = trace.places(node, x)
    trace.pin(w[2:], "spatial", label(node))
    if group > 1 and w[1].size == 1:
        out = _depthwise(trace, node, x[1], w[0].size // group)
        trace.tie(out, w[0])
    else:
        trace.contract(node, (0, 1), (1, 1), group)
        trace.role(w[0], "producer")
        if group > 1:
            trace.tie_rows(w[0], group)
        out = w[0]
    trace.product(node, w[0], w[1], times=_size(w[2:]) * _size(outside))
    return [[x[0], _with_bias(trace, node, out), *outside]]


def conv_transpose(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """W is [in, out / group, *kernel]; the outputs of group g follow those of group g - 1."""
    x, w = trace.dims(node.inputs[0]), trace.dims(node.inputs[1])
    group = attribute(node, "group", 1)
    outside = trace.places(node, x)
    trace.pin(w[2:], "spatial", label(node))
    if group > 1 and w[0].size == group:
        out = _depthwise(trace, node, x[1], w[1].size)
        trace.tie(x[1], w[0])
    else:
        trace.contract(node, (0, 1), (1, 0), group)
        trace.role(w[1], "producer")
        out = w[1].take(np.tile(np.arange(w[1].size), group))
    trace.product(node, w[0], w[1], times=_size(w[2:]) * _size(x[2:]))
    return [[x[0], _with_bias(trace, node, out), *outside]]


def gemm(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """alpha * A' @ B' + beta * C, where A and B may be transposed and C is broadcast."""
    a_sum = 0 if attribute(node, "transA", 0) else 1
    b_sum = 1 if attribute(node, "transB", 0) else 0
    a, b = trace.dims(node.inputs[0]), trace.dims(node.inputs[1])
    trace.contract(node, (0, a_sum), (1, b_sum))
    return [_product_dims(trace, node, a[1 - a_sum], b[1 - b_sum], a[a_sum])]


def matmul(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """A [..., m, k] @ B [..., k, n]; either may be computed, as in attention."""
    a, b = trace.dims(node.inputs[0]), trace.dims(node.inputs[1])
    if len(a) < 2 or len(b) < 2:
        return pinned(trace, node, "unsupported-form")
    trace.contract(node, (0, len(a) - 1), (1, len(b) - 2))
    outer = tie_aligned(trace, [a[:-2], b[:-2]], trace.fixed(node.outputs[0], "batch", label(node))[:-2])
    trace.role(a[-2], "producer")
    trace.role(b[-1], "producer")
    trace.product(node, *outer, a[-2], a[-1], b[-1])
    return [[*outer, computed(a[-2]), computed(b[-1])]]


def _product_dims(trace: Trace, node: ir.Node, rows: Dim, columns: Dim, inner: Dim) -> Dims:
    trace.role(rows, "producer")
    trace.role(columns, "producer")
    trace.product(node, rows, inner, columns)
    out = [computed(rows), computed(columns)]
    bias = trace.dims(node.inputs[2]) if len(node.inputs) > 2 else []
    return tie_aligned(trace, [out, bias], out)


def _depthwise(trace: Trace, node: ir.Node, channels: Dim, multiplier: int) -> Dim:
    """The outputs of a depthwise convolution: `multiplier` for each input channel, side by side."""
    trace.patch(CountPatch(key(node), "group", trace.labels(channels)))
    return channels.take(np.repeat(np.arange(channels.size), multiplier))


def _with_bias(trace: Trace, node: ir.Node, out: Dim) -> Dim:
    bias = trace.dims(node.inputs[2]) if len(node.inputs) > 2 else []
    return computed(trace.tie(out, *bias))


def _size(dims: Sequence[Dim]) -> int:
    return int(np.prod([dim.size for dim in dims], dtype=np.int64))
