"""Cross-layer equalisation: moves scale between two layers so that one scale per tensor suits all their channels.

s_c = sqrt(r1_c / r2_c), with r1_c and r2_c the largest weights of channel c in both layers, makes their ranges equal.
Nagel et al., Data-Free Quantization, ICCV 2019, section 4.1. Half of the way, sqrt(s_c), may be better: activations may
lose what weights gain (so migrate Xiao et al., SmoothQuant, 2023, with a strength).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..model.match import sole_use
from ..model.rewrite import retype
from .operators import Linear, bounds
from .pairs import Pair, by_input, by_output, find_pairs, float_weights, rescale

Array = npt.NDArray[Any]

SWEEPS = 20
LIMIT = 2.0**13  # of one channel's factor: nearly dead channels must not blow up


def equalise(graph: ir.Graph, linears: Sequence[Linear], strength: float = 1.0) -> list[Pair]:
    """Equalises all pairs of neighbouring layers in place; returns them with the factors that were moved.

    strength: the power that the factors are raised to; 1 makes ranges equal, 0 changes nothing.
    """
    pairs = find_pairs(linears)
    weights = float_weights(linears)
    for _ in range(SWEEPS):
        for pair in pairs:
            _balance(pair, by_output(pair.first, weights), by_input(pair.second, weights))
    for pair in pairs:
        pair.factors[:] **= strength
    rescale(graph, pairs)
    return pairs


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
