"""Cross-layer equalisation: moves scale between two layers so that one scale per tensor suits all their channels.

Between layer 1, a positively homogeneous function f (Relu, pooling, nothing) and layer 2, for any s > 0:

    W2 f(W1 x + b1)  =  (W2 S) f(S^-1 W1 x + S^-1 b1)        since f(y / s) = f(y) / s

s_c = sqrt(r1_c / r2_c), with r1_c and r2_c the largest weights of channel c in both layers, makes their ranges equal.
Nagel et al., Data-Free Quantization, ICCV 2019, section 4.1. Pointless with one scale per channel.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..model.edit import replace_initializer, weight
from ..model.match import dims, sole_use
from ..model.rewrite import retype
from .operators import Linear, bounds, integer_attribute

Array = npt.NDArray[Any]

SWEEPS = 20
LIMIT = 2.0**13  # of one channel's factor: nearly dead channels must not blow up
HOMOGENEOUS = ("Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool")


@dataclass(frozen=True, eq=False)
class Pair:
    """Two layers whose channels correspond one to one; `factors` is S so far."""

    first: Linear
    second: Linear
    factors: npt.NDArray[np.float64]


def equalise(graph: ir.Graph, linears: Sequence[Linear]) -> int:
    """Equalises all pairs of neighbouring layers in place; returns how many there are."""
    pairs = find_pairs(linears)
    weights = {each.node: np.array(weight(each.weight), np.float64) for each in linears}
    for _ in range(SWEEPS):
        for pair in pairs:
            _balance(pair, _by_output(pair.first, weights), _by_input(pair.second, weights))
    for node in {each.node: None for pair in pairs for each in (pair.first, pair.second)}:
        replace_initializer(graph, node, 1, weights[node].astype(np.float32))
    for pair in pairs:
        bias, holder = weight(pair.first.bias), pair.first.bias_node or pair.first.node
        if bias is not None:
            index = list(holder.inputs).index(pair.first.bias)
            scaled = np.asarray(bias, np.float64).reshape(-1) / pair.factors
            replace_initializer(graph, holder, index, scaled.astype(np.float32))
    return len(pairs)


def relax_clips(linears: Sequence[Linear]) -> int:
    """Turns ReLU6 and its like behind linear layers into Relu, in place; returns how many there were.

    A bound is not homogeneous, so nothing can be equalised across it. Without it the network computes something else
    where the bound is reached (Nagel et al., section 5.1.1, find that to be harmless); the caller measures that.
    """
    relaxed = 0
    for linear in linears:
        use = sole_use(linear.output)
        if use is not None and use[0].op_type == "Clip" and bounds(use[0])[0] == 0 and bounds(use[0])[1] > 0:
            retype(use[0], "Relu", [linear.output])
            relaxed += 1
    return relaxed


def _balance(pair: Pair, first: Array, second: Array) -> None:
    """Gives both layers the same range in every channel; arrays have the channels first and change in place."""
    ranges = [np.abs(rows).reshape(len(rows), -1).max(axis=1) for rows in (first, second)]
    alive = (ranges[0] > 0) & (ranges[1] > 0)
    ideal = np.sqrt(np.divide(ranges[0], ranges[1], out=np.ones(len(alive)), where=alive))
    step = np.clip(pair.factors * ideal, 1 / LIMIT, LIMIT) / pair.factors
    pair.factors[:] *= step
    first /= step.reshape(-1, *[1] * (first.ndim - 1))
    second *= step.reshape(-1, *[1] * (second.ndim - 1))


def find_pairs(linears: Sequence[Linear]) -> list[Pair]:
    """The pairs of layers with nothing but homogeneous functions between them, in graph order."""
    by_input = {each.inputs[0]: each for each in linears}
    pairs = []
    for first in linears:
        channels = _output_channels(first)
        value: ir.Value | None = first.output
        while value is not None and (use := sole_use(value)) is not None:
            second = by_input.get(value)
            if second is not None and second.node is use[0]:
                if _input_channels(second) == channels:
                    pairs.append(Pair(first, second, np.ones(channels)))
                break
            value = use[0].outputs[0] if _keeps_channels(use[0], channels) else None
    return pairs


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


def _by_output(linear: Linear, weights: dict[ir.Node, Array]) -> Array:
    return np.moveaxis(weights[linear.node], linear.axis, 0)


def _by_input(linear: Linear, weights: dict[ir.Node, Array]) -> Array:
    return np.moveaxis(weights[linear.node], 0 if _is_depthwise(linear) else 1 - linear.axis, 0)
