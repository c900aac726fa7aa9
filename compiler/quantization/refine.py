"""Rounds the weights of a quantized network anew, layer by layer, by what each layer really sees.

In graph order, each layer gets the integers with which the *quantized* network's activations give the *original*
network's outputs most closely; so it also makes up for what the layers before it lost (Li et al., GPTAQ, 2025). Its
bias takes out the mean error that is left (Nagel et al., Data-Free Quantization, 2019, measured instead of derived).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..data import Data
from ..model.model import Model
from ..pruning.layers import MAX_INPUTS, Layer
from ..pruning.least_squares import NormalEquations, solve_masked
from ..pruning.sampling import normal_equations, pieces_of
from ..pruning.stages import StagedRun
from ..target import Progress, no_progress
from .operators import integer_attribute
from .qdq import Stored
from .rounding import Fit, Rounding
from .scales import quantize_weights

Floats = npt.NDArray[np.float64]
MAX_SAMPLES = 512
REDUNDANCY = 10.0  # rows of neighbouring positions, frames or windows that tell as much as one independent row


@dataclass(frozen=True)
class Refined:
    """One layer (plain node name): the relative squared error of its outputs before and after."""

    where: str
    before: float
    after: float


def refine(
    original: Model,
    quantized: Model,
    stored: Sequence[Stored],
    outputs: Mapping[ir.Node, str],
    data: Data,
    rounding: Rounding,
    *,
    correct: bool = True,
    seed: int = 0,
    progress: Progress = no_progress,
) -> list[Refined]:
    """Changes the integer weights and biases of `quantized` in place.

    `original` is the float model that it was made of, and `outputs` tells the name there of each operator's output, by
    node of the quantized graph. `correct`: weights and biases also make up for errors that are there already. Layers
    that sum over more than MAX_INPUTS inputs keep their integers. At most MAX_SAMPLES samples are used, fewer where
    their activations are large.
    """
    pieces = pieces_of([original, quantized], data, MAX_SAMPLES, seed)
    whole, rest = StagedRun(original, pieces), StagedRun(quantized, pieces)
    ends = {str(value.name): index for index, node in enumerate(original.graph) for value in node.outputs}
    places = {node: index for index, node in enumerate(quantized.graph)}
    found = []
    narrow = [each for each in stored if each.weight.size <= MAX_INPUTS * each.weight.shape[each.linear.axis]]
    narrow.sort(key=lambda each: places[each.linear.node])
    for number, each in enumerate(narrow):
        goals = [outputs[later.linear.node] for later in narrow[number:]]
        goal = goals[0]
        progress("rounding weights", number / len(narrow))
        dequantizer = each.dequantized.producer()
        assert dequantizer is not None
        layer = _layer(each, places[dequantizer], goal)  # it must not run before its integers are final
        rest.run_until(layer.position, keep=[layer.inputs])
        whole.run_until(max(ends[goal] + 1, whole.position), keep=goals)
        equations = normal_equations(
            layer,
            [values[layer.inputs] for values in rest.values],
            [values[goal] for values in whole.values],
            np.random.default_rng([seed, number]),
        )
        found.append(_round_anew(each, layer, equations, rounding, correct))
    return found


def _layer(stored: Stored, position: int, result: str) -> Layer:
    """The operator as a product in groups; `result` is the name of its output in the original model."""
    node, x = stored.linear.node, stored.linear.node.inputs[0]
    assert x is not None
    groups = integer_attribute(node, "group", 1) if node.op_type == "Conv" else 1
    every = np.ones(stored.weight.shape[stored.linear.axis], np.bool_)
    return Layer(position, node, str(x.name), result, stored.dequantized, None, groups, every, None)


def _round_anew(stored: Stored, layer: Layer, equations: NormalEquations, rounding: Rounding, correct: bool) -> Refined:
    axis, with_bias = stored.linear.axis, stored.bias is not None and correct
    start = layer.matrix(stored.weight)
    gram, cross = equations.centred() if with_bias else (equations.gram, equations.cross)
    aim = start
    if correct:
        noise, step = _noise(start, equations, with_bias), float(np.square(stored.found.scale).mean())
        aim = _aim(start, gram, cross, noise, step)
    fit = Fit(
        rounding,
        gram / equations.rows,
        equations.sum_a / equations.rows,
        (equations.sum_y / equations.rows).reshape(-1) if with_bias else None,
    )
    weights = layer.unmatrix(aim, stored.weight.astype(np.float64))
    result = stored.replaced(quantize_weights(weights, axis, stored.bias, stored.x, stored.formats, fit))
    errors = [_error(each, layer, equations) for each in (stored, result)]
    return Refined(str(stored.linear.node.name), *errors)


def _noise(start: Floats, equations: NormalEquations, with_bias: bool) -> float:
    """The variance of the outputs' error with the float weights: what quantized inputs alone do."""
    bias = equations.sum_y - np.einsum("gk,gkn->gn", equations.sum_a, start)
    bias = bias / equations.rows if with_bias else np.zeros_like(bias)
    return float(equations.error(start, bias) * equations.sum_yy / (equations.rows * bias.size))


def _aim(start: Floats, gram: Floats, cross: Floats, noise: float, step: float) -> Floats:
    """The real weights to round: those that make up for the error of the inputs, as far as it is worth it.

    Minimises |Y - A W|^2 / (REDUNDANCY * noise) + |W - start|^2 / (step / 12): the second term takes W to lie about as
    far from the float weights as rounding would move it anyway. So 4-bit weights adapt, and 8-bit weights hardly do,
    which keeps what the network computes on data unlike the samples. Zeros stay.
    """
    matrix = gram + np.maximum(REDUNDANCY * 12 * noise / step, np.finfo(np.float32).tiny) * np.eye(gram.shape[1])
    goal, free = cross - gram @ start, start != 0
    change = np.linalg.solve(matrix, goal) if free.all() else solve_masked(matrix, goal, np.zeros_like(start), free)
    aim: Floats = start + change
    return aim


def _error(stored: Stored, layer: Layer, equations: NormalEquations) -> float:
    """The relative squared error of the layer's outputs with its integers."""
    weights = layer.matrix(stored.found.real(stored.linear.axis))
    bias: Floats = np.zeros(weights.shape[::2])
    if stored.found.bias is not None:
        real = np.asarray(stored.found.bias * stored.found.bias_scale.astype(np.float64), np.float64)
        bias = real.reshape(bias.shape)
    return equations.error(weights, bias)
