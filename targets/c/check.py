"""What runs where: integer operators on the device, the float ones at the ends of the network on the host."""

from __future__ import annotations

from ...compiler.integer import graph as ir
from ...compiler.target import Finding
from ..native.limits import integer_finding
from .calls import CALLS

INSIDE = "A float layer inside of the network needs a runtime; keep it out of the middle, or choose host-cpu."
BORDER = "A function beside the model, which the caller may use."


def findings(graph: ir.Graph) -> list[Finding]:
    """One finding per operator, in graph order. Reason codes: those of `native.limits` for integer operators; `border`
    for quantization and dequantization, an island's own code for what the host computes after the network;
    `inner-island` for float layers that integer layers depend on."""
    returning = _returning(graph)
    return [_find(graph, op, op.name in returning) for op in graph.ops]


def _find(graph: ir.Graph, op: ir.Op, returns: bool) -> Finding:
    if isinstance(op, ir.Island):
        if returns:
            return Finding(op.name, "unsupported", "inner-island", INSIDE)
        return Finding(op.name, "host", op.reason, "The caller computes it from the integer outputs.")
    if isinstance(op, ir.Dequantize):
        return Finding(op.name, "unsupported" if returns else "host", "inner-island" if returns else "border", BORDER)
    if isinstance(op, ir.Quantize):
        return Finding(op.name, "integer", "border", BORDER)
    return integer_finding(graph, op, CALLS)


def _returning(graph: ir.Graph) -> set[str]:
    """Names of float operators from which a way leads back to integers."""
    wanted: set[str] = set()  # tensors that integer operators depend on
    found = set()
    for op in reversed(graph.ops):
        if not isinstance(op, ir.Island | ir.Dequantize):
            wanted |= set(op.inputs)
        elif wanted & set(op.outputs):
            found.add(op.name)
            wanted |= set(op.inputs)
    return found
