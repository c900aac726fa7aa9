"""Turns activations into the rows of a layer's least-squares problem, at seeded places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import Data
from ..model.model import Model
from .clipped import ClippedEquations
from .layers import Layer
from .least_squares import NormalEquations
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
    layer: Layer,
    inputs: Sequence[Array],
    outputs: Sequence[Array],
    rng: np.random.Generator,
    floors: Sequence[Array] | None = None,
) -> NormalEquations:
    """The problem of a layer from its inputs and the wanted outputs, piece by piece, at seeded output positions.

    With `floors` (see clipped.py) outputs need only be right above them.
    """
    equations = NormalEquations() if floors is None else ClippedEquations()
    columns, inner = layer.groups * layer.inner, layer.inner
    affordable = int(MAX_OPERATIONS / max(columns * inner, 1))
    wanted = max(2 * inner, min(MAX_ROWS, affordable)) // len(inputs)
    for number, (x, goal) in enumerate(zip(inputs, outputs, strict=True)):
        chosen = _choose(layer.form.count(goal), max(wanted, 1), rng)
        a, y = layer.form.rows(x, goal, chosen)
        if isinstance(equations, ClippedEquations) and floors is not None:
            floor = floors[number]
            equations.add_clipped(a, y, floor if floor.size == 1 else layer.form.rows(x, floor, chosen)[1])
        else:
            equations.add(a, y)
    return equations


def _choose(count: int, wanted: int, rng: np.random.Generator) -> Array:
    if wanted >= count:
        return np.arange(count)
    return np.sort(rng.choice(count, wanted, replace=False))
