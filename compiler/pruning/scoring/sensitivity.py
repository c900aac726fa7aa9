"""Measured sensitivity: what happens to the output, or to the loss, when channels are switched off.

As in the layer-by-layer analysis of Han et al., Learning both Weights and Connections (2015), but by parts of channel
groups: each group is split into parts of similar magnitude, and each part is multiplied by zero, alone, wherever it is
summed over. One session with masks as inputs serves all measurements.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from ...analysis.channels import ChannelGroup, Channels
from ...analysis.channels.shapes import with_shapes
from ...data import Data
from ...model.model import Model
from ..masked import MaskedModel
from ..sampling import choose
from .base import Array, Scores, needed
from .weights import magnitude

SAMPLES = 128
PARTS = 16  # of a group; groups of up to so many channels are measured one by one


def sensitivity(model: Model, channels: Channels, seed: int, data: Data | None) -> Scores:
    """The increase of the loss (with labels) or the relative squared error of the outputs, for each share of the MACs.

    The loss is the cross-entropy; it takes a single output [n, classes] and whole numbers as labels.

    Raises:
        UsageError: there is no data (code `needs-data`).
    """
    return measured_effects(model, channels, channels.prunable, seed, needed(data, "sensitivity"))


def measured_effects(model: Model, channels: Channels, groups: Iterable[ChannelGroup], seed: int, data: Data) -> Scores:
    """The sensitivity of the units of some groups; infinite for all others."""
    shaped = with_shapes(model)
    chosen, piece = choose([shaped], data, SAMPLES, seed)
    masked = MaskedModel(shaped, channels)
    whole = masked.run(chosen, piece, channels.keep_all())
    sizes = magnitude(2)(model, channels, seed, None)
    scores, macs = np.full(channels.count, np.inf), channels.macs()
    for group in groups:
        order = group.units[np.argsort(sizes[group.units], kind="stable")]
        for part in np.array_split(order, min(PARTS, len(order))):
            removed = channels.keep_all()
            removed[part] = True
            effect = damage(whole, masked.run(chosen, piece, removed), chosen.labels)
            saved = (macs - channels.macs(removed)) / max(macs, 1)
            if saved > 0:
                scores[part] = _ascending(effect / saved, len(part))
    return scores


def _ascending(value: float, count: int) -> Scores:
    """As many numbers, as good as equal, that keep the order of a part."""
    step = abs(value) * 1e-9 + np.finfo(np.float64).tiny
    return value + step * np.arange(count)


def damage(whole: list[Array], found: list[Array], labels: npt.NDArray[np.generic] | None) -> float:
    """How much worse `found` is than `whole`: by the loss where labels allow it, else by the change of the outputs."""
    if has_classes(whole[-1], labels):
        classes = np.asarray(labels).reshape(-1).astype(np.intp)
        return _cross_entropy(found[-1], classes) - _cross_entropy(whole[-1], classes)
    return max(_change(one, other) for one, other in zip(whole, found, strict=True))


def has_classes(outputs: Array, labels: npt.NDArray[np.generic] | None) -> bool:
    """Whether the labels are numbers of the classes that outputs [n, classes] tell apart."""
    if labels is None or outputs.ndim != 2 or labels.size != len(outputs) or labels.dtype.kind not in "iu":
        return False
    return int(np.min(labels)) >= 0 and int(np.max(labels)) < outputs.shape[1]


def _cross_entropy(logits: Array, classes: npt.NDArray[np.intp]) -> float:
    wide = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return float((np.log(np.exp(wide).sum(axis=1)) - wide[np.arange(len(wide)), classes]).mean())


def _change(whole: Array, found: Array) -> float:
    """The squared error, relative to the variance of the output."""
    one, other = whole.astype(np.float64), found.astype(np.float64)
    spread = float(np.square(one - one.mean(axis=0)).sum())
    return float(np.square(other - one).sum()) / max(spread, np.finfo(np.float64).tiny)
