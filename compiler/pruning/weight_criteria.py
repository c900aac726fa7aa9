"""How much single weights matter: scores within one layer, of which a pattern keeps the highest.

With H = A'A of the layer's inputs about their means:

* `obs`       w_r' ((H^-1)_rr)^-1 w_r of every block r: the cost of its loss when all others are refitted
              (Hassibi and Stork, Optimal Brain Surgeon, 1992; Frantar and Alistarh, SparseGPT, 2023)
* `wanda`     w^2 E[x^2]: weight and input together (Sun et al., A Simple and Effective Pruning Approach, 2023)
* `taylor`    w^2 E[g^2], g the gradient of a minibatch's loss (Molchanov et al., Importance Estimation, 2019)
* `obd`       w^2 E[g^2] / 2, g that of one sample: the diagonal of the empirical Fisher information stands for the
              second derivative (LeCun, Denker and Solla, Optimal Brain Damage, 1990)
* `magnitude` w^2
* `random`    seeded; the baseline that every criterion has to beat

Gradients are those of the network as it was given, on labels where there are any (see training/gradients.py), and need
the extra `train`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from ..data import Data
from ..errors import UsageError
from ..model.model import Model
from .least_squares import RIDGE, NormalEquations
from .sampling import choose, fixed_batch
from .scoring.base import needed
from .scoring.gradients import enough

Floats = npt.NDArray[np.float64]
AUTO = "auto"
GRADIENT_SAMPLES = 128


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of a layer: weights [groups, k, n], which inputs k belong to one unit of the pattern [units, k of
    each], the normal equations, and the mean squares of the weights' gradients [groups, k, n]."""

    weights: Floats
    units: npt.NDArray[np.intp]
    rng: np.random.Generator
    equations: NormalEquations | None = None
    gradients: Floats | None = None


@dataclass(frozen=True)
class WeightCriterion:
    """`score` gives one number per weight; a unit's is the sum over it. `gradients` are those of single samples or of
    minibatches."""

    score: Callable[[Evidence], Floats]
    needs_data: bool = True
    gradients: Literal["none", "samples", "minibatches"] = "none"


def _obs(evidence: Evidence) -> Floats:
    assert evidence.equations is not None  # needs_data
    weights, units = evidence.weights, evidence.units
    gram, _ = evidence.equations.centred()
    k = gram.shape[1]
    ridge = np.maximum(RIDGE * np.trace(gram, axis1=1, axis2=2) / k, np.finfo(np.float32).tiny)
    inverse = np.linalg.inv(gram + ridge[:, None, None] * np.eye(k))
    scores = np.zeros_like(weights)
    for group, matrix in enumerate(weights):
        blocks = inverse[group][units[:, :, None], units[:, None, :]]
        rows = matrix[units]  # [units, k of each, n]
        scores[group][units] = rows * np.linalg.solve(blocks, rows)
    return scores


def _wanda(evidence: Evidence) -> Floats:
    assert evidence.equations is not None  # needs_data
    return np.square(evidence.weights) * np.diagonal(evidence.equations.gram, axis1=1, axis2=2)[:, :, None]


def _by_gradient(evidence: Evidence) -> Floats:
    assert evidence.gradients is not None  # mean_square_gradients
    return np.square(evidence.weights) * evidence.gradients


def _magnitude(evidence: Evidence) -> Floats:
    return np.square(evidence.weights)


def _random(evidence: Evidence) -> Floats:
    return evidence.rng.uniform(size=evidence.weights.shape)


CRITERIA: Mapping[str, WeightCriterion] = {
    "obs": WeightCriterion(_obs),
    "wanda": WeightCriterion(_wanda),
    "taylor": WeightCriterion(_by_gradient, gradients="minibatches"),
    "obd": WeightCriterion(_by_gradient, gradients="samples"),
    "magnitude": WeightCriterion(_magnitude, needs_data=False),
    "random": WeightCriterion(_random, needs_data=False),
}


def resolve(criterion: str, data: Data | None) -> str:
    """The criterion's name; for `auto` the best one that there is data for.

    Raises:
        UsageError: no criterion has this name (code `unknown-criterion`), or it lacks data (`needs-data`).
    """
    if criterion == AUTO:
        return "magnitude" if data is None else "obs"
    if criterion not in CRITERIA:
        raise UsageError(
            f"There is no criterion for weights called '{criterion[:64]}'.",
            code="unknown-criterion",
            hint=f"Criteria: {', '.join((AUTO, *CRITERIA))}.",
        )
    if data is None and CRITERIA[criterion].needs_data:
        looks_at = "activations" if CRITERIA[criterion].gradients == "none" else "gradients"
        needed(data, criterion, looks_at, "magnitude")
    return criterion


def mean_square_gradients(
    model: Model, names: Sequence[str], criterion: str, data: Data | None, seed: int
) -> dict[str, Floats]:
    """The mean squares of the gradients of these weights that a criterion asks for, by name; none for most criteria.

    Raises:
        UsageError: there are too few samples (code `too-few-samples`), or labels do not fit (`bad-labels`).
        ToolError: torch is not installed (code `missing-extra`).
        UnsupportedError: an operator has no gradient.
    """
    wanted = CRITERIA[criterion].gradients
    if wanted == "none" or data is None or not names:
        return {}
    from ..training import squared_gradients  # torch is an extra

    chosen, piece = choose([model], enough(data, criterion, "magnitude"), GRADIENT_SAMPLES, seed)
    per_sample = wanted == "samples"
    together = (fixed_batch(model) or 1) if per_sample else piece
    return squared_gradients(model, names, chosen, together, per_sample=per_sample, seed=seed)
