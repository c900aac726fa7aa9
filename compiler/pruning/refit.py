"""Goes through the layers of a network in graph order and solves each anew for what it should give.

Layer by layer, the weights are found that turn the *changed* network's activations into the *original* network's
outputs (He, Zhang and Sun, Channel Pruning for Accelerating Very Deep Neural Networks, 2017). Each layer so makes up
for what the layers before it lost. Where the result is added to a shortcut, the sum is the goal.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..analysis.channels.trace import key
from ..model.edit import set_weight, weight
from ..model.model import Model
from ..target import Progress, no_progress
from .clipped import floors
from .layers import Layer, Unfit
from .least_squares import NormalEquations
from .recurrent import RecurrentLayer, refit_recurrent
from .sampling import normal_equations
from .stages import Feeds, StagedRun

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
ROUNDS = 3  # for layers that share a weight

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
    layers: Sequence[Layer | RecurrentLayer],
    pieces: Sequence[Feeds],
    *,
    solve: Solve = least_squares,
    seed: int = 0,
    progress: Progress = no_progress,
    what: str = "Refitting layers",
) -> tuple[list[Fit], list[Unfit]]:
    """Changes the weights of `layers` in `result`, in graph order; what could not be solved keeps its weights.

    Layers that share their weight are solved together, when the last of them is reached.
    """
    walk = _Walk(original, result, pieces, seed)
    to_come = Counter(layer.weight for layer in layers if isinstance(layer, Layer))
    alike: dict[ir.Value, list[_Use]] = defaultdict(list)
    found: list[Fit | Unfit] = []
    for number, layer in enumerate(layers):
        progress(what, number / len(layers))
        if isinstance(layer, RecurrentLayer):
            found.append(walk.refit_states(layer))
        else:
            uses = alike[layer.weight]
            uses.append(walk.use(layer, number))
            if len(uses) < to_come[layer.weight]:
                continue
            found.append(walk.solve_one(uses[0], solve) if len(uses) == 1 else walk.solve_together(uses, solve))
            del alike[layer.weight]
    return [one for one in found if isinstance(one, Fit)], [one for one in found if isinstance(one, Unfit)]


@dataclass(frozen=True, eq=False)
class _Use:
    """One layer, its equations, and what the original network gives for it and for its shortcut, piece by piece."""

    layer: Layer
    equations: NormalEquations
    number: int
    wanted: list[Feeds]

    @property
    def where(self) -> str:
        return self.layer.node.name or self.layer.result


class _Walk:
    """The original and the changed network, run in step as far as the present layer."""

    def __init__(self, original: Model, result: Model, pieces: Sequence[Feeds], seed: int) -> None:
        self.result, self.pieces, self.seed = result, list(pieces), seed
        self.whole, self.rest = StagedRun(original, self.pieces), StagedRun(result, self.pieces)

    def use(self, layer: Layer, number: int) -> _Use:
        """Runs both networks up to a layer and writes down its equations."""
        names = [layer.result, *([layer.skip] if layer.skip else [])]
        self.whole.run_until(layer.position + 1, keep=names)
        wanted = [{name: values[name] for name in names} for values in self.whole.values]
        return _Use(layer, self.equations(layer, number, wanted), number, wanted)

    def equations(self, layer: Layer, number: int, wanted: list[Feeds]) -> NormalEquations:
        """Inputs of the changed network, outputs of the original one; a shortcut's loss is part of the goal."""
        self.rest.run_until(layer.position, keep=[layer.inputs, *([layer.skip] if layer.skip else [])])
        goals = [_left(layer, before[layer.result]) for before in wanted]
        if layer.skip is not None:
            losses = [
                _left(layer, before[layer.skip]) - now[layer.skip]
                for before, now in zip(wanted, self.rest.values, strict=True)
            ]
            goals = [goal + loss for goal, loss in zip(goals, losses, strict=True)]
        rng = np.random.default_rng([self.seed, number])
        inputs = [now[layer.inputs] for now in self.rest.values]
        return normal_equations(layer, inputs, goals, rng, floors(layer, self.rest.values))

    def solve_one(self, use: _Use, solve: Solve) -> Fit | Unfit:
        errors = _solve_layer(use.layer, use.equations, solve)
        return Unfit(use.where, "not-finite") if errors is None else Fit(use.where, *errors)

    def solve_together(self, uses: Sequence[_Use], solve: Solve) -> Fit | Unfit:
        """One weight for several layers. They may lie behind each other, so what one round gives is measured on a new
        run, which the next round starts from; the best round counts."""
        layer, where = uses[0].layer, uses[0].where
        equations = NormalEquations.together([use.equations for use in uses])
        before = best = _present_error(layer, equations)
        saved = weight(layer.weight), weight(layer.bias)
        for _ in range(ROUNDS):
            if _solve_layer(layer, equations, solve) is None:
                return Unfit(where, "not-finite")
            self.restart()
            again = [self.equations(use.layer, use.number, use.wanted) for use in uses]
            equations = NormalEquations.together(again)
            error = _present_error(layer, equations)
            if error < best:
                best, saved = error, (weight(layer.weight), weight(layer.bias))
        for value, data in zip((layer.weight, layer.bias), saved, strict=True):
            if value is not None and data is not None:
                set_weight(value, data)
        self.restart()
        return Fit(where, before, best) if best < before else Unfit(where, "no-gain")

    def restart(self) -> None:
        """The changed network from its inputs on, as weights that were used already have changed."""
        self.rest = StagedRun(self.result, self.pieces)

    def refit_states(self, layer: RecurrentLayer) -> Fit | Unfit:
        where = layer.node.name or key(layer.node)
        for run in (self.whole, self.rest):
            run.run_until(layer.position, keep=layer.reads)
        original = self.whole.nodes[layer.position]
        errors = refit_recurrent(layer, original, self.whole.values, self.rest.values)
        if errors is None:
            return Unfit(where, "not-finite")
        return Fit(where, *errors) if errors[1] < errors[0] else Unfit(where, "no-gain")


