"""Puts zeros of a pattern into the weights of a network, and refits what stays.

Layer by layer (refit.py): score every unit of the pattern, keep the best, solve for the kept weights by least squares,
and again, in rounds of falling density, so that weights can take over before the next ones go.

Criteria are those of weight_criteria.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..analysis.channels.shapes import with_shapes
from ..data import Data
from ..model.edit import set_weight, weight
from ..model.model import Model
from ..target import Progress, no_progress
from .layers import Layer, Unfit, product_layers
from .least_squares import NormalEquations
from .patterns import Mask, Pattern
from .refit import Fit, refit
from .sampling import pieces_of
from .weight_criteria import CRITERIA, Evidence, mean_square_gradients, resolve

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
    density: float | Mapping[str, float],
    criterion: str = "auto",
    *,
    data: Data | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Sparsified:
    """Keeps `density` of the weights of every layer that the pattern fits into; all of depthwise and small layers.

    Different densities of some layers are given by plain node name; all other layers stay as they are.

    Raises:
        UsageError: the criterion is unknown (code `unknown-criterion`) or needs data (`needs-data`).
    """
    criterion = resolve(criterion, data)
    original, result = with_shapes(model), with_shapes(model).clone()
    layers, unfit = product_layers(result)
    if isinstance(density, Mapping):
        layers = [layer for layer in layers if layer.node.name in density]
        unfit = [each for each in unfit if each.where in density]
    chosen = [layer for layer in layers if pattern.fits(layer.inner // layer.taps, _outputs(layer))]
    small = [layer for layer in layers if layer not in chosen]
    unfit += [Unfit(layer.node.name or layer.result, "too-small") for layer in small]
    total = sum(_weights(layer).size for layer in chosen)
    names = [layer.weight.name or "" for layer in chosen]
    squares = mean_square_gradients(original, names, criterion, data, seed)
    rounds = Rounds(pattern, density, criterion, seed, squares, ROUNDS)
    pieces = pieces_of([original, result], data, MAX_SAMPLES, seed) if data is not None else []
    fits: list[Fit] = []
    if pieces:
        fits, failed = refit(
            original, result, chosen, pieces, solve=rounds.solve, seed=seed, progress=progress, what="Zeroing weights"
        )
        unfit += failed
    else:
        for layer in chosen:
            _zero(layer, rounds.keep(layer, layer.matrix(_weights(layer)), None, rounds.share(layer)))
    zeroed = sum(_weights(layer).size - np.count_nonzero(_weights(layer)) for layer in chosen)
    count = sum(len(next(iter(piece.values()))) for piece in pieces)
    return Sparsified(result, tuple(fits), tuple(unfit), criterion, int(zeroed), int(total), count)


@dataclass(frozen=True)
class Rounds:
    """The `Solve` of refit.py that zeroes and refits in rounds."""

    pattern: Pattern
    density: float | Mapping[str, float]
    criterion: str
    seed: int
    gradients: Mapping[str, Floats]  # mean squares by weight, for the criteria that ask for them
    rounds: int

    def share(self, layer: Layer) -> float:
        """The density that is asked of a layer."""
        return self.density[layer.node.name or ""] if isinstance(self.density, Mapping) else self.density

    def solve(self, layer: Layer, equations: NormalEquations, start: Floats, with_bias: bool) -> tuple[Floats, Floats]:
        weights, bias, share = start, np.zeros(start.shape[::2]), self.share(layer)
        for step in range(1, self.rounds + 1):
            density = max(share, share ** (step / self.rounds))  # each round keeps the same share
            keep = self.keep(layer, weights, equations, density, self.pattern.on_the_way(step / self.rounds))
            weights, bias = equations.solve(np.where(keep, weights, 0.0), with_bias=with_bias)
        return weights, bias

    def keep(
        self,
        layer: Layer,
        weights: Floats,
        equations: NormalEquations | None,
        density: float,
        pattern: Pattern | None = None,
    ) -> Mask:
        """What stays of weights [groups, k, n] (in `pattern`, or in the one asked for); what is zero already goes
        first, whatever the criterion."""
        groups, k, n = weights.shape
        inputs, taps = k // layer.taps, layer.taps
        squares = self.gradients.get(layer.weight.name or "")
        evidence = Evidence(
            weights,
            self._units(inputs, taps),
            np.random.default_rng([self.seed, k, n]),
            equations,
            None if squares is None else layer.matrix(squares),
        )
        scores = CRITERIA[self.criterion].score(evidence)
        scores = np.where(weights != 0, scores, 0.0)
        by_tap = scores.reshape(groups, inputs, taps, n).transpose(0, 2, 1, 3)
        keep = (pattern or self.pattern).keep(by_tap, density).transpose(0, 2, 1, 3).reshape(weights.shape)
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
