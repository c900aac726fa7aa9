"""Channels that go in stages, with training in between: what is left has learned to do without them.

Each stage cuts a share of the multiply-accumulates, refits, and trains on the answers of the network as it first was,
so that the next stage scores a network that has recovered (Molchanov et al., Pruning Convolutional Neural Networks for
Resource Efficient Inference, 2017). The share that is gone rises along the cubic curve of Zhu and Gupta (2017).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..analysis.channels import channel_groups
from ..analysis.channels.shapes import with_shapes
from ..data import Data
from ..errors import UsageError
from ..model.model import Model
from ..pruning.cut import cut
from ..pruning.prove import prove
from ..pruning.reconstruct import reconstruct
from ..pruning.select import select
from ..pruning.structures import ChannelStructure
from ..target import Progress, no_progress
from .plans import GradualChannels
from .trainer import fine_tune
from .tuning import Features, Tuned, Tuning


@dataclass(frozen=True)
class Stage:
    """The share of the first network's MACs that was wanted gone and is, and the last epoch's mean loss."""

    wanted: float
    fraction: float
    loss: float


@dataclass(frozen=True, eq=False)
class Staged:
    """The pruned and trained model. `proof_error` is the largest relative error of any stage's proof."""

    model: Model
    stages: tuple[Stage, ...]
    proof_error: float
    tuned: Tuned  # of the last stage

    @property
    def fraction(self) -> float:
        """The share of the MACs that is gone."""
        return self.stages[-1].fraction


def prune_channels_gradually(
    model: Model,
    data: Data,
    tuning: Tuning,
    plan: GradualChannels,
    *,
    teacher: Model | None = None,
    features: Features | None = None,
    transfer: Data | None = None,
    structure: ChannelStructure | None = None,
    freeze: Collection[str] = (),
    checkpoint: Path | None = None,
    progress: Progress = no_progress,
) -> Staged:
    """Prunes in `plan.rounds` stages, which share the epochs of `tuning`; the last one has half of them.

    Args:
        data: samples to score, to refit and to train on; labels are used where there are any.
        teacher: whom to learn from; the model itself, its answers and its blocks, unless another is given.
        features: values of the model -> values of the teacher that they should resemble, or `blocks`, where the model
            was cut from the teacher.
        transfer: more samples to train on, which the teacher alone answers.
        structure: how many channels a group may be left with.
        checkpoint: one file for each stage is kept beside this name, from which an interrupted run goes on.

    Raises:
        UsageError: the target cannot be reached (`target-out-of-reach`, before any training), there are fewer epochs
            than stages (`schedule-too-short`), or what `select` and `fine_tune` refuse.
    """
    if tuning.epochs < plan.rounds:
        raise UsageError(
            "The training is too short for pruning in steps.",
            code="schedule-too-short",
            why=f"{tuning.epochs} epochs cannot be shared by {plan.rounds} stages.",
            hint="Train for more epochs, or prune in fewer rounds.",
        )
    first = with_shapes(model)
    structure = structure or ChannelStructure()
    _check(first, plan, structure)
    total = channel_groups(first).macs()
    features = features or ("blocks" if teacher is None else None)
    present, stages, errors = first, list[Stage](), [0.0]
    lengths = _lengths(tuning.epochs, plan.rounds)
    for number, epochs in enumerate(lengths, start=1):
        wanted = plan.fraction * (1 - (1 - number / plan.rounds) ** 3)
        smaller, error = _smaller(present, wanted, total, plan, structure, data, tuning.seed)
        tuned = fine_tune(
            smaller,
            data,
            replace(tuning, epochs=epochs),
            teacher=teacher or model,
            features=features,
            transfer=transfer,
            freeze=freeze,
            checkpoint=None if checkpoint is None else checkpoint.with_name(f"{checkpoint.name}.stage-{number}"),
            progress=_part(progress, number, lengths),
        )
        present = tuned.model
        gone = 1 - channel_groups(with_shapes(present)).macs() / max(total, 1)
        stages.append(Stage(wanted, gone, tuned.losses[-1]))
        errors.append(error)
    return Staged(present, tuple(stages), max(errors), tuned)


def _part(progress: Progress, number: int, lengths: Sequence[int]) -> Progress:
    """The progress of one stage, as its part of all."""
    before, total = sum(lengths[: number - 1]), sum(lengths)

    def report(_what: str, share: float) -> None:
        progress(f"Channels, stage {number} of {len(lengths)}", (before + share * lengths[number - 1]) / total)

    return report


def _lengths(epochs: int, rounds: int) -> list[int]:
    """How many epochs each stage has: half of them the last, the others equally many."""
    if rounds == 1:
        return [epochs]
    each = max(epochs // 2 // (rounds - 1), 1)
    return [each] * (rounds - 1) + [epochs - each * (rounds - 1)]


def _check(model: Model, plan: GradualChannels, structure: ChannelStructure) -> None:
    channels = channel_groups(model)
    found = select(model, channels, plan.fraction, "l2", structure=structure, scope=plan.scope)
    if not found.met:
        raise UsageError(
            f"The schedule cannot reach its target: {100 * plan.fraction:.1f} % fewer multiply-accumulates.",
            code="target-out-of-reach",
            why=f"All channels that may go come to {100 * found.fraction:.1f} %.",
            hint="Ask for less; `prunus check` says which channels are pinned, and why.",
        )


def _smaller(
    model: Model, wanted: float, total: int, plan: GradualChannels, structure: ChannelStructure, data: Data, seed: int
) -> tuple[Model, float]:
    """The model cut so that `wanted` of `total` MACs are gone, refitted; and the relative error of the cut's proof."""
    model = with_shapes(model)
    channels = channel_groups(model)
    share = max(1 - total * (1 - wanted) / max(channels.macs(), 1), 0.0)
    chosen = select(model, channels, share, plan.criterion, structure=structure, seed=seed, data=data, scope=plan.scope)
    if not chosen.removed.any():
        return model, 0.0
    pruned = cut(model, channels, chosen.removed)
    error = prove(model, channels, chosen.removed, pruned, seed=seed).max_relative_error
    if plan.refit:
        pruned = reconstruct(model, pruned, channels, chosen.removed, data, seed=seed).model
    return pruned, error
