"""Constants become initializers, and initializers are not inputs."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ...model import edit
from ...model.match import int_list
from ...model.rewrite import constant, graph_of, replace_value
from .journal import Journal

MAX_ELEMENTS = 2**28  # 1 GiB of float32: above VGG's first fully connected layer, below what a hostile file asks for
_VALUE_ATTRIBUTES = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}


def drop_initializer_inputs(graph: ir.Graph, journal: Journal) -> None:
    """IR 3 lists initializers among the graph inputs, where a caller may override them; weights are constants here."""
    listed = [value for value in graph.inputs if value.is_initializer()]
    for value in listed:
        graph.inputs.remove(value)
    journal.did("initializer-inputs", len(listed))


def lift_constant(node: ir.Node, journal: Journal) -> bool:
    """Constant() -> an initializer."""
    if len(node.attributes) != 1 or node.outputs[0].is_graph_output():
        return False
    ((name, attribute),) = node.attributes.items()
    if name == "value":
        array = attribute.as_tensor().numpy()
    elif name in _VALUE_ATTRIBUTES:
        array = np.asarray(attribute.value, _VALUE_ATTRIBUTES[name])
    else:
        journal.declined("constant-not-numeric", node, f"A Constant with attribute '{name}' stays a node.")
        return False
    _become_constant(node, array)
    journal.did("lifted-constants")
    return True


def materialise_fill(node: ir.Node, journal: Journal) -> bool:
    """ConstantOfShape(initializer) -> an initializer of at most MAX_ELEMENTS elements."""
    shape = int_list(node.inputs[0])
    if shape is None or node.outputs[0].is_graph_output():
        return False
    elements = 1
    for size in shape:
        elements *= size
    if not 0 <= elements <= MAX_ELEMENTS:
        journal.declined(
            "constant-too-large",
            node,
            f"A constant of {elements} elements is not stored; the limit is {MAX_ELEMENTS}.",
            "Compute it in the model's own code, or reduce its shape.",
        )
        return False
    fill = node.attributes.get_tensor("value")
    value = np.zeros(1, np.float32) if fill is None else fill.numpy()
    _become_constant(node, np.full(shape, value.reshape(-1)[0]))
    journal.did("filled-constants")
    return True


def _become_constant(node: ir.Node, array: np.ndarray) -> None:
    """Replaces a node with an initializer that keeps the name of the node's output."""
    output = node.outputs[0]
    name = output.name
    value = constant(node, array)
    replace_value(output, value)
    graph = graph_of(node)
    graph.remove(node, safe=True)
    output.name = edit.fresh_name(graph)
    value.name = name
