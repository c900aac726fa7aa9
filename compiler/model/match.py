"""Questions that rewriting rules ask about a graph. Nothing here changes anything."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from .edit import weight

Array = npt.NDArray[Any]
Dims = tuple[int | str, ...]

FLOATS = frozenset({ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE})


def is_op(node: ir.Node | None, *op_types: str) -> bool:
    """Whether the node is one of these operators of the standard ONNX domain."""
    return node is not None and node.domain == "" and node.op_type in op_types


def dims(value: ir.Value | None) -> Dims | None:
    """The value's dimensions: numbers, and the names of symbolic ones. None where the shape is unknown."""
    if value is None or value.shape is None:
        return None
    return tuple(dim if isinstance(dim, int) else (dim.value or "?") for dim in value.shape)


def static_dims(value: ir.Value | None) -> tuple[int, ...] | None:
    """The value's dimensions where all of them are numbers."""
    found = dims(value)
    if found is None:
        return None
    numbers = tuple(dim for dim in found if isinstance(dim, int))
    return numbers if len(numbers) == len(found) else None


def rank(value: ir.Value | None) -> int | None:
    """The number of dimensions, or None where it is unknown."""
    return None if value is None or value.shape is None else value.shape.rank()


def same_shape(first: ir.Value, second: ir.Value) -> bool:
    """Whether both values certainly have the same dimensions."""
    a, b = dims(first), dims(second)
    return a is not None and a == b and "?" not in a


def is_float(value: ir.Value | None) -> bool:
    return value is not None and value.dtype in FLOATS


def scalar(value: ir.Value | None) -> float | None:
    """The number that a constant with one element holds."""
    array = weight(value)
    return None if array is None or array.size != 1 else float(array.reshape(-1)[0])


def int_list(value: ir.Value | None) -> tuple[int, ...] | None:
    """The numbers of a constant integer input (axes, pads, a shape)."""
    array = weight(value)
    return None if array is None else tuple(int(item) for item in np.atleast_1d(array))


def attribute_ints(node: ir.Node, name: str) -> tuple[int, ...] | None:
    """An attribute that is a list of integers, or None where the node has none of that name."""
    attribute = node.attributes.get(name)
    return None if attribute is None else tuple(attribute.as_ints())


def operand(node: ir.Node, index: int) -> ir.Value | None:
    """Input `index`, or None where it is absent."""
    return node.inputs[index] if index < len(node.inputs) else None


def sole_use(value: ir.Value) -> tuple[ir.Node, int] | None:
    """(node, input index) of the only reader in the same graph; None where there are several or none, where the graph's
    caller reads the value, or a branch or loop body does."""
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output() or uses[0].node.graph is not value.graph:
        return None
    return uses[0].node, uses[0].idx


def only_producer(value: ir.Value | None, *op_types: str) -> ir.Node | None:
    """The node of one of these types that makes the value, where nothing else reads the value."""
    if value is None or sole_use(value) is None:
        return None
    node = value.producer()
    return node if is_op(node, *op_types) else None


def constant_operand(node: ir.Node) -> tuple[ir.Value, Array, int] | None:
    """(computed input, constant, index of the constant) of a binary operator with exactly one constant input."""
    if len(node.inputs) != 2 or node.inputs[0] is None or node.inputs[1] is None:
        return None
    first, second = (weight(value) for value in node.inputs)
    if (first is None) == (second is None):
        return None
    if second is not None:
        return node.inputs[0], second, 1
    assert first is not None
    return node.inputs[1], first, 0


def static_size(value: ir.Value) -> int | None:
    """The number of elements, where it is known."""
    found = static_dims(value)
    return None if found is None else int(np.prod(found, dtype=np.int64))


def is_plain_gemm(node: ir.Node) -> bool:
    """Whether the node is x W^T + b: a Gemm with factors of one, whose weights are [out, in]."""
    get = node.attributes
    factors = (get.get_float("alpha", 1.0), get.get_float("beta", 1.0))
    turned = (get.get_int("transA", 0), get.get_int("transB", 0))
    return is_op(node, "Gemm") and factors == (1.0, 1.0) and turned == (0, 1)
