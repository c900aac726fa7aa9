"""Operators without a rule, and Shape, which reads sizes instead of data."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from ..labels import Dims
from ..trace import Trace, attribute, label


def unknown(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """Nothing is known of what the operator does to any position: everything it touches stays."""
    return pinned(trace, node, "unknown-op")


def pinned(trace: Trace, node: ir.Node, code: str) -> Sequence[Dims]:
    """All dimensions of all inputs stay, and so do the outputs'."""
    trace.pin_inputs(node, code)
    return [trace.fixed(output, code, label(node)) for output in node.outputs]


def shape_of(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """A size that is read stays. `Shape -> Gather` of single sizes (a batch, as exporters write it) pins only those."""
    dims = trace.dims(node.inputs[0])
    count = len(dims)
    start, end, _ = slice(attribute(node, "start", 0), attribute(node, "end", count)).indices(count)
    read = range(start, end)
    users = node.outputs[0].uses()
    picked: set[int] = set()
    for user, index in users:
        entries = trace.integers(user.inputs[1]) if user.op_type == "Gather" and index == 0 else None
        picked.update(read if entries is None else (read[entry] for entry in entries))
    if node.outputs[0].is_graph_output():
        picked.update(read)
    trace.pin([dims[axis] for axis in sorted(picked)], "shape-read", label(node))
    return [trace.fixed(node.outputs[0], "shape-read", label(node))]
