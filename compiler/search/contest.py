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

BEAM = 3  # neighbours of the best network that are finished at a time
FINISHED = 24  # neighbours in all
FINISHED_MACS = 1e11  # of all samples, in all neighbours: large networks are compared with fewer of them


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
    neighbours: Callable[[Candidate], Sequence[Candidate]] | None = None,
    finish: Callable[[Model, Choice], Model] | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Candidate:
    """The proposal whose finished network loses least, or a better one near it; its `loss` is that network's.

    `neighbours` gives other networks within the budget that differ little, the most promising first. `finish` does what
    is left to do with a float network: it gives the layers their bits.
    """

    def finished(candidate: Candidate) -> Candidate:
        network = built(model, channels, scores, candidate.choice.widths, loss.fitted_on, seed=seed)
        network = network if finish is None else finish(network, candidate.choice)
        return replace(candidate, loss=loss.of(network))

    if len(proposals) == 1 and neighbours is None:
        return proposals[0]
    measured: dict[Choice, Candidate] = {}
    for number, each in enumerate(proposals):
        progress("Trying the best networks out", number / len(proposals))
        measured[each.choice] = finished(each)
    best = min(measured.values(), key=lambda each: each.loss)
    left = min(FINISHED, int(FINISHED_MACS / max(channels.macs() * len(loss.fitted_on), 1))) if neighbours else 0
    while neighbours is not None and left > 0 and best.loss > 0:
        progress("Exchanging channels between layers", 1 - left / FINISHED)
        new = [each for each in neighbours(best) if each.choice not in measured][: min(BEAM, left)]
        measured |= {each.choice: finished(each) for each in new}
        left -= len(new)
        better = min((measured[each.choice] for each in new), key=lambda each: each.loss, default=best)
        if not new:
            break
        best = min(best, better, key=lambda each: each.loss)
    return best
