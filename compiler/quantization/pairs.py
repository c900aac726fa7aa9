"""Pairs of layers between which scale may move: the network then computes the same with other weights.

Between layer 1, a positively homogeneous function f (Relu, pooling, nothing) and layer 2, for any s > 0:

    W2 f(W1 x + b1)  =  (W2 S) f(S^-1 W1 x + S^-1 b1)        since f(y / s) = f(y) / s

Nagel et al., Data-Free Quantization, ICCV 2019, section 4.1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..model.edit import fresh_name, replace_initializer, weight
from ..model.match import dims, sole_use
from .operators import Linear, integer_attribute

Array = npt.NDArray[Any]

HOMOGENEOUS = ("Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")


@dataclass(frozen=True, eq=False)
class Pair:
    """Two layers whose channels correspond one to one, and the values from the one to the other; `factors` is S."""

    first: Linear
    second: Linear
    between: tuple[ir.Value, ...]
    factors: npt.NDArray[np.float64]

    @property
    def spread(self) -> float:
        """The largest factor over the smallest, of channels that have one (dead ones keep 1)."""
        moved = self.factors[self.factors != 1]
        return float(moved.max() / moved.min()) if len(moved) else 1.0


def find_pairs(linears: Sequence[Linear]) -> list[Pair]:
    """The pairs of layers with nothing but homogeneous functions between them, in graph order."""
    by_input = {each.inputs[0]: each for each in linears}
    pairs = []
    for first in linears:
        channels = _output_channels(first)
        value: ir.Value | None = first.output
        between = []
        while value is not None and (use := sole_use(value)) is not None:
            between.append(value)
            second = by_input.get(value)
            if second is not None and second.node is use[0]:
                if _input_channels(second) == channels:
                    pairs.append(Pair(first, second, tuple(between), np.ones(channels)))
                break
            value = use[0].outputs[0] if _keeps_channels(use[0], channels) else None
    return pairs


def rescale(graph: ir.Graph, pairs: Sequence[Pair]) -> None:
    """Divides what the first layers give by the factors, and multiplies the weights of the second ones, in place.

    Values between the two layers mean something else then, and get new names.
    """
    weights = float_weights(each for pair in pairs for each in (pair.first, pair.second))
    for pair in pairs:
        rows, columns = by_output(pair.first, weights), by_input(pair.second, weights)
        rows /= pair.factors.reshape(-1, *[1] * (rows.ndim - 1))
        columns *= pair.factors.reshape(-1, *[1] * (columns.ndim - 1))
    for node, array in weights.items():
        replace_initializer(graph, node, 1, array.astype(np.float32))
    for pair in pairs:
        bias, holder = weight(pair.first.bias), pair.first.bias_node or pair.first.node
        if bias is not None:
            index = list(holder.inputs).index(pair.first.bias)
            scaled = np.asarray(bias, np.float64).reshape(-1) / pair.factors
            replace_initializer(graph, holder, index, scaled.astype(np.float32))
        for value in pair.between if (pair.factors != 1).any() else ():
            value.name = fresh_name(graph)


def float_weights(linears: Iterable[Linear]) -> dict[ir.Node, Array]:
    """Copies of the layers' weights in float64, to be changed."""
    return {each.node: np.array(weight(each.weight), np.float64) for each in linears}


def _keeps_channels(node: ir.Node, channels: int) -> bool:
    """Whether a node is homogeneous, and channel c of its output depends on channel c of its input alone."""
    if node.op_type in ("Reshape", "Flatten"):
        return (dims(node.outputs[0]) or ())[1:] == (channels,)
    return node.op_type in HOMOGENEOUS


def _shape(linear: Linear) -> tuple[int, ...]:
    array = weight(linear.weight)
    assert array is not None  # by what makes an operator linear
    return array.shape


def _group(linear: Linear) -> int:
    return integer_attribute(linear.node, "group", 1) if linear.node.op_type == "Conv" else 1


def _is_depthwise(linear: Linear) -> bool:
    return linear.node.op_type == "Conv" and _shape(linear)[1] == 1 and _shape(linear)[0] == _group(linear)


def _output_channels(linear: Linear) -> int:
    return _shape(linear)[linear.axis]


def _input_channels(linear: Linear) -> int:
    """The number of input channels; 0 for grouped convolutions other than depthwise ones, which are left alone."""
    if _is_depthwise(linear):
        return _shape(linear)[0]
    return _shape(linear)[1 - linear.axis] if _group(linear) == 1 else 0


def by_output(linear: Linear, weights: Mapping[ir.Node, Array]) -> Array:
    """A view of a layer's weights with its output channels first."""
    return np.moveaxis(weights[linear.node], linear.axis, 0)


def by_input(linear: Linear, weights: Mapping[ir.Node, Array]) -> Array:
    """A view of a layer's weights with its input channels first."""
    return np.moveaxis(weights[linear.node], 0 if _is_depthwise(linear) else 1 - linear.axis, 0)
