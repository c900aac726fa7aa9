"""Recovers accuracy after a cut without labels or gradients: refits every layer behind it by least squares."""

from __future__ import annotations

from dataclasses import dataclass

from ..analysis.channels import Channels
from ..analysis.channels.groups import Mask
from ..analysis.channels.shapes import with_shapes
from ..data import Data
from ..model.model import Model
from ..target import Progress, no_progress
from .layers import Unfit, changed_layers
from .refit import Fit, refit
from .sampling import pieces_of

MAX_SAMPLES = 512


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

    At most `samples` samples are used, fewer when their activations would take too much memory.
    """
    original, result = with_shapes(original), with_shapes(pruned).clone()
    layers, unfit = changed_layers(result, channels, removed)
    pieces = pieces_of([original, result], data, samples, seed)
    if not pieces or not layers:
        return Reconstruction(result, (), tuple(unfit), 0)
    fits, failed = refit(original, result, layers, pieces, seed=seed, progress=progress)
    count = sum(len(next(iter(piece.values()))) for piece in pieces)
    return Reconstruction(result, tuple(fits), (*unfit, *failed), count)
