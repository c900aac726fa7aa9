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
from ..pruning.patterns import Pattern
from ..pruning.reconstruct import reconstruct
from ..pruning.sparsify import Sparsified, sparsify
from ..target import Progress, no_progress
from .decisions import Choice
from .fit import Candidate
from .loss import RefitLoss
from .widths import removal

BEAM = 3  # neighbours of the best network that are finished at a time
FINISHED = 24  # neighbours in all
FINISHED_MACS = 1e11  # of all samples, in all neighbours: large networks are compared with fewer of them


def built(
    model: Model,
    channels: Channels,
    scores: npt.NDArray[np.float64],
    choice: Choice,
    data: Data,
    *,
    pattern: Pattern | None = None,
    seed: int = 0,
) -> Model:
    """The network of a choice's widths and zeros: cut, and refitted layer by layer on the samples."""
    removed = removal(channels, choice.widths, scores)
    if removed.any():
        model = reconstruct(model, cut(model, channels, removed), channels, removed, data, seed=seed).model
    return model if pattern is None or not choice.densities else zeroed(model, choice, pattern, data, seed=seed).model


def zeroed(
    model: Model,
    choice: Choice,
    pattern: Pattern,
    data: Data,
    *,
    criterion: str = "auto",
    seed: int = 0,
    progress: Progress = no_progress,
) -> Sparsified:
    """The network with the choice's zeros, the other weights of these layers refitted."""
    shares = {layer: pattern.density(percent / 100) for layer, percent in choice.densities}
    return sparsify(model, pattern, shares, criterion, data=data, seed=seed, progress=progress)


def ranked(
    model: Model,
    channels: Channels,
    scores: npt.NDArray[np.float64],
    proposals: Sequence[Candidate],
    loss: RefitLoss,
    *,
    neighbours: Callable[[Candidate], Sequence[Candidate]] | None = None,
    finish: Callable[[Model, Choice], Model] | None = None,
    pattern: Pattern | None = None,
    seed: int = 0,
    progress: Progress = no_progress,
) -> list[Candidate]:
    """The proposals, and others near the best of them, least loss first; their `loss` is that of the finished network.

    `neighbours` gives other networks within the budget that differ little, the most promising first. `finish` does what
    is left to do with a float network: it gives the layers their bits. `pattern` is that of zeros.
    """

    def finished(candidate: Candidate) -> Candidate:
        network = built(model, channels, scores, candidate.choice, loss.fitted_on, pattern=pattern, seed=seed)
        network = network if finish is None else finish(network, candidate.choice)
        return replace(candidate, loss=loss.of(network))

    if len(proposals) == 1 and neighbours is None:
        return list(proposals)
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
    return sorted(measured.values(), key=lambda each: each.loss)
