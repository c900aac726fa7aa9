"""Recovers accuracy after a cut without labels or gradients: refits every layer behind it by least squares.

Layer by layer, in graph order, the weights are solved for that turn the *pruned* network's activations into the
*original* network's outputs (He, Zhang and Sun, Channel Pruning for Accelerating Very Deep Neural Networks, 2017). Each
layer so makes up for what the layers before it lost. Where the result is added to a shortcut, the sum is the goal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..analysis.channels import Channels
from ..analysis.channels.groups import Mask
from ..analysis.channels.shapes import with_shapes
from ..data import Data
from ..model.edit import set_weight, weight
from ..model.model import Model
from ..target import Progress, no_progress
from .layers import Layer, Unfit, changed_layers
from .sampling import normal_equations, pieces_of
from .stages import Feeds, StagedRun

Array = npt.NDArray[Any]
MAX_SAMPLES = 512


@dataclass(frozen=True)
class Fit:
    """One refitted layer (plain node name): its relative squared error on the samples before and after."""

    where: str
    before: float
    after: float


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """The refitted model, what was gained per layer, and what could not be refitted."""

    model: Model
    fits: tuple[Fit, ...]
    unfit: tuple[Unfit, ...]
    samples: int


def reconstruct(
    original: Model,
    pruned: Model,
    channels: Channels,
    removed: Mask,
    data: Data,
    *,
    samples: int = MAX_SAMPLES,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Reconstruction:
    """Refits the layers of `pruned`, which `cut(original, channels, removed)` made; labels are not used.

    At most `samples` samples are used, fewer when their activations would take too much memory.
    """
    original, result = with_shapes(original), with_shapes(pruned).clone()
    layers, unfit = changed_layers(result, channels, removed)
    pieces = pieces_of([original, result], data, samples, seed)
    if not pieces or not layers:
        return Reconstruction(result, (), tuple(unfit), 0)
    whole, rest = StagedRun(original, pieces), StagedRun(result, pieces)
    fits = []
    for number, layer in enumerate(layers):
        progress("Refitting layers", number / len(layers))
        keep = [layer.skip] if layer.skip else []
        whole.run_until(layer.position + 1, keep=[layer.result, *keep])
        rest.run_until(layer.position, keep=[layer.inputs, *keep])
        fit = _refit(layer, whole.values, rest.values, np.random.default_rng([seed, number]))
        if fit is None:
            unfit.append(Unfit(layer.node.name or layer.result, "not-finite"))
        else:
            fits.append(fit)
    count = sum(len(next(iter(piece.values()))) for piece in pieces)
    return Reconstruction(result, tuple(fits), tuple(unfit), count)


def _refit(layer: Layer, whole: list[Feeds], rest: list[Feeds], rng: np.random.Generator) -> Fit | None:
    """Solves one layer and writes its weight and bias; None when activations are not finite."""
    data = weight(layer.weight)
    assert data is not None  # an initializer
    start = layer.matrix(data)
    axis = 1 if layer.is_conv else -1
    goals = [np.compress(layer.outputs, before[layer.result], axis=axis) for before in whole]
    if layer.skip is not None:
        shortcuts = [np.compress(layer.outputs, before[layer.skip], axis=axis) for before in whole]
        goals = [goal + s - now[layer.skip] for goal, s, now in zip(goals, shortcuts, rest, strict=True)]
    equations = normal_equations(layer, [now[layer.inputs] for now in rest], goals, rng)
    bias = weight(layer.bias)
    old_bias = np.zeros(start.shape[::2]) if bias is None else _full(bias, start.shape[::2])
    weights, new_bias = equations.solve(start, with_bias=bias is not None)
    if not (np.isfinite(weights).all() and np.isfinite(new_bias).all()):
        return None
    set_weight(layer.weight, layer.unmatrix(weights, data))
    if layer.bias is not None and bias is not None:
        set_weight(layer.bias, new_bias.ravel().astype(bias.dtype))
    where = layer.node.name or layer.result
    return Fit(where, equations.error(start, old_bias), equations.error(weights, new_bias))


def _full(bias: Array, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    return np.broadcast_to(bias.ravel(), (int(np.prod(shape)),)).reshape(shape).astype(np.float64)
