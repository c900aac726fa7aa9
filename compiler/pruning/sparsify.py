"""Puts zeros of a pattern into the weights of a network, and refits what stays.

Layer by layer (refit.py): score every unit of the pattern, keep the best, solve for the kept weights by least squares,
and again, in rounds of falling density, so that weights can take over before the next ones go.

Criteria, with H = A'A of the layer's inputs about their means:

* `obs`       w_r' ((H^-1)_rr)^-1 w_r of every block r: the cost of its loss when all others are refitted
              (Hassibi and Stork, Optimal Brain Surgeon, 1992; Frantar and Alistarh, SparseGPT, 2023)
* `wanda`     w^2 E[x^2]: weight and input together (Sun et al., A Simple and Effective Pruning Approach, 2023)
* `magnitude` w^2
* `random`    seeded; the baseline that every criterion has to beat
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..analysis.channels.shapes import with_shapes
from ..data import Data
from ..errors import UsageError
from ..model.edit import set_weight, weight
from ..model.model import Model
from ..target import Progress, no_progress
from .layers import Layer, Unfit, product_layers
from .least_squares import RIDGE, NormalEquations
from .patterns import Mask, Pattern
from .refit import Fit, refit
from .sampling import pieces_of

Floats = npt.NDArray[np.float64]
ROUNDS = 3
MAX_SAMPLES = 512


@dataclass(frozen=True, eq=False)
class Sparsified:
    """The changed model; `fits` of the layers that were refitted, `unfit` ones and those too small for the pattern."""

    model: Model
    fits: tuple[Fit, ...]
    unfit: tuple[Unfit, ...]
    criterion: str
    zeroed: int
    weights: int  # of the layers that took part
    samples: int


def sparsify(
    model: Model,
    pattern: Pattern,
    density: float,
    criterion: str = "auto",
    *,
    data: Data | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Sparsified:
    """Keeps `density` of the weights of every layer that the pattern fits into; all of depthwise and small layers.

    Raises:
        UsageError: the criterion is unknown (code `unknown-criterion`) or needs data (`needs-data`).
    """
    criterion = resolve(criterion, data)
    original, result = with_shapes(model), with_shapes(model).clone()
    layers, unfit = product_layers(result)
    chosen = [layer for layer in layers if pattern.fits(layer.inner // layer.taps, _outputs(layer))]
    small = [layer for layer in layers if layer not in chosen]
    unfit += [Unfit(layer.node.name or layer.result, "too-small") for layer in small]
    total = sum(_weights(layer).size for layer in chosen)
    rounds = _Rounds(pattern, density, criterion, seed)
    pieces = pieces_of([original, result], data, MAX_SAMPLES, seed) if data is not None else []
    fits: list[Fit] = []
    if pieces:
        fits, failed = refit(
            original, result, chosen, pieces, solve=rounds.solve, seed=seed, progress=progress, what="Zeroing weights"
        )
        unfit += failed
    else:
        for layer in chosen:
            _zero(layer, rounds.keep(layer, layer.matrix(_weights(layer)), None, density))
    zeroed = sum(_weights(layer).size - np.count_nonzero(_weights(layer)) for layer in chosen)
    count = sum(len(next(iter(piece.values()))) for piece in pieces)
    return Sparsified(result, tuple(fits), tuple(unfit), criterion, int(zeroed), int(total), count)


def resolve(criterion: str, data: Data | None) -> str:
    """The criterion's name; for `auto` the best one that there is data for. Raises UsageError."""
    if criterion == "auto":
        return "magnitude" if data is None else "obs"
    if criterion not in CRITERIA:
        raise UsageError(
            f"There is no criterion for weights called '{criterion[:64]}'.",
            code="unknown-criterion",
            hint=f"Criteria: auto, {', '.join(CRITERIA)}.",
        )
    if data is None and CRITERIA[criterion].needs_data:
        raise UsageError(
            f"The pruning criterion '{criterion}' looks at activations: it needs data.",
            code="needs-data",
            hint="Give some hundred unlabelled samples (--data FILE.npz), or take the criterion magnitude.",
        )
    return criterion


# -- scores -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Criterion:
    """`score(weights [groups, k, n], equations, units, rng)`: one score per weight; a unit's is the sum over it.

    `units` [units, k of each] lists the inputs that belong to one unit of the pattern.
    """

    needs_data: bool
    score: Callable[[Floats, NormalEquations | None, npt.NDArray[np.intp], np.random.Generator], Floats]


