"""Criteria from gradients: how far the loss goes when a channel's gate, a factor of one, closes.

A gate stands wherever a channel is summed over. With g its gradient, a channel without gate costs about

* `taylor`  (mean of g over a minibatch)^2, averaged over minibatches (Molchanov et al., Importance Estimation for
            Neural Network Pruning, 2019; first order, on gates)
* `obd`     g^2 / 2, averaged over samples: half the diagonal of the empirical Fisher information stands for the second
            derivative (LeCun, Denker and Solla, Optimal Brain Damage, 1990; on channels: Theis et al., Faster Gaze
            Prediction with Dense Networks and Fisher Pruning, 2018)

each for the share of the MACs that it saves. Labels are used where there are any; without them targets are drawn from
the model's own answers (see training/gradients.py; `loss_of` says which). Both need the extra `train`.
"""

from __future__ import annotations

import numpy as np

from ...analysis.channels import Channels
from ...analysis.channels.shapes import with_shapes
from ...analysis.channels.trace import key
from ...data import Data
from ...errors import UsageError
from ...model.model import Model
from ..masked import insert_gate
from ..sampling import choose
from .base import Scores, needed, per_saving
from .observe import readers

SAMPLES = 256
MIN_SAMPLES = 8


def taylor(model: Model, channels: Channels, seed: int, data: Data | None) -> Scores:
    """The squared change of the loss to first order; infinite for units that no layer sums over as they are.

    Raises:
        UsageError: there is no data (code `needs-data`), too little (`too-few-samples`), or labels do not fit
            (`bad-labels`).
        ToolError: torch is not installed (`missing-extra`).
        UnsupportedError: an operator has no gradient.
    """
    gradients, piece = _unit_gradients(model, channels, seed, enough(data, "taylor"))
    return per_saving(channels, first_order(gradients, piece))


def optimal_brain_damage(model: Model, channels: Channels, seed: int, data: Data | None) -> Scores:
    """The increase of the loss to second order, by the diagonal of the Fisher information. Errors as for `taylor`."""
    gradients, _ = _unit_gradients(model, channels, seed, enough(data, "obd"))
    return per_saving(channels, second_order(gradients))


def enough(data: Data | None, criterion: str, instead: str = "l2") -> Data:
    """The data. Raises UsageError where there is none (code `needs-data`) or too little (`too-few-samples`)."""
    data = needed(data, criterion, "gradients", instead)
    if len(data) < MIN_SAMPLES:
        raise UsageError(
            f"The pruning criterion '{criterion}' cannot average gradients over {len(data)} samples.",
            code="too-few-samples",
            where=data.source or None,
            hint=f"Give at least {MIN_SAMPLES}, better some hundred.",
        )
    return data


def first_order(gradients: Scores, piece: int) -> Scores:
    """The squares of the mean gradients of minibatches of `piece` samples, averaged: [samples, gates] -> [gates]."""
    starts = np.arange(0, len(gradients), piece)
    sizes = np.diff(np.append(starts, len(gradients)))
    means = np.add.reduceat(gradients, starts, axis=0) / sizes[:, None]
    return np.asarray(np.square(means).mean(axis=0))


def second_order(gradients: Scores) -> Scores:
    """Half the diagonal of the Fisher information: [samples, gates] -> [gates]."""
    return np.asarray(np.square(gradients).mean(axis=0) / 2)


def loss_of(data: Data) -> str:
    """Which loss the gradients are of, in words."""
    if data.labels is not None:
        return "the loss on the labels"
    return "the loss on targets drawn from the model's own answers (there are no labels)"


def _unit_gradients(model: Model, channels: Channels, seed: int, data: Data) -> tuple[Scores, int]:
    """(d loss / d gate [samples, units], samples that ran together); infinite for units without a gate."""
    from ...training import gate_gradients  # torch is an extra

    shaped = with_shapes(model)
    chosen, piece = choose([shaped], data, SAMPLES, seed)
    gated = shaped.clone()
    nodes = {key(node): node for node in gated.graph}
    units, shapes = {}, {}
    seen = set()  # a product of two computed values sums over both: one gate closes it
    for reader in readers(shaped, channels):
        place = (reader.site.node, reader.units.tobytes())
        if place not in seen:
            seen.add(place)
            rank = reader.rank
            shape = [-1 if axis == reader.batch else 1 for axis in range(rank)]
            shape[reader.axis] = len(reader.units)
            name, _ = insert_gate(gated, nodes[reader.site.node], reader.site.index, [1] * rank)
            units[name], shapes[name] = reader.units, shape
    total = np.zeros((len(chosen), channels.count))
    reached = np.zeros(channels.count, dtype=np.bool_)
    for name, gradients in gate_gradients(shaped, gated, shapes, chosen, piece, seed).items():
        open_ = units[name] >= 0
        np.add.at(total.T, units[name][open_], gradients.T[open_])
        reached[units[name][open_]] = True
    total[:, ~reached] = np.inf
    return total, piece
