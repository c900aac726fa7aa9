"""What each pruning criterion would remove from a network, and what that would cost and save.

Every criterion chooses channels for the same share of the MACs. The channels are then really switched off (masked.py)
to measure the loss on samples that no criterion saw; on request the layers behind them are refitted, too. Costs are
those of the device's model for the smaller widths, beside the cost of the whole network at the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np

from ..analysis.channels import Channels, channel_groups
from ..analysis.channels.groups import Mask, kept
from ..analysis.channels.shapes import with_shapes
from ..data import Data
from ..errors import PrunusError
from ..executor import Session
from ..model.model import Model
from ..quantity import Estimate
from ..search.widths import WidthModel
from ..target import Device, Formats, Progress, Target, no_progress
from .criteria import CRITERIA
from .cut import cut
from .masked import MaskedModel
from .prove import compared_values
from .reconstruct import reconstruct
from .sampling import choose
from .scoring.base import original_value
from .scoring.sensitivity import damage, has_classes
from .select import Selection, select
from .structures import ChannelStructure

SAMPLES = 64
REFIT_SAMPLES = 128
NEED_DATA = frozenset({"obs", "sensitivity", "wanda", "hrank", "apoz", "activation", "mrmr", "taylor", "obd"})
NEED_LABELS = frozenset({"mrmr"})
NEED_TORCH = frozenset({"taylor", "obd"})
SLOW = frozenset({"sensitivity", "hrank"})  # minutes on large networks: only where they are asked for by name


@dataclass(frozen=True)
class Outlook:
    """One criterion's removal: the `macs` that stay and the number of `channels` that go.

    `layers` maps plain node names to (channels, channels that would go). `loss` is how much worse the outputs are: the
    increase of the cross-entropy in nats where labels allow it, else the squared error relative to the outputs'
    variance; None without data. `refitted_loss` is that after least squares. `estimate` is the device's.
    """

    criterion: str
    macs: int
    channels: int
    layers: Mapping[str, tuple[int, int]]
    loss: float | None = None
    refitted_loss: float | None = None
    estimate: Estimate | None = None


@dataclass(frozen=True)
class Outlooks:
    """All criteria on one network: the whole's own MACs and cost, and why some criteria are left out (reason codes)."""

    fraction: float  # of the MACs that was to go
    macs: int
    channels: int
    loss_kind: str  # "cross-entropy" | "relative error" | "" without data
    samples: int
    estimate: Estimate | None
    found: tuple[Outlook, ...]
    skipped: Mapping[str, str]


def outlooks(
    model: Model,
    fraction: float,
    criteria: Sequence[str] | None = None,
    *,
    data: Data | None = None,
    formats: Formats | None = None,
    target: tuple[Target, Device] | None = None,
    refit: bool = False,
    seed: int = 0,
    progress: Progress = no_progress,
) -> Outlooks:
    """What the criteria would do to a float model for a share of its MACs; by default all that are quick and possible.

    Raises:
        UsageError: the share or a criterion asked for by name is not valid, or lacks data or labels.
        ToolError: a criterion asked for by name needs torch (code `missing-extra`).
    """
    shaped = with_shapes(model)
    channels, formats = channel_groups(shaped), formats or Formats()
    structure = ChannelStructure(formats.channel_multiple)
    names, skipped = (tuple(criteria), {}) if criteria is not None else possible(data)
    held_out, seen = _split(data, seed)
    selections: dict[str, Selection] = {}
    for number, name in enumerate(names):
        progress(f"Asking the criterion {name}", number / len(names))
        try:
            selections[name] = select(shaped, channels, fraction, name, structure=structure, seed=seed, data=seen)
        except PrunusError as error:
            if criteria is not None:
                raise
            skipped[name] = error.code
    losses = _Losses(shaped, channels, held_out, seed)
    estimates = _estimates(shaped, channels, [each.removed for each in selections.values()], formats, target)
    found = [
        Outlook(
            name,
            selection.macs_after,
            int(selection.removed.sum()),
            _by_layer(shaped, channels, selection.removed),
            losses.of(selection.removed),
            losses.refitted(selection.removed, seen) if refit else None,
            estimate,
        )
        for (name, selection), estimate in zip(selections.items(), estimates[1:], strict=True)
    ]
    return Outlooks(
        fraction, channels.macs(), channels.count, losses.kind, losses.samples, estimates[0], tuple(found), skipped
    )


