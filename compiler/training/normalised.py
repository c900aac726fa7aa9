"""Batch normalisation for the time of training: put behind convolutions that have none, and folded back afterwards.

A deployed network has its normalisation folded into weights, and trains worse than it did with it (Ioffe and Szegedy,
Batch Normalization, 2015). What is put in here changes nothing at first: its scale and shift are the deviation and the
mean of what it normalises.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..data import Data
from ..executor import Session
from ..model.edit import fresh_name, infer_shapes, make_initializer, set_weight, weight
from ..model.match import is_float, is_op, operand
from ..model.model import Model

EPSILON = 1e-5
MEASURED = 512  # samples, at most, for the first statistics


@dataclass(frozen=True, eq=False)
class Normalised:
    """A model with batch normalisation put in; `nodes` are the plain names of those nodes."""

    model: Model
    nodes: tuple[str, ...]

    def folded(self, trained: Model) -> Model:
        """The model without them, from what they and the weights have become; zeros of the weights stay."""
        model = trained.clone()
        for node in [node for node in model.graph if node.name in self.nodes]:
            _fold(model.graph, node)
        return model


def with_batch_norm(model: Model, data: Data, trained: Collection[str]) -> Normalised:
    """Batch normalisation behind every convolution whose float weight is among `trained` (plain names) and its own.

    None is put where there is one already, and none in front of an output: logits keep their scale. The normalised
    value takes the convolution's name over, so that whoever looks at it sees what the network goes on with.
    """
    found = model.clone()
    convolutions = [node for node in found.graph if _lacks_one(node, trained)]
    values = [node.outputs[0].name or "" for node in convolutions]
    if not values:
        return Normalised(model, ())
    measured = Session(found, values).run(data.first(MEASURED).inputs)
    nodes = tuple(_insert(found, node, measured[value]) for node, value in zip(convolutions, values, strict=True))
    infer_shapes(found)
    return Normalised(found, nodes)


def _lacks_one(node: ir.Node, trained: Collection[str]) -> bool:
    if not is_op(node, "Conv") or node.outputs[0].is_graph_output():
        return False
    kernel, bias, readers = operand(node, 1), operand(node, 2), [use.node for use in node.outputs[0].uses()]
    own = all(
        each is None or (each.is_initializer() and is_float(each) and each.name in trained and len(each.uses()) == 1)
        for each in (kernel, bias)
    )
    return own and bool(readers) and not any(is_op(reader, "BatchNormalization") for reader in readers)


def _insert(model: Model, node: ir.Node, found: np.ndarray) -> str:
    """Puts one behind a convolution that gave these values [n, channels, ...]; its name."""
    graph, old = model.graph, node.outputs[0]
    axes = tuple(axis for axis in range(found.ndim) if axis != 1)
    mean, variance = (statistic(axis=axes, dtype=np.float64) for statistic in (found.mean, found.var))
    arrays = (np.sqrt(variance + EPSILON), mean, mean, variance)
    weights = [make_initializer(graph, fresh_name(model), array.astype(found.dtype)) for array in arrays]
    norm = ir.node("BatchNormalization", [old, *weights], {"epsilon": EPSILON}, name=fresh_name(model, "n"))
    new = norm.outputs[0]
    new.shape, new.type = old.shape, old.type
    old.replace_all_uses_with(new)
    norm.replace_input_with(0, old)
    new.name, old.name = old.name, fresh_name(model)
    graph.insert_after(node, norm)
    return norm.name or ""


def _fold(graph: ir.Graph, norm: ir.Node) -> None:
    """gamma (W x + b - mean) / sqrt(variance + epsilon) + beta as another W x + b, in float64, rounded once."""
    gamma, beta, mean, variance = (_wide(norm, index) for index in range(1, 5))
    old, new = norm.inputs[0], norm.outputs[0]
    node = old.producer() if old is not None else None
    assert old is not None and node is not None  # a convolution, as it was put in
    scale = gamma / np.sqrt(variance + EPSILON)
    kernel, bias = operand(node, 1), operand(node, 2)
    w, b = weight(kernel), weight(bias)
    assert kernel is not None and w is not None
    set_weight(kernel, (w.astype(np.float64) * scale.reshape(-1, *[1] * (w.ndim - 1))).astype(w.dtype))
    shift = beta - mean * scale + (0 if b is None else b.astype(np.float64) * scale)
    if bias is None:
        node.resize_inputs(3)
        node.replace_input_with(2, make_initializer(graph, fresh_name(graph), shift.astype(w.dtype)))
    else:
        set_weight(bias, shift.astype(w.dtype))
    name, settings = new.name, norm.inputs[1:]
    new.replace_all_uses_with(old)
    graph.remove(norm, safe=True)
    old.name = name
    for each in settings:
        graph.initializers.pop((each and each.name) or "", None)


def _wide(node: ir.Node, index: int) -> np.ndarray:
    found = weight(operand(node, index))
    assert found is not None
    return found.astype(np.float64)
