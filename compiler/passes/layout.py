"""Dimension orders: what each operator needs changed when its tensors are stored in another order.

A permutation p relates the old order of a tensor to the new one: old = Transpose(new, p), that is, dimension i of the
old order is dimension p[i] of the new one. With q the inverse of p: new = Transpose(old, q).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..model.edit import replace_initializer, weight
from ..model.match import Array, dims, int_list, operand, rank, static_dims
from ..model.rewrite import graph_of, set_attribute

Permutation = tuple[int, ...]

UNARY = frozenset(
    {
        "Abs",
        "Cast",
        "Ceil",
        "Celu",
        "Clip",
        "Cos",
        "DequantizeLinear",
        "Elu",
        "Erf",
        "Exp",
        "Floor",
        "Gelu",
        "HardSigmoid",
    }
    | {
        "HardSwish",
        "Identity",
        "LeakyRelu",
        "Log",
        "Mish",
        "Neg",
        "Not",
        "QuantizeLinear",
        "Reciprocal",
        "Relu",
        "Round",
    }
    | {"Selu", "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Tanh", "ThresholdedRelu"}
)
BROADCAST = frozenset(
    {"Add", "And", "Div", "Equal", "Greater", "Less", "Max", "Mean", "Min", "Mul", "Or", "PRelu", "Pow", "Sub", "Sum"}
    | {"Where", "Xor"}
)
ONE_AXIS = frozenset({"Concat", "LogSoftmax", "Softmax", "Split"})
REDUCE = frozenset({"ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"})


def inverse(p: Sequence[int]) -> Permutation:
    """q with Transpose(Transpose(x, p), q) = x."""
    return tuple(int(index) for index in np.argsort(p))


def compose(first: Sequence[int], second: Sequence[int]) -> Permutation:
    """The permutation of Transpose(Transpose(x, first), second)."""
    return tuple(first[index] for index in second)


def is_identity(p: Sequence[int]) -> bool:
    return tuple(p) == tuple(range(len(p)))


def permuted_shape(value: ir.Value, order: Sequence[int]) -> list[int | str]:
    """The dimensions of Transpose(value, order)."""
    found = dims(value) or ()
    return [found[index] for index in order]


def moves_only_ones(value: ir.Value, order: Sequence[int]) -> bool:
    """Whether Transpose(value, order) leaves the elements where they are: only dimensions of size one change places."""
    found = dims(value)
    if found is None:
        return False
    kept = [index for index in order if found[index] != 1]
    return kept == sorted(kept)


def permutable_rank(node: ir.Node) -> int | None:
    """The rank of the tensors of an operator that computes the same in any order of dimensions, else None."""
    source = node.inputs[0] if node.inputs else None
    of = rank(node.outputs[0])
    if node.domain or source is None or of is None or any(rank(output) != of for output in node.outputs):
        return None
    others = [value for value in node.inputs[1:] if value is not None]
    if node.op_type in UNARY:
        fits = rank(source) == of and all(static_dims(value) in ((), (1,)) for value in others)
    elif node.op_type in BROADCAST or node.op_type == "Concat":
        computed = [value for value in (source, *others) if weight(value) is None]
        fits = bool(computed) and all(rank(value) == of for value in computed)
    elif node.op_type in ONE_AXIS | REDUCE | {"Pad", "Slice"}:
        fits = rank(source) == of and weight(source) is None and all(weight(value) is not None for value in others)
        fits &= node.op_type not in REDUCE or (bool(others) and node.attributes.get_int("keepdims", 1) == 1)
    else:
        return None
    return of if fits else None


def data_inputs(node: ir.Node) -> list[int]:
    """The inputs that are stored in the order of dimensions in question (of a node with a `permutable_rank`)."""
    if node.op_type in BROADCAST or node.op_type == "Concat":
        return [index for index, value in enumerate(node.inputs) if value is not None]
    return [0]


def permute_operator(node: ir.Node, p: Permutation) -> None:
    """Rewrites attributes and constants of a permutable operator for the new order; its shapes stay to be changed."""
    if node.op_type in ONE_AXIS:
        axis = node.attributes.get_int("axis", -1 if "Softmax" in node.op_type else 0)
        set_attribute(node, "axis", p[axis % len(p)])
    elif node.op_type in REDUCE:
        _replace(node, 1, sorted(p[axis % len(p)] for axis in int_list(operand(node, 1)) or ()))
    elif node.op_type == "Slice":
        axes = int_list(operand(node, 3)) or range(len(int_list(operand(node, 1)) or ()))
        if len(node.inputs) < 4:
            node.resize_inputs(4)
        _replace(node, 3, [p[axis % len(p)] for axis in axes])
    elif node.op_type == "Pad":
        _permute_pads(node, p)
    for index in data_inputs(node):
        array = weight(node.inputs[index])
        if array is not None and array.size > 1:
            aligned = array.reshape((1,) * (len(p) - array.ndim) + array.shape)
            replace_initializer(graph_of(node), node, index, aligned.transpose(inverse(p)))


def _permute_pads(node: ir.Node, p: Permutation) -> None:
    pads, axes = int_list(operand(node, 1)) or (), int_list(operand(node, 3))
    if axes is not None:
        _replace(node, 3, [p[axis % len(p)] for axis in axes])
        return
    q, half = inverse(p), len(p)
    _replace(node, 1, [pads[half * end + index] for end in (0, 1) for index in q])


def _replace(node: ir.Node, index: int, items: Sequence[int]) -> None:
    replace_initializer(graph_of(node), node, index, np.array(items, np.int64))


def permute_features(w: Array, sizes: Sequence[int], q: Sequence[int]) -> Array:
    """A weight [out, in] for an input flattened from `sizes`, rewritten for one flattened after Transpose(q)."""
    old = np.arange(int(np.prod(sizes))).reshape(sizes)
    return np.ascontiguousarray(w[:, old.transpose(q).reshape(-1)])
