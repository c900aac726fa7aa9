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
from .layers import Layer, Unfit, changed_layers, spatial_attributes
from .least_squares import NormalEquations, patches
from .stages import Feeds, StagedRun, peak_bytes

Array = npt.NDArray[Any]
MAX_SAMPLES = 512
MAX_LIVE_BYTES = 1 << 30  # of activations, over both networks and all samples
MAX_ROWS = 16384  # per layer
MAX_OPERATIONS = 5e10  # for one layer's normal matrix, unless it needs more to be determined
PIECE = 16  # samples that run together


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

    At most `samples` samples are used, fewer when their activations would not fit into MAX_LIVE_BYTES.
    """
    original, result = with_shapes(original), with_shapes(pruned).clone()
    layers, unfit = changed_layers(result, channels, removed)
    pieces = _pieces(original, result, data, samples, seed)
    if not pieces or not layers:
        return Reconstruction(result, (), tuple(unfit), 0)
    whole, rest = StagedRun(original, pieces), StagedRun(result, pieces)
    fits = []
    for number, layer in enumerate(layers):
        progress("Refitting layers", number / len(layers))
        keep = [layer.skip] if layer.skip else []
        whole.run_until(layer.position + 1, keep=[layer.result, *keep])
        rest.run_until(layer.position, keep=[layer.inputs, *keep])
        fits.append(_refit(layer, whole.values, rest.values, np.random.default_rng([seed, number])))
    count = sum(len(next(iter(piece.values()))) for piece in pieces)
    return Reconstruction(result, tuple(fits), tuple(unfit), count)


def _pieces(original: Model, pruned: Model, data: Data, samples: int, seed: int) -> list[Feeds]:
    """Seeded samples, in pieces of the model's batch where that is fixed."""
    afford = MAX_LIVE_BYTES // max(peak_bytes(original) + peak_bytes(pruned), 1)
    count = min(len(data), samples, max(int(afford), 1))
    first = original.graph.inputs[0].shape
    fixed = first[0] if first is not None and first.rank() and isinstance(first[0], int) else None
    chosen = data.take(np.sort(np.random.default_rng(seed).permutation(len(data))[:count]))
    pieces = list(chosen.batches(fixed or PIECE))
    return [piece for piece in pieces if fixed is None or len(next(iter(piece.values()))) == fixed]


def _refit(layer: Layer, whole: list[Feeds], rest: list[Feeds], rng: np.random.Generator) -> Fit:
    """Solves one layer and writes its weight and bias."""
    data = weight(layer.weight)
    assert data is not None  # an initializer
    start = layer.matrix(data)
    equations = NormalEquations()
    for before, now in zip(whole, rest, strict=True):
        goal = np.compress(layer.outputs, before[layer.result], axis=1 if layer.is_conv else -1)
        if layer.skip is not None:
            shortcut = before[layer.skip]
            goal = goal + np.compress(layer.outputs, shortcut, axis=1 if layer.is_conv else -1) - now[layer.skip]
        wanted = _rows_per_piece(start.shape[1] * start.shape[0], start.shape[1], len(whole))
        equations.add(*_rows(layer, now[layer.inputs], goal, data.shape, wanted, rng))
    bias = weight(layer.bias)
    old_bias = np.zeros(start.shape[::2]) if bias is None else _full(bias, start.shape[::2])
    weights, new_bias = equations.solve(start, with_bias=bias is not None)
    set_weight(layer.weight, layer.unmatrix(weights, data))
    if layer.bias is not None and bias is not None:
        set_weight(layer.bias, new_bias.ravel().astype(bias.dtype))
    where = layer.node.name or layer.result
    return Fit(where, equations.error(start, old_bias), equations.error(weights, new_bias))


def _full(bias: Array, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    return np.broadcast_to(bias.ravel(), (int(np.prod(shape)),)).reshape(shape).astype(np.float64)


def _rows_per_piece(columns: int, inner: int, pieces: int) -> int:
    """Enough rows to determine `inner` unknowns twice over, and more while they are cheap."""
    affordable = int(MAX_OPERATIONS / max(columns * inner, 1))
    return max(1, max(2 * inner, min(MAX_ROWS, affordable)) // pieces)


def _rows(
    layer: Layer, x: Array, goal: Array, shape: tuple[int, ...], wanted: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Inputs [rows, groups, k] and outputs [rows, groups, n] at seeded output positions."""
    if not layer.is_conv:
        a, y = x.reshape(-1, x.shape[-1]), goal.reshape(-1, goal.shape[-1])
        chosen = _choose(len(a), wanted, rng)
        return a[chosen][:, None], y[chosen][:, None]
    kernel, out = shape[2:], goal.shape[2:]
    places = np.stack(np.unravel_index(_choose(len(goal) * int(np.prod(out)), wanted, rng), (len(goal), *out)))
    a = patches(x, places, kernel, **spatial_attributes(layer.node, kernel, x.shape[2:], out))
    y = np.moveaxis(goal, 1, -1)[tuple(places)]
    return a.reshape(len(a), layer.groups, -1), y.reshape(len(y), layer.groups, -1)


def _choose(count: int, wanted: int, rng: np.random.Generator) -> Array:
    if wanted >= count:
        return np.arange(count)
    return np.sort(rng.choice(count, wanted, replace=False))
