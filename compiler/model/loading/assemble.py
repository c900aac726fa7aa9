"""From the plain graph at the working opset to the final one: constants back inside, final names in reading order."""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from .. import shapes
from ..model import OPSET
from .rename import Plain


def assemble(proto: onnx.ModelProto, plain: Plain) -> ir.Model:
    """The graph with its constants as initializers; what the converter left behind is cleaned up."""
    model = ir.serde.deserialize_model(proto)
    graph = model.graph
    own = [value for value in graph.inputs if value.name in plain.inputs]
    values = {value.name: value for value in [*graph.inputs, *graph.initializers.values()]}
    graph.inputs.clear()
    graph.inputs.extend(own)
    for name, array in plain.constants.items():
        value = values.get(name)
        if value is not None:  # the converter may have replaced it
            value.const_value = ir.tensor(array, name=name)
            graph.register_initializer(value)
    model.opset_imports.clear()
    model.opset_imports[""] = OPSET
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    for value in shapes.all_values(graph):
        value.metadata_props.clear()
        value.doc_string = None
        if value.const_value is None and value.producer() is not None:
            value.type, value.shape = None, None
    return model


def give_final_names(model: ir.Model, plain: Plain) -> dict[str, str]:
    """Names nodes n0001…, values t0001… in reading order and sorts the initializers so; returns final -> the user's."""
    graph = model.graph
    names: dict[str, str] = {}
    count = {"n": 0, "t": 0}
    named: set[ir.Value] = set()

    def rename(item: ir.Node | ir.Value, prefix: str) -> None:
        count[prefix] += 1
        original = plain.names.get(item.name or "")
        item.name = f"{prefix}{count[prefix]:04d}"
        if original:
            names[item.name] = original

    def rename_value(value: ir.Value | None) -> None:
        if value is not None and value.name and value not in named:
            named.add(value)
            rename(value, "t")

    for value in graph.inputs:
        rename_value(value)
    for node in ir.traversal.RecursiveGraphIterator(graph):
        rename(node, "n")
        for used in (*node.inputs, *node.outputs):
            rename_value(used)
    for value in graph.outputs:
        rename_value(value)
    unused = [value for value in graph.initializers.values() if value not in named]
    for value in unused:
        del graph.initializers[value.name or ""]
    ordered = sorted(graph.initializers.values(), key=lambda value: (len(value.name or ""), value.name))
    graph.initializers.clear()
    for value in ordered:
        graph.register_initializer(value)
    graph.name = "graph"
    return names
