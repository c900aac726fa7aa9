"""What fine-tuning is asked to do, and what it says it did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..errors import UsageError
from ..model.model import Model

Loss = Literal["auto", "cross_entropy", "mse"]


@dataclass(frozen=True)
class Tuning:
    """How to train.

    `loss`: `auto` is the cross-entropy for integer labels and for networks that end in a softmax, else the mean
    squared error. `distillation` is the teacher's share of the loss, the labels have the rest; all of it without
    labels. `temperature` softens both networks' answers (Hinton, Vinyals and Dean, 2015). `features` is the weight of
    the features' loss beside it. `batch_norm`: `update` uses and tracks the statistics of the batches, `frozen` keeps
    the stored ones. The learning rate is relative to the size of each weight, and falls along a cosine to zero.
    """

    epochs: int = 5
    batch: int = 32
    learning_rate: float = 1e-2
    weight_decay: float = 0.0
    loss: Loss = "auto"
    distillation: float = 0.9
    temperature: float = 2.0
    features: float = 1.0
    batch_norm: Literal["update", "frozen"] = "update"
    seed: int = 0
    device: str = "auto"  # a GPU where torch has one
    threads: int = 1  # of the CPU; another number may give other last digits

    def __post_init__(self) -> None:
        wrong = [
            name
            for name, good in (
                ("epochs", self.epochs >= 1),
                ("batch", self.batch >= 1),
                ("threads", self.threads >= 1),
                ("learning_rate", 0 < self.learning_rate < float("inf")),
                ("weight_decay", 0 <= self.weight_decay < float("inf")),
                ("distillation", 0 <= self.distillation <= 1),
                ("temperature", 0 < self.temperature < float("inf")),
                ("features", 0 <= self.features < float("inf")),
                ("loss", self.loss in ("auto", "cross_entropy", "mse")),
                ("batch_norm", self.batch_norm in ("update", "frozen")),
            )
            if not good
        ]
        if wrong:
            raise UsageError(
                f"The training option {wrong[0]} cannot be {getattr(self, wrong[0])!r}.",
                code="bad-training-option",
                hint="See `Tuning` for what each option may be.",
            )


@dataclass(frozen=True, eq=False)
class Tuned:
    """The trained model, the mean loss of every epoch, which weights were trained, and where."""

    model: Model
    losses: tuple[float, ...]
    trained: tuple[str, ...]
    device: str
    resumed_from: int = 0  # epochs that a checkpoint had