def _obs(
    weights: Floats, equations: NormalEquations | None, units: npt.NDArray[np.intp], rng: np.random.Generator
) -> Floats:
    assert equations is not None  # needs_data
    gram, _ = equations.centred()
    k = gram.shape[1]
    ridge = np.maximum(RIDGE * np.trace(gram, axis1=1, axis2=2) / k, np.finfo(np.float32).tiny)
    inverse = np.linalg.inv(gram + ridge[:, None, None] * np.eye(k))
    scores = np.zeros_like(weights)
    for group, matrix in enumerate(weights):
        blocks = inverse[group][units[:, :, None], units[:, None, :]]
        rows = matrix[units]  # [units, k of each, n]
        scores[group][units] = rows * np.linalg.solve(blocks, rows)
    return scores


def _wanda(
    weights: Floats, equations: NormalEquations | None, units: npt.NDArray[np.intp], rng: np.random.Generator
) -> Floats:
    assert equations is not None  # needs_data
    return np.square(weights) * np.diagonal(equations.gram, axis1=1, axis2=2)[:, :, None]


def _magnitude(
    weights: Floats, equations: NormalEquations | None, units: npt.NDArray[np.intp], rng: np.random.Generator
) -> Floats:
    return np.square(weights)


def _random(
    weights: Floats, equations: NormalEquations | None, units: npt.NDArray[np.intp], rng: np.random.Generator
) -> Floats:
    return rng.uniform(size=weights.shape)


CRITERIA: Mapping[str, _Criterion] = {
    "obs": _Criterion(True, _obs),
    "wanda": _Criterion(True, _wanda),
    "magnitude": _Criterion(False, _magnitude),
    "random": _Criterion(False, _random),
}


# -- one layer ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Rounds:
    """The `Solve` of refit.py that zeroes and refits in rounds."""

    pattern: Pattern
    density: float
    criterion: str
    seed: int

    def solve(self, layer: Layer, equations: NormalEquations, start: Floats, with_bias: bool) -> tuple[Floats, Floats]:
        weights, bias = start, np.zeros(start.shape[::2])
        for step in range(1, ROUNDS + 1):
            density = max(self.density, self.density ** (step / ROUNDS))  # each round keeps the same share
            keep = self.keep(layer, weights, equations, density)
            if self.pattern.kind == "n_m" and step < ROUNDS:
                continue  # N:M has one density only
            weights, bias = equations.solve(np.where(keep, weights, 0.0), with_bias=with_bias)
        return weights, bias

    def keep(self, layer: Layer, weights: Floats, equations: NormalEquations | None, density: float) -> Mask:
        """What stays of weights [groups, k, n]; what is zero already goes first, whatever the criterion."""
        groups, k, n = weights.shape
        inputs, taps = k // layer.taps, layer.taps
        units = self._units(inputs, taps)
        rng = np.random.default_rng([self.seed, k, n])
        scores = CRITERIA[self.criterion].score(weights, equations, units, rng)
        scores = np.where(weights != 0, scores, 0.0)
        by_tap = scores.reshape(groups, inputs, taps, n).transpose(0, 2, 1, 3)
        keep = self.pattern.keep(by_tap, density).transpose(0, 2, 1, 3).reshape(weights.shape)
        return np.asarray(keep & (weights != 0))

    def _units(self, inputs: int, taps: int) -> npt.NDArray[np.intp]:
        """The rows k of every unit [units, rows]: neighbours of one tap, or single ones where these do not divide."""
        width = self.pattern.size[1] if self.pattern.kind == "block" else 1
        width = width if inputs % width == 0 else 1
        rows = np.arange(inputs * taps).reshape(inputs // width, width, taps)
        return rows.transpose(0, 2, 1).reshape(-1, width)


def _outputs(layer: Layer) -> int:
    return int(layer.outputs.size) // layer.groups


def _weights(layer: Layer) -> npt.NDArray[np.float32]:
    data = weight(layer.weight)
    assert data is not None  # an initializer
    return data


def _zero(layer: Layer, keep: Mask) -> None:
    data = _weights(layer)
    set_weight(layer.weight, layer.unmatrix(np.where(keep, layer.matrix(data), 0.0), data))
