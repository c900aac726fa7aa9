"""What runs where: one finding per operator, without TVM."""

from __future__ import annotations

from ...compiler.integer import graph as ir
from ...compiler.target import Finding
from . import calls, islands


def _rank(graph: ir.Graph, op: ir.Op) -> int:
    return 1 + max(len(graph.tensors[name].shape) for name in (*op.inputs, *op.outputs))


def _find(graph: ir.Graph, op: ir.Op) -> Finding:
    if isinstance(op, ir.Island):
        foreign = islands.unsupported_operators(op)
        if foreign:
            hint = f"TVM does not compute {', '.join(foreign)[:200]} here; leave it to the host, outside of the model."
            return Finding(op.name, "unsupported", "island-unsupported", hint)
        own = "TVM computes it in floating point, inside the library."
        return Finding(op.name, "float", op.reason, own if op.reason == "terminal-softmax" else op.hint)
    if isinstance(op, ir.QReshape):
        return Finding(op.name, "integer", "view")
    if type(op) not in calls.CALLS:
        return Finding(op.name, "unsupported", "unknown-op", f"No kernel computes '{op.kind}'.")
    if _rank(graph, op) > calls.MAX_RANK:
        hint = f"The kernels take at most {calls.MAX_RANK} dimensions; reshape the tensor in the model."
        return Finding(op.name, "unsupported", "rank-too-high", hint)
    if isinstance(op, ir.QAdd | ir.QMul) and len({len(graph.tensors[name].shape) for name in op.inputs}) > 1:
        hint = "Give both operands the same number of dimensions."
        return Finding(op.name, "unsupported", "broadcast-rank", hint)
    return Finding(op.name, "integer", "kernel")


def findings(graph: ir.Graph) -> list[Finding]:
    """One finding per operator, in graph order. Reason codes: `kernel` and `view` for integer ones, an island's own
    code for float ones; `island-unsupported`, `unknown-op`, `rank-too-high`, `broadcast-rank` otherwise."""
    return [_find(graph, op) for op in graph.ops]
