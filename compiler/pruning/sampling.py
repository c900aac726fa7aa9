"""Turns activations into the rows of a layer's least-squares problem, at seeded places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import Data
from ..model.model import Model
from .layers import Layer, spatial_attributes
from .least_squares import NormalEquations, patches
from .stages import Feeds, peak_bytes

Array = npt.NDArray[Any]
MAX_LIVE_BYTES = 1 << 30  # of activations, over all networks that run side by side and all samples
MAX_ROWS = 16384  # per layer
MAX_OPERATIONS = 2e10  # for one layer's normal matrix, unless it needs more to be determined
PIECE = 16  # samples that run together


def pieces_of(models: Sequence[Model], data: Data, samples: int, seed: int) -> list[Feeds]:
    """The samples of `choose`, in its pieces."""
    chosen, piece = choose(models, data, samples, seed)
    return list(chosen.batches(piece))


def choose(models: Sequence[Model], data: Data, samples: int, seed: int) -> tuple[Data, int]:
    """(at most `samples` seeded samples, in their order; how many run together).

    They are as many as fit into MAX_LIVE_BYTES when all `models` run on them. Pieces have the model's batch where that
    is fixed, and PIECE samples otherwise.
    """
    afford = MAX_LIVE_BYTES // max(sum(map(peak_bytes, models)), 1)
    count = min(len(data), samples, max(int(afford), 1))
    fixed = fixed_batch(models[0])
    count -= count % fixed if fixed else 0
    chosen = data.take(np.sort(np.random.default_rng(seed).permutation(len(data))[:count]))
    return chosen, fixed or PIECE


def fixed_batch(model: Model) -> int | None:
    """The number of samples that a model takes at a time; None where any will do."""
    first = model.graph.inputs[0].shape
    return first[0] if first is not None and first.rank() and isinstance(first[0], int) else None


def normal_equations(
    layer: Layer, inputs: Sequence[Array], outputs: Sequence[Array], rng: np.random.Generator
) -> NormalEquations:
    """The problem of a layer from its inputs and the wanted outputs, piece by piece."""
    equations = NormalEquations()
    columns, inner = layer.groups * layer.inner, layer.inner
    affordable = int(MAX_OPERATIONS / max(columns * inner, 1))
    wanted = max(2 * inner, min(MAX_ROWS, affordable)) // len(inputs)
    for x, goal in zip(inputs, outputs, strict=True):
        equations.add(*_rows(layer, x, goal, max(wanted, 1), rng))
    return equations


def _rows(layer: Layer, x: Array, goal: Array, wanted: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Inputs [rows, groups, k] and outputs [rows, groups, n] at seeded output positions."""
    if not layer.is_conv:
        a, y = x.reshape(-1, x.shape[-1]), goal.reshape(-1, goal.shape[-1])
        chosen = _choose(len(a), wanted, rng)
        return a[chosen][:, None], y[chosen][:, None]
    out = goal.shape[2:]
    places = np.stack(np.unravel_index(_choose(len(goal) * int(np.prod(out)), wanted, rng), (len(goal), *out)))
    a = patches(x, places, layer.kernel, **spatial_attributes(layer.node, layer.kernel, x.shape[2:], out))
    y = np.moveaxis(goal, 1, -1)[tuple(places)]
    return a.reshape(len(a), layer.groups, -1), y.reshape(len(y), layer.groups, -1)


def _choose(count: int, wanted: int, rng: np.random.Generator) -> Array:
    if wanted >= count:
        return np.arange(count)
    return np.sort(rng.choice(count, wanted, replace=False))
