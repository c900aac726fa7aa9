"""What runs where: one finding per operator."""

from __future__ import annotations

import onnx

from ...compiler.integer import graph as ir
from ...compiler.target import Finding
from ..native.limits import integer_finding

# of ONNX itself; everything else would need a library that the bundle does not have
DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml"})


def _foreign(graph: onnx.GraphProto) -> set[str]:
    """Types of operators of other domains, in subgraphs, too."""
    found = {f"{node.domain}.{node.op_type}" for node in graph.node if node.domain not in DOMAINS}
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                found |= _foreign(inner)
    return found


def _find(graph: ir.Graph, op: ir.Op) -> Finding:
    if not isinstance(op, ir.Island):
        return integer_finding(graph, op)
    foreign = sorted(_foreign(onnx.load_model_from_string(op.model).graph))
    if foreign:
        names = ascii(", ".join(foreign))[:200]
        hint = f"onnxruntime does not compute {names}; leave it to the host, outside of the model."
        return Finding(op.name, "unsupported", "island-unsupported", hint)
    own = "onnxruntime computes it in floating point, in the same session."
    return Finding(op.name, "float", op.reason, own if op.reason == "terminal-softmax" else op.hint)


def findings(graph: ir.Graph) -> list[Finding]:
    """One finding per operator, in graph order. Reason codes: those of `native.limits` for integer operators, an
    island's own code for float ones, `island-unsupported` for operators of foreign domains."""
    return [_find(graph, op) for op in graph.ops]
