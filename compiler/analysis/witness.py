"""onnxruntime as a witness of the integer graph: two readings of one QDQ model, layer by layer.

The reference in `integer/ops.py` defines the results; onnxruntime, which never saw it, must come to the same. Each
layer is fed onnxruntime's own integers, so a difference belongs to that layer alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import Data
from ..executor import Session
from ..integer import graph as ir
from ..integer import ops
from ..model.model import Model
from .parity import compare

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class LayerWitness:
    """One integer tensor that onnxruntime shows too. Fractions are of all elements."""

    op: str
    kind: str
    tensor: str
    elements: int
    equal: float
    within_one: float
    max_difference: int


@dataclass(frozen=True)
class Witness:
    """All layers, and the two models end to end on the first graph output."""

    layers: tuple[LayerWitness, ...]
    agreement: float  # share of samples with the same argmax
    equal_outputs: float  # share of equal elements

    @property
    def equal(self) -> float:
        """The fraction of equal elements over all layers together."""
        elements = sum(layer.elements for layer in self.layers)
        return sum(layer.equal * layer.elements for layer in self.layers) / elements if elements else 1.0

    @property
    def worst_equal(self) -> float:
        """The smallest fraction of equal elements over the layers."""
        return min((layer.equal for layer in self.layers), default=1.0)

    @property
    def worst_within_one(self) -> float:
        """The smallest fraction of elements within one step over the layers."""
        return min((layer.within_one for layer in self.layers), default=1.0)

    @property
    def max_difference(self) -> int:
        """The largest difference over the layers, in steps."""
        return max((layer.max_difference for layer in self.layers), default=0)


def witness(model: Model, graph: ir.Graph, data: Data) -> Witness:
    """Compares a QDQ model in onnxruntime (all optimisations on) with the integer graph that was read from it.

    Tensors that onnxruntime does not show (inside a fused operator) are computed from the ones that it does.
    """
    computed = {str(value.name) for node in model.graph for value in node.outputs}
    fetch = [name for name in graph.tensors if name in computed]
    theirs = Session(model, list(dict.fromkeys([*fetch, *graph.outputs]))).run(data.inputs)
    values: dict[str, Array] = {**{name: data.inputs[name] for name in graph.inputs}, **theirs}
    layers = []
    for op in graph.ops:
        results = ops.evaluate(graph, op, tuple(values[name] for name in op.inputs))
        for tensor, ours in zip(op.outputs, results, strict=True):
            if tensor not in theirs:
                values[tensor] = ours
            elif graph.tensors[tensor].quant is not None:
                layers.append(_layer(op, tensor, ours, theirs[tensor]))
    output = graph.outputs[0]
    ours = ops.run(graph, {name: data.inputs[name] for name in graph.inputs})[output]
    agreement = compare(theirs[output], ours).agreement
    return Witness(tuple(layers), agreement, float(np.mean(ours == theirs[output])))


def _layer(op: ir.Op, tensor: str, ours: Array, theirs: Array) -> LayerWitness:
    difference = np.abs(ours.astype(np.int64) - theirs.astype(np.int64))
    return LayerWitness(
        op=op.name,
        kind=op.kind,
        tensor=tensor,
        elements=difference.size,
        equal=float(np.mean(difference == 0)),
        within_one=float(np.mean(difference <= 1)),
        max_difference=int(difference.max(initial=0)),
    )
