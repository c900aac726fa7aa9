"""The only way weights and shapes change together.

onnx-ir keeps a weight's data (`const_value`) and its declared type and shape apart; changing one and not the other
leaves a model that looks right and is not. Passes therefore change weights through the functions here, and call
`infer_shapes` after a change of structure. All of them work in place, on a clone that the pass owns.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from . import shapes
from .model import Model

Array = npt.NDArray[Any]
_PLAIN = re.compile(r"[nt](\d+)\Z")
_NEXT = "prunus.next-name"  # key in the graph's metadata (in memory only) of the next free number


def fresh_name(owner: Model | ir.Graph, prefix: str = "t") -> str:
    """An unused plain name: `t0123` for a value, `n0123` for a node (prefix "n"). Never given twice for one graph."""
    graph = owner.graph if isinstance(owner, Model) else owner
    number = max(graph.meta.get(_NEXT, 0), 0) or _highest_number(graph) + 1
    graph.meta[_NEXT] = number + 1
    return f"{prefix}{number:04d}"


def _highest_number(graph: ir.Graph) -> int:
    names = [value.name for value in shapes.all_values(graph)]
    names += [node.name for node in ir.traversal.RecursiveGraphIterator(graph)]
    numbers = (int(match[1]) for name in names if (match := _PLAIN.match(name or "")))
    return max(numbers, default=0)


def set_weight(value: ir.Value, array: Array) -> None:
    """Replaces an initializer's data, with its type and shape, for all its consumers."""
    tensor = ir.tensor(np.asarray(array, order="C"), name=value.name)
    value.const_value = tensor
    value.type = ir.TensorType(tensor.dtype)
    value.shape = ir.Shape(tensor.numpy().shape)


def make_initializer(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    """A new initializer in the graph; `name` comes from `fresh_name`."""
    value = ir.Value(name=name)
    set_weight(value, array)
    graph.register_initializer(value)
    return value


def replace_initializer(graph: ir.Graph, node: ir.Node, index: int, array: Array) -> ir.Value:
    """Gives one input of one node a constant of its own; other consumers keep the old one.

    The old initializer leaves the graph when nobody uses it any more.
    """
    old = node.inputs[index]
    value = make_initializer(graph, fresh_name(graph), array)
    node.replace_input_with(index, value)
    if old is not None and old.is_initializer() and not old.uses() and not old.is_graph_output():
        graph.initializers.pop(old.name or "", None)
    return value


def weight(value: ir.Value | None) -> Array | None:
    """The data of a constant input (an initializer), or None where the input is absent or computed."""
    if value is None or value.const_value is None:
        return None
    return value.const_value.numpy()


def purge_shapes(model: Model) -> None:
    """Forgets every inferred type and shape: those of node outputs, the graph's outputs included."""
    for node in ir.traversal.RecursiveGraphIterator(model.graph):
        for output in node.outputs:
            output.shape = None
            output.type = None


def infer_shapes(model: Model) -> None:
    """Forgets all inferred shapes and infers them anew; every value has a type and a shape afterwards.

    Raises:
        InvalidModelError: shapes or types contradict each other.
        UnsupportedError: a shape depends on data.
    """
    purge_shapes(model)
    shapes.infer(model.ir, model.names)
