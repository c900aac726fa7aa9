"""Goes through the layers of a network in graph order and solves each anew for what it should give.

Layer by layer, the weights are found that turn the *changed* network's activations into the *original* network's
outputs (He, Zhang and Sun, Channel Pruning for Accelerating Very Deep Neural Networks, 2017). Each layer so makes up
for what the layers before it lost. Where the result is added to a shortcut, the sum is the goal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..model.edit import set_weight, weight
from ..model.model import Model
from ..target import Progress, no_progress
from .layers import Layer, Unfit
from .least_squares import NormalEquations
from .sampling import normal_equations
from .stages import Feeds, StagedRun

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]

# (layer, its equations, its present weights [groups, k, n], whether it has a bias) -> (weights, bias [groups, n])
Solve = Callable[[Layer, NormalEquations, Floats, bool], tuple[Floats, Floats]]


@dataclass(frozen=True)
class Fit:
    """One refitted layer (plain node name): its relative squared error on the samples before and after."""

    where: str
    before: float
    after: float


def least_squares(layer: Layer, equations: NormalEquations, start: Floats, with_bias: bool) -> tuple[Floats, Floats]:
    """The `Solve` that fits all weights but the zeros."""
    return equations.solve(start, with_bias=with_bias)


def refit(
    original: Model,
    result: Model,
    layers: Sequence[Layer],
    pieces: Sequence[Feeds],
    *,
    solve: Solve = least_squares,
    seed: int = 0,
    progress: Progress = no_progress,
    what: str = "Refitting layers",
) -> tuple[list[Fit], list[Unfit]]:
    """Changes the weights of `layers` in `result`, in graph order; what could not be solved keeps its weights."""
    whole, rest = StagedRun(original, list(pieces)), StagedRun(result, list(pieces))
    fits, unfit = [], []
    for number, layer in enumerate(layers):
        progress(what, number / len(layers))
        keep = [layer.skip] if layer.skip else []
        whole.run_until(layer.position + 1, keep=[layer.result, *keep])
        rest.run_until(layer.position, keep=[layer.inputs, *keep])
        equations = _equations(layer, whole.values, rest.values, np.random.default_rng([seed, number]))
        fit = _solve_layer(layer, equations, solve)
        if fit is None:
            unfit.append(Unfit(layer.node.name or layer.result, "not-finite"))
        else:
            fits.append(fit)
    return fits, unfit


def _equations(layer: Layer, whole: list[Feeds], rest: list[Feeds], rng: np.random.Generator) -> NormalEquations:
    """Inputs of the changed network, outputs of the original one; a shortcut's loss is part of the goal."""
    axis = 1 if layer.is_conv else -1
    goals = [np.compress(layer.outputs, before[layer.result], axis=axis) for before in whole]
    if layer.skip is not None:
        shortcuts = [np.compress(layer.outputs, before[layer.skip], axis=axis) for before in whole]
        goals = [goal + s - now[layer.skip] for goal, s, now in zip(goals, shortcuts, rest, strict=True)]
    return normal_equations(layer, [now[layer.inputs] for now in rest], goals, rng)


def _solve_layer(layer: Layer, equations: NormalEquations, solve: Solve) -> Fit | None:
    """Solves one layer and writes its weight and bias; None when activations are not finite."""
    data = weight(layer.weight)
    assert data is not None  # an initializer
    start = layer.matrix(data)
    bias = weight(layer.bias)
    old_bias = np.zeros(start.shape[::2]) if bias is None else _full(bias, start.shape[::2])
    weights, new_bias = solve(layer, equations, start, bias is not None)
    if not (np.isfinite(weights).all() and np.isfinite(new_bias).all()):
        return None
    set_weight(layer.weight, layer.unmatrix(weights, data))
    if layer.bias is not None and bias is not None:
        set_weight(layer.bias, new_bias.ravel().astype(bias.dtype))
    where = layer.node.name or layer.result
    return Fit(where, equations.error(start, old_bias), equations.error(weights, new_bias))


def _full(bias: Array, shape: tuple[int, ...]) -> Floats:
    return np.broadcast_to(bias.ravel(), (int(np.prod(shape)),)).reshape(shape).astype(np.float64)
