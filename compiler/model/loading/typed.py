"""Types of a plain graph at its own opset, before anything converts it; branches whose condition is known are taken."""

from __future__ import annotations

from dataclasses import dataclass

import onnx

from ...errors import InvalidModelError, UnsupportedError
from ..inference import Inference
from ..shapes import PROBES, SymbolicType, combine
from .rename import Plain


@dataclass(frozen=True)
class Typed:
    """What inference found out about a plain graph."""

    types: dict[str, SymbolicType]  # of all values, a symbolic batch by name
    at_batch_1: Inference
    batch: str  # "symbolic", "fixed", or "fixed at 1: " and why


def type_graph(plain: Plain, opset: int) -> Typed:
    """Infers all types and puts the branches that are always taken in place of their `If` (in the plain graph).

    A graph that works for one batch size only loses its symbolic batch.

    Raises:
        InvalidModelError: a node does not fit its inputs. UnsupportedError: a shape depends on data.
    """
    single = _infer(plain, opset, 1)
    note = "fixed"
    types: dict[str, SymbolicType] = dict(single.types)
    if any(isinstance(dim, str) for _, dims in plain.inputs.values() for dim in dims):
        try:
            small, large = (_infer(plain, opset, batch) for batch in PROBES)
            if not single.taken == small.taken == large.taken:
                raise UnsupportedError("A branch depends on the batch size.", code="shape-unknown")
            types, note = combine(small.types, large.types, plain.names), "symbolic"
        except (InvalidModelError, UnsupportedError) as error:
            note = f"fixed at 1: {error.why or error.what}"
            plain.inputs = {name: single.types[name] for name in plain.inputs}
    _take_branches(plain.graph, single.taken)
    return Typed(types, single, note)


def _infer(plain: Plain, opset: int, batch: int) -> Inference:
    inference = Inference(opset, names=plain.names)
    for name, (kind, dims) in plain.inputs.items():
        inference.declare(name, kind, tuple(batch if isinstance(dim, str) else dim for dim in dims))
    for name, array in plain.constants.items():
        inference.declare(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape, array)
    inference.add_nodes(plain.graph.node)
    return inference


def _take_branches(graph: onnx.GraphProto, taken: dict[str, int]) -> None:
    """Replaces each decided `If` by the nodes of its branch (names are unique in the whole model)."""
    nodes = list(graph.node)
    if not any(node.op_type == "If" for node in nodes):
        return
    del graph.node[:]
    for node in nodes:
        branches = [attribute.g for attribute in node.attribute if node.op_type == "If"]
        for branch in branches:
            _take_branches(branch, taken)
        if node.name not in taken:
            graph.node.append(node)
            continue
        branch = branches[taken[node.name]]
        for tensor in branch.initializer:
            value = onnx.helper.make_attribute("value", tensor)
            graph.node.append(onnx.NodeProto(op_type="Constant", output=[tensor.name], attribute=[value]))
        graph.node.extend(branch.node)
        for name, inner in zip(node.output, branch.output, strict=True):
            graph.node.append(onnx.NodeProto(op_type="Identity", input=[inner.name], output=[name]))
