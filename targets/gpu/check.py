"""What runs where on a GPU: one finding per operator, and for products whether their zeros count."""

from __future__ import annotations

from ...compiler.integer import graph as ir
from ...compiler.target import Finding
from ..tvm import islands
from .sparse import is_two_of_four, takes_part

_SPARSE_HINT = "trtexec --sparsity=enable lets sparse tensor cores skip its zeros."
_DENSE_HINT = "--weight-sparsity 0.5 --pattern 2:4 gives it the zeros that sparse tensor cores skip."


def _find(op: ir.Op, sparse_cores: bool) -> Finding:
    if isinstance(op, ir.Island):
        foreign = islands.unsupported_operators(op)
        if foreign:
            hint = f"TVM does not compute {', '.join(foreign)[:200]} here; leave it to the host, outside of the model."
            return Finding(op.name, "unsupported", "island-unsupported", hint)
        own = "The GPU computes it in floating point."
        return Finding(op.name, "float", op.reason, own if op.reason == "terminal-softmax" else op.hint)
    if not (sparse_cores and isinstance(op, ir.Linear)):
        return Finding(op.name, "integer", "quantized")
    if not takes_part(op):
        hint = "Sparse tensor cores compute products and ungrouped convolutions only."
        return Finding(op.name, "integer", "no-sparse-form", hint)
    if is_two_of_four(op.weight):
        return Finding(op.name, "integer", "two-of-four", _SPARSE_HINT)
    return Finding(op.name, "integer", "not-two-of-four", _DENSE_HINT)


def findings(graph: ir.Graph, sparse_cores: bool) -> list[Finding]:
    """One finding per operator, in graph order. Reason codes: `quantized`; where the device has sparse tensor cores
    `two-of-four`, `not-two-of-four` and `no-sparse-form` for layers with weights; an island's own code for float ones,
    `island-unsupported` for those that TVM does not lower."""
    return [_find(op, sparse_cores) for op in graph.ops]
