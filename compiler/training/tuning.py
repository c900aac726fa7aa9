"""What fine-tuning is asked to do, and what it says it did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from ..config.setting import Setting
from ..errors import UsageError

if TYPE_CHECKING:
    from ..model.model import Model
    from .plans import Update

Loss = Literal["auto", "cross_entropy", "mse"]
Features = Mapping[str, str] | Literal["blocks"]  # see `fine_tune`
AUGMENTATIONS = ("flip", "shift", "crop", "rotate", "colour", "noise", "erase", "mixup", "cutmix")


@dataclass(frozen=True)
class Tuning:
    """How to train.

    `loss`: `auto` is the cross-entropy for integer labels and for networks that end in a softmax, else the mean
    squared error. `distillation` is the teacher's share of the loss, the labels have the rest; all of it without
    labels. `temperature` softens both networks' answers (Hinton, Vinyals and Dean, 2015). `feature_weight` is that of
    the relative squared error of features, beside it: the less there is to learn from, the more they help.
    `batch_norm`: `update` uses and tracks the statistics of the batches, `frozen` keeps the stored ones; `insert`
    also puts one behind every convolution that has none, and folds it back in the end (see `training.normalised`).
    The learning rate is relative to the size of each weight, and falls along a cosine to zero. `augment` names
    changes that every batch undergoes (see `training.augment`). `precision` is that of convolutions and products:
    `bfloat16` takes about half the time on a CPU that has it.
    """

    table: ClassVar[str] = "training"
    panel: ClassVar[str] = "Training"

    epochs: Annotated[
        int, Setting("Passes over the data; compiling and pruning train only where this is given.", at_least=1)
    ] = 5
    batch: Annotated[int, Setting("Samples per step.", at_least=1)] = 32
    learning_rate: Annotated[
        float, Setting("Adam's first step, relative to each weight; it falls to zero.", above=0)
    ] = 5e-3
    weight_decay: Annotated[float, Setting("How strongly weights are pulled to zero.", at_least=0)] = 0.0
    loss: Annotated[Loss, Setting("What becomes small; auto: as labels and outputs suggest.")] = "auto"
    distillation: Annotated[float, Setting("The teacher's share of the loss.", at_least=0, at_most=1)] = 0.9
    temperature: Annotated[float, Setting("How soft the teacher's answers are made.", above=0)] = 2.0
    feature_weight: Annotated[
        float,
        Setting("How much outputs of blocks that differ from the unpruned network's count; 0: not.", at_least=0),
    ] = 100.0
    batch_norm: Annotated[
        Literal["update", "frozen", "insert"],
        Setting("Statistics: from the batches, or as stored; insert: put behind convolutions while training."),
    ] = "update"
    augment: Annotated[
        tuple[str, ...], Setting("How samples are varied while training (repeatable).", AUGMENTATIONS)
    ] = ()
    precision: Annotated[Literal["float32", "bfloat16"], Setting("Of the arithmetic while training.")] = "float32"
    seed: int = 0
    device: Annotated[str, Setting("Where torch computes; auto: a GPU where it has one.", ("auto", "cpu", "cuda"))] = (
        "auto"
    )
    threads: Annotated[int, Setting("CPU threads; another number may give other last digits.", at_least=1)] = 1

    def __post_init__(self) -> None:
        wrong = [
            name
            for name, good in (
                ("epochs", self.epochs >= 0),
                ("batch", self.batch >= 1),
                ("threads", self.threads >= 1),
                ("learning_rate", 0 < self.learning_rate < float("inf")),
                ("weight_decay", 0 <= self.weight_decay < float("inf")),
                ("distillation", 0 <= self.distillation <= 1),
                ("temperature", 0 < self.temperature < float("inf")),
                ("feature_weight", 0 <= self.feature_weight < float("inf")),
                ("loss", self.loss in ("auto", "cross_entropy", "mse")),
                ("batch_norm", self.batch_norm in ("update", "frozen", "insert")),
                ("precision", self.precision in ("float32", "bfloat16")),
                ("augment", set(self.augment) <= set(AUGMENTATIONS)),
            )
            if not good
        ]
        if wrong:
            raise UsageError(
                f"The training option {wrong[0]} cannot be {getattr(self, wrong[0])!r}.",
                code="bad-training-option",
                hint=f"Augmentations: {', '.join(AUGMENTATIONS)}."
                if wrong[0] == "augment"
                else "See `Tuning` for what each option may be.",
            )


@dataclass(frozen=True, eq=False)
class Tuned:
    """The trained model, the mean loss of every epoch, which weights were trained, and where; how it was pruned."""

    model: Model
    losses: tuple[float, ...]
    trained: tuple[str, ...]
    device: str
    resumed_from: int = 0  # epochs that a checkpoint had
    updates: tuple[Update, ...] = ()  # of the masks, where it was pruned while training
    features: tuple[str, ...] = ()  # values that were to resemble a teacher's
