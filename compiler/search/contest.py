"""Builds the networks that a solver proposes, and lets measurement choose among them.

A loss with every layer refitted for itself is only nearly that of the finished network, whose layers are refitted one
after the other. So the few best proposals are really cut and refitted, on the half of the samples that fits; the other
half decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..analysis.channels import Channels
from ..data import Data
from ..model.model import Model
from ..pruning.cut import cut
from ..pruning.reconstruct import reconstruct
from ..target import Progress, no_progress
from .decisions import Choice
from .fit import Candidate
from .loss import RefitLoss
from .widths import Widths, removal


def built(
    model: Model, channels: Channels, scores: npt.NDArray[np.float64], widths: Widths, data: Data, *, seed: int = 0
) -> Model:
    """The network of these widths: cut, and refitted layer by layer on the samples."""
    removed = removal(channels, widths, scores)
    if not removed.any():
        return model
    return reconstruct(model, cut(model, channels, removed), channels, removed, data, seed=seed).model


def winner(
    model: Model,
    channels: Channels,
    scores: npt.NDArray[np.float64],
    proposals: Sequence[Candidate],
    loss: RefitLoss,
    *,
    finish: Callable[[Model, Choice], Model] | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Candidate:
    """The proposal whose finished network loses least; its `loss` is that network's.

    `finish` does what is left to do with a float network: it gives the layers their bits.
    """
    if len(proposals) == 1:
        return proposals[0]
    measured = []
    for number, each in enumerate(proposals):
        progress("Trying the best networks out", number / len(proposals))
        network = built(model, channels, scores, each.choice.widths, loss.fitted_on, seed=seed)
        network = network if finish is None else finish(network, each.choice)
        measured.append(replace(each, loss=loss.of(network)))
    return min(measured, key=lambda each: each.loss)
