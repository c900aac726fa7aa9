"""Changes to a graph's structure: new nodes, replaced values, removal of what nobody reads.

All of it works in place on a clone that the pass owns. New nodes and values get fresh plain names; a graph output
always keeps its name, and new values carry the type and shape of the value that they stand for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy.typing as npt
import onnx_ir as ir

from .edit import fresh_name, make_initializer

Array = npt.NDArray[Any]
AttributeValue = int | float | str | Sequence[int] | ir.DataType


def graph_of(node: ir.Node) -> ir.Graph:
    """The graph that owns the node (always there for nodes that a pass walks over)."""
    graph = node.graph
    if not isinstance(graph, ir.Graph):
        raise TypeError(f"node {node.name!r} belongs to no graph")
    return graph


def constant(node: ir.Node, array: Array) -> ir.Value:
    """A new initializer in the graph of `node`."""
    graph = graph_of(node)
    return make_initializer(graph, fresh_name(graph), array)


def insert_before(
    node: ir.Node,
    op_type: str,
    inputs: Sequence[ir.Value | None],
    attributes: Mapping[str, AttributeValue] | None = None,
    *,
    like: ir.Value | None = None,
    shape: Sequence[int | str] | None = None,
) -> ir.Value:
    """The output of a new node right before `node`. Type and shape come from `like`; `shape` overrides its shape."""
    return _insert(node, op_type, inputs, attributes, like, shape, after=False)


def insert_after(
    node: ir.Node,
    op_type: str,
    inputs: Sequence[ir.Value | None],
    attributes: Mapping[str, AttributeValue] | None = None,
    *,
    like: ir.Value | None = None,
    shape: Sequence[int | str] | None = None,
) -> ir.Value:
    """The output of a new node right after `node`; see `insert_before`."""
    return _insert(node, op_type, inputs, attributes, like, shape, after=True)


def _insert(
    node: ir.Node,
    op_type: str,
    inputs: Sequence[ir.Value | None],
    attributes: Mapping[str, AttributeValue] | None,
    like: ir.Value | None,
    shape: Sequence[int | str] | None,
    *,
    after: bool,
) -> ir.Value:
    graph = graph_of(node)
    new = ir.Node("", op_type, inputs, name=fresh_name(graph, "n"), num_outputs=1)
    for name, value in (attributes or {}).items():
        set_attribute(new, name, value)
    output = new.outputs[0]
    output.name = fresh_name(graph)
    if like is not None:
        output.type = like.type
        output.shape = like.shape.copy() if like.shape is not None else None
    if shape is not None:
        output.shape = ir.Shape(shape)
    if after:
        graph.insert_after(node, new)
    else:
        graph.insert_before(node, new)
    return output


def set_attribute(node: ir.Node, name: str, value: AttributeValue) -> None:
    """Writes an attribute; a sequence is one of integers, even when it is empty."""
    if isinstance(value, str):
        node.attributes[name] = ir.AttrString(name, value)
    elif isinstance(value, float):
        node.attributes[name] = ir.AttrFloat32(name, value)
    elif isinstance(value, int):
        node.attributes[name] = ir.AttrInt64(name, int(value))
    else:
        node.attributes[name] = ir.AttrInt64s(name, [int(item) for item in value])


def retype(node: ir.Node, op_type: str, inputs: Sequence[ir.Value | None]) -> None:
    """Makes another operator of the node, without attributes; it keeps its name and its outputs."""
    node.op_type = op_type
    node.attributes.clear()
    node.resize_inputs(len(inputs))
    for index, value in enumerate(inputs):
        node.replace_input_with(index, value)


def replace_value(old: ir.Value, new: ir.Value) -> None:
    """Lets every reader of `old` read `new`. Where `old` is a graph output, `new` takes over its name.

    A graph input, a constant or another graph output cannot be renamed: then the producer of `old` becomes an Identity.
    """
    for user, index in list(old.uses()):
        user.replace_input_with(index, new)
    if not old.is_graph_output():
        return
    producer = old.producer()
    if producer is None:
        raise ValueError(f"graph output {old.name!r} has no producer")
    if new.producer() is None or new.is_graph_output():
        producer.resize_outputs(1)
        retype(producer, "Identity", [new])
        return
    name = old.name
    old.replace_all_uses_with(new, replace_graph_outputs=True)
    old.name = fresh_name(graph_of(producer))
    new.name = name


def take_output(old: ir.Value, new: ir.Value) -> None:
    """Where `old` is a graph output, makes `new` that output, under the same name; `new` may be computed from `old`."""
    if not old.is_graph_output():
        return
    graph, producer = old.graph, old.producer()
    assert graph is not None and producer is not None
    graph.outputs[next(index for index, value in enumerate(graph.outputs) if value is old)] = new
    new.name, old.name = old.name, fresh_name(graph_of(producer))


def bypass(node: ir.Node) -> bool:
    """Removes a node whose first output equals its first input. False where only an Identity could take its place."""
    source, output = node.inputs[0], node.outputs[0]
    if source is None:
        return False
    if output.is_graph_output() and (source.producer() is None or source.is_graph_output()):
        return False
    replace_value(output, source)
    graph_of(node).remove(node, safe=True)
    return True


def sweep(graph: ir.Graph) -> int:
    """Removes nodes and initializers that nobody reads; returns the number of nodes. Graph inputs stay."""
    unread = 0
    for node in reversed(list(graph)):
        if not any(output.uses() or output.is_graph_output() for output in node.outputs):
            graph.remove(node, safe=True)
            unread += 1
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
            graph.initializers.pop(name)
    return unread