def _left(layer: Layer, array: Array) -> Array:
    """The positions of an original value that are left in the changed network."""
    for axis, mask in layer.kept.items():
        array = np.compress(mask, array, axis=axis)
    return array


def _solve_layer(layer: Layer, equations: NormalEquations, solve: Solve) -> tuple[float, float] | None:
    """Solves a layer and writes its weight and bias. Its errors before and after; None when values are not finite."""
    data = weight(layer.weight)
    assert data is not None  # an initializer
    start, bias = layer.matrix(data), weight(layer.bias)
    weights, new_bias = solve(layer, equations, start, bias is not None)
    if not (np.isfinite(weights).all() and np.isfinite(new_bias).all()):
        return None
    before = equations.error(start, _goal_bias(layer, start))
    set_weight(layer.weight, layer.unmatrix(weights, data))
    if layer.bias is not None and bias is not None:
        total = new_bias.ravel() + (bias.ravel() if layer.bias_follows else 0.0)
        set_weight(layer.bias, total.reshape(bias.shape if bias.size == total.size else -1).astype(bias.dtype))
    return before, equations.error(weights, new_bias)


def _present_error(layer: Layer, equations: NormalEquations) -> float:
    data = weight(layer.weight)
    assert data is not None  # an initializer
    matrix = layer.matrix(data)
    return equations.error(matrix, _goal_bias(layer, matrix))


def _goal_bias(layer: Layer, matrix: Floats) -> Floats:
    """The bias [groups, n] as far as the layer's result holds it."""
    bias = None if layer.bias_follows else weight(layer.bias)
    shape = matrix.shape[::2]
    return np.zeros(shape) if bias is None else _full(bias, shape)


def _full(bias: Array, shape: tuple[int, ...]) -> Floats:
    return np.broadcast_to(bias.ravel(), (int(np.prod(shape)),)).reshape(shape).astype(np.float64)
