"""Elementwise operators: binary sums, one kind of clipping, merged scale factors, inference batch normalisation."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from ...model.edit import weight
from ...model.match import constant_operand, is_float, only_producer, operand, same_shape, scalar
from ...model.rewrite import bypass, constant, insert_before, retype
from .journal import Journal


def constant_on_the_right(node: ir.Node, journal: Journal) -> bool:
    """c + x -> x + c; c * x -> x * c."""
    found = constant_operand(node)
    if found is None or found[2] == 1:
        return False
    first, second = node.inputs
    node.replace_input_with(0, second)
    node.replace_input_with(1, first)
    journal.did("operands-ordered")
    return True


def sum_to_adds(node: ir.Node, journal: Journal) -> bool:
    """Sum(a, b, c) -> (a + b) + c, in the order in which onnxruntime adds."""
    if len(node.inputs) < 2:
        return False
    total, output = node.inputs[0], node.outputs[0]
    for term in node.inputs[1:-1]:
        total = insert_before(node, "Add", [total, term], like=output)
    retype(node, "Add", [total, node.inputs[-1]])
    journal.did("sums")
    return True


def bound_to_clip(node: ir.Node, journal: Journal) -> bool:
    """Max(x, c) -> Clip(x, c, inf); Min(x, c) -> Clip(x, -inf, c), for a scalar c."""
    found = constant_operand(node)
    if found is None or found[1].size != 1 or not is_float(found[0]) or not same_shape(found[0], node.outputs[0]):
        return False
    bound = constant(node, found[1].reshape(()))
    retype(node, "Clip", [found[0], bound, None] if node.op_type == "Max" else [found[0], None, bound])
    journal.did("clips")
    return True


def normal_clip(node: ir.Node, journal: Journal) -> bool:
    """Clip and Relu in one form, chains merged: clip(clip(x, a, b), c, d) -> clip(x, max(a, c), min(b, d)).

    Clip(x, 0, inf) -> Relu(x); Clip(x, -inf, inf) -> x; every other Clip has two constant scalar bounds.
    """
    source, bounds = node.inputs[0], interval(node)
    if source is None or not is_float(source):
        return False
    if bounds is None:
        journal.declined("clip-not-constant", node, "A Clip with computed bounds keeps them.")
        return False
    inner = only_producer(source, "Relu", "Clip")
    inner_bounds = interval(inner) if inner is not None else None
    merged = None if inner_bounds is None else (max(bounds[0], inner_bounds[0]), min(bounds[1], inner_bounds[1]))
    if merged is not None and merged[0] <= merged[1]:
        assert inner is not None
        return _write_clip(node, inner.inputs[0], merged, journal)
    already = node.op_type == "Relu" or (
        bounds != (0, math.inf) and all(weight(operand(node, i)) is not None for i in (1, 2))
    )
    return False if already else _write_clip(node, source, bounds, journal)


def interval(node: ir.Node) -> tuple[float, float] | None:
    """The range that a Relu or Clip lets through, infinite where it is open; None where it is computed."""
    if node.op_type == "Relu":
        return 0.0, math.inf
    ends = []
    for index, missing in ((1, -math.inf), (2, math.inf)):
        value = operand(node, index)
        bound = missing if value is None else scalar(value)
        if bound is None:
            return None
        limit = np.finfo(np.float32).max
        ends.append(bound if abs(bound) < limit else math.copysign(math.inf, bound))
    return ends[0], ends[1]


def _write_clip(node: ir.Node, source: ir.Value | None, bounds: tuple[float, float], journal: Journal) -> bool:
    assert source is not None and source.dtype is not None
    journal.did("clips")
    if bounds == (-math.inf, math.inf):
        retype(node, "Identity", [source])
        bypass(node)
    elif bounds == (0.0, math.inf):
        retype(node, "Relu", [source])
    else:
        dtype = source.dtype.numpy()
        largest = float(np.finfo(dtype).max)
        ends = [constant(node, np.array(min(max(end, -largest), largest), dtype)) for end in bounds]
        retype(node, "Clip", [source, *ends])
    return True


def div_to_mul(node: ir.Node, journal: Journal) -> bool:
    """x / c -> x * (1 / c) for a constant c without zeros."""
    divisor = weight(operand(node, 1))
    if divisor is None or weight(node.inputs[0]) is not None or not is_float(node.inputs[0]) or not divisor.all():
        return False
    factor = (1.0 / divisor.astype(np.float64)).astype(divisor.dtype)
    if not np.isfinite(factor).all():
        return False
    retype(node, "Mul", [node.inputs[0], constant(node, factor)])
    journal.did("factors-merged")
    return True


def merge_factors(node: ir.Node, journal: Journal) -> bool:
    """(x * a) * b -> x * (a b), where a b is no larger than the larger of a and b."""
    outer = constant_operand(node)
    inner_node = only_producer(outer[0], "Mul") if outer is not None else None
    inner = constant_operand(inner_node) if inner_node is not None else None
    if outer is None or inner is None or not is_float(outer[0]):
        return False
    product = outer[1].astype(np.float64) * inner[1].astype(np.float64)
    if product.size > max(outer[1].size, inner[1].size):
        return False
    retype(node, "Mul", [inner[0], constant(node, product.astype(outer[1].dtype))])
    journal.did("factors-merged")
    return True


def inference_batch_norm(node: ir.Node, journal: Journal) -> bool:
    """BatchNormalization(training_mode = 1) -> 0: stored statistics, one output."""
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        journal.declined("batch-norm-statistics-used", node, "The batch statistics of a BatchNormalization are read.")
        return False
    training = node.attributes.get_int("training_mode", 0)
    if not training and len(node.outputs) == 1:
        return False
    if training:
        journal.declined(
            "training-batch-norm",
            node,
            "A BatchNormalization in training mode now uses its stored statistics.",
            "Export the model in inference mode to be sure that they are the trained ones.",
        )
        node.attributes["training_mode"] = ir.AttrInt64("training_mode", 0)
    node.resize_outputs(1)
    journal.did("batch-norms")
    return True
