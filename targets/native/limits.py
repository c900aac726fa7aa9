"""Which integer operators the kernels take: one finding each."""

from __future__ import annotations

from collections.abc import Container

from ...compiler.integer import graph as ir
from ...compiler.target import Finding
from .operators import CALLS

MAX_RANK = 6  # PRUNUS_MAX_RANK of kernels.h, the batch included


def _rank(graph: ir.Graph, op: ir.Op) -> int:
    return 1 + max(len(graph.tensors[name].shape) for name in (*op.inputs, *op.outputs))


def integer_finding(graph: ir.Graph, op: ir.Op, known: Container[type[ir.Op]] = CALLS) -> Finding:
    """`known`: the operators that the target calls kernels for. Reason codes: `kernel`, and `view` where nothing is
    computed; `unknown-op`, `rank-too-high`, `broadcast-rank`."""
    if isinstance(op, ir.QReshape):
        return Finding(op.name, "integer", "view")
    if type(op) not in known:
        return Finding(op.name, "unsupported", "unknown-op", f"No kernel computes '{op.kind}'.")
    if _rank(graph, op) > MAX_RANK:
        hint = f"The kernels take at most {MAX_RANK} dimensions; reshape the tensor in the model."
        return Finding(op.name, "unsupported", "rank-too-high", hint)
    if isinstance(op, ir.QAdd | ir.QMul) and len({len(graph.tensors[name].shape) for name in op.inputs}) > 1:
        hint = "Give both operands the same number of dimensions."
        return Finding(op.name, "unsupported", "broadcast-rank", hint)
    return Finding(op.name, "integer", "kernel")
