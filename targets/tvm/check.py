"""What runs where: one finding per operator, without TVM."""

from __future__ import annotations

from ...compiler.integer import graph as ir
from ...compiler.target import Finding
from ..native.limits import integer_finding
from . import islands


def _find(graph: ir.Graph, op: ir.Op) -> Finding:
    if isinstance(op, ir.Island):
        foreign = islands.unsupported_operators(op)
        if foreign:
            hint = f"TVM does not compute {', '.join(foreign)[:200]} here; leave it to the host, outside of the model."
            return Finding(op.name, "unsupported", "island-unsupported", hint)
        own = "TVM computes it in floating point, inside the library."
        return Finding(op.name, "float", op.reason, own if op.reason == "terminal-softmax" else op.hint)
    return integer_finding(graph, op)


def findings(graph: ir.Graph) -> list[Finding]:
    """One finding per operator, in graph order. Reason codes: `kernel` and `view` for integer ones, an island's own
    code for float ones; `island-unsupported`, `unknown-op`, `rank-too-high`, `broadcast-rank` otherwise."""
    return [_find(graph, op) for op in graph.ops]