def possible(data: Data | None) -> tuple[tuple[str, ...], dict[str, str]]:
    """(the quick criteria that there is all for, the others with a reason code)."""
    skipped = dict.fromkeys(sorted(SLOW), "slow")
    if data is None or data.labels is None:
        skipped |= dict.fromkeys(sorted(NEED_LABELS), "needs-labels")
    if find_spec("torch") is None:
        skipped |= dict.fromkeys(sorted(NEED_TORCH), "missing-extra")
    if data is None:
        skipped |= dict.fromkeys(sorted(NEED_DATA), "needs-data")
    return tuple(name for name in CRITERIA if name not in skipped), skipped


def _split(data: Data | None, seed: int) -> tuple[Data | None, Data | None]:
    """(samples to measure the loss on, samples for the criteria): disjoint where there is more than one."""
    if data is None or len(data) < 2:
        return data, data
    return data.split(min(SAMPLES, len(data) // 2), seed)


class _Losses:
    """Measures what removals do to the outputs, on a few samples."""

    def __init__(self, model: Model, channels: Channels, data: Data | None, seed: int) -> None:
        self.kind, self.samples = "", 0
        self._model, self._channels, self._seed = model, channels, seed
        if data is None:
            return
        self._data, self._piece = choose([model], data, SAMPLES, seed)
        self._masked = MaskedModel(model, channels)
        self._whole = self._masked.run(self._data, self._piece, channels.keep_all())
        self.samples = len(self._data)
        self.kind = "cross-entropy" if has_classes(self._whole[-1], self._data.labels) else "relative error"

    def of(self, removed: Mask) -> float | None:
        if not self.kind:
            return None
        return damage(self._whole, self._masked.run(self._data, self._piece, removed), self._data.labels)

    def refitted(self, removed: Mask, data: Data | None) -> float | None:
        if not self.kind or data is None:
            return None
        pruned = cut(self._model, self._channels, removed)
        few = data.first(REFIT_SAMPLES)
        pruned = reconstruct(self._model, pruned, self._channels, removed, few, seed=self._seed).model
        names = list(compared_values(self._model))
        found = Session(pruned, names, optimise=False).run(self._data.inputs, batch=self._piece)
        return damage(self._whole, [found[name] for name in names], self._data.labels)


def _estimates(
    model: Model, channels: Channels, removals: Sequence[Mask], formats: Formats, target: tuple[Target, Device] | None
) -> list[Estimate | None]:
    """The device's estimate of the whole network, then of each removal."""
    if target is None:
        return [None] * (1 + len(removals))
    widths = WidthModel(model, channels, formats)
    whole = channels.keep_all()
    sizes = [tuple(int((~removed[group.units]).sum()) for group in channels.prunable) for removed in (whole, *removals)]
    backend, device = target
    return list(backend.cost([widths.workload(each) for each in sizes], device))


def _by_layer(model: Model, channels: Channels, removed: Mask) -> dict[str, tuple[int, int]]:
    """(channels, channels that go) of the layers that compute prunable ones, in graph order."""
    axes: dict[str, list[int]] = {}
    for member in (member for group in channels.prunable for member in group.producers):
        axes.setdefault(member.initializer, []).append(member.axis)
    counts = {}
    for node in model.graph:
        for value in (original_value(value) for value in node.inputs if value is not None):
            for axis in axes.get(value.name or "", ()):
                stay = kept(channels.units[value.name or "", axis], removed)
                counts[node.name or ""] = (len(stay), int(np.count_nonzero(~stay)))
    return counts
