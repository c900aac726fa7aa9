"""Lottery tickets: the few weights of a fresh network that learn as well alone as all of them do.

Frankle and Carbin, The Lottery Ticket Hypothesis, 2019: train, remove the smallest weights, set the others back to what
they were at first, and so on, round by round. Deeper networks are set back to an early epoch instead (Frankle et al.,
Stabilizing the Lottery Ticket Hypothesis, 2019).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import Data
from ..errors import UsageError
from ..model.edit import set_weight, weight
from ..model.model import Model
from ..pruning.patterns import Mask
from ..target import Progress, no_progress
from .initialise import initialised
from .masking import Targets
from .parameters import trainable, zero_masks
from .plans import Gradual, Lottery, Update
from .trainer import fine_tune
from .tuning import Features, Tuned, Tuning

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Round:
    """The share of zeros after a round, and the last epoch's mean loss of the network that was trained with them."""

    sparsity: float
    loss: float


@dataclass(frozen=True, eq=False)
class Ticket:
    """`model` is the ticket after its training, `untrained` the same set back; `masks` say which weights it has."""

    model: Model
    untrained: Model
    masks: Mapping[str, Mask]
    rounds: tuple[Round, ...]
    tuned: Tuned  # of the last round


def find_ticket(
    model: Model,
    data: Data,
    tuning: Tuning,
    plan: Lottery,
    *,
    initial: Model | None = None,
    teacher: Model | None = None,
    features: Features | None = None,
    transfer: Data | None = None,
    freeze: Collection[str] = (),
    checkpoint: Path | None = None,
    progress: Progress = no_progress,
) -> Ticket:
    """Iterative magnitude pruning with rewinding; every round is a whole training by `tuning`.

    Args:
        initial: the network as it was before it was trained, or early on; `model` then is the trained one. Without it
            the weights are drawn anew by the seed, and trained from there.
        checkpoint: one file for each round is kept beside this name, from which an interrupted search goes on.

    Raises:
        UsageError: `initial` is another network (`initial-mismatch`), rewinding goes beyond the training
            (`bad-schedule`), or what `fine_tune` and `Targets` refuse.
    """
    if plan.rewind >= tuning.epochs:
        raise UsageError(
            f"The weights cannot be set back to epoch {plan.rewind}: the training has {tuning.epochs}.",
            code="bad-schedule",
            hint="Rewind to an early epoch, or to the initial weights (0).",
        )
    names = trainable(model, freeze)
    targets = Targets(model, plan.pattern, plan.scope, names)
    targets.check(plan.target)
    start = initialised(model, names, tuning.seed) if initial is None else _aligned(model, initial, names)
    start = masked(start, zero_masks(model, names))  # what pruning had zeroed before
    dense = 0 if initial is not None else tuning.epochs
    train = _Trainings(
        data, tuning, {"teacher": teacher, "features": features, "transfer": transfer, "freeze": freeze}, checkpoint,
        progress, plan.rewind + dense + plan.rounds * tuning.epochs,
    )  # fmt: skip
    early = train(start, "early", 0, plan.rewind).model if plan.rewind else start
    trained = model if initial is not None else train(start, "dense", plan.rewind).model
    masks = {name: np.ones(scores.shape, np.bool_) for name, scores in _scores(model, targets).items()}
    rounds, updates = list[Round](), list[Update]()
    for number in range(1, plan.rounds + 1):
        done = plan.rewind + dense + (number - 1) * tuning.epochs
        wanted = 1 - (1 - plan.target) ** (number / plan.rounds)
        scores = {name: np.where(masks[name], each, 0.0) for name, each in _scores(trained, targets).items()}
        masks = {name: found & masks[name] for name, found in targets.masks(scores, wanted).items()}
        ticket = masked(early, masks)
        tuned = train(ticket, f"round-{number}", done)
        trained = tuned.model
        rounds.append(Round(targets.realised(masks), tuned.losses[-1]))
        updates.append(Update(done, wanted, rounds[-1].sparsity))
    return Ticket(trained, ticket, masks, tuple(rounds), replace(tuned, updates=tuple(updates)))


@dataclass(frozen=True, eq=False)
class _Trainings:
    """The trainings of one search: what they share, and their place among all `epochs`."""

    data: Data
    tuning: Tuning
    settings: Mapping[str, Any]
    checkpoint: Path | None
    progress: Progress
    epochs: int

    def __call__(self, network: Model, what: str, done: int, until: int | None = None) -> Tuned:
        """One training, with a checkpoint of its own; `done` epochs of the search are behind it."""
        file = self.checkpoint

        def report(_what: str, share: float) -> None:
            self.progress(f"Lottery ticket: {what}", (done + share * self.tuning.epochs) / self.epochs)

        return fine_tune(
            network,
            self.data,
            self.tuning,
            until=until,
            checkpoint=None if file is None else file.with_name(f"{file.name}.{what}"),
            progress=report,
            **self.settings,
        )


def train_by_plan(
    model: Model, data: Data, tuning: Tuning, plan: Gradual | Lottery | None = None, **settings: Any
) -> Tuned:
    """Trains by any plan, or by none; `settings` are those of `fine_tune` or `find_ticket`, which fit all plans."""
    if isinstance(plan, Lottery):
        return find_ticket(model, data, tuning, plan, **settings).tuned
    return fine_tune(model, data, tuning, plan=plan, **settings)


def masked(model: Model, masks: Mapping[str, Mask]) -> Model:
    """A copy of the model with zeros wherever the masks say so."""
    copy = model.clone()
    for name, mask in masks.items():
        value = copy.graph.initializers[name]
        data = weight(value)
        assert data is not None  # a weight
        set_weight(value, np.where(mask, data, np.zeros((), data.dtype)))
    return copy


def _scores(model: Model, targets: Targets) -> dict[str, Array]:
    found = {}
    for name in targets.layers:
        data = weight(model.graph.initializers[name])
        assert data is not None  # a weight
        found[name] = np.square(data.astype(np.float64))
    return found


def _aligned(model: Model, initial: Model, names: Collection[str]) -> Model:
    """A copy of the model with the weights and statistics of `initial`, found by the user's names; not frozen ones."""
    frozen = set(trainable(model)) - set(names)
    theirs = {initial.original(name): value for name, value in initial.graph.initializers.items()}
    copy = model.clone()
    for name, value in copy.graph.initializers.items():
        other = theirs.get(model.original(name))
        ours, data = weight(value), weight(other)
        if ours is None or name in frozen or not np.issubdtype(ours.dtype, np.floating):
            continue
        if data is None or data.shape != ours.shape:
            raise UsageError(
                "The initial model is another network than the trained one.",
                code="initial-mismatch",
                where=model.shown(name),
                why="It has no weight of this name and shape.",
                hint="Export both alike: without constant folding, and with the same names.",
            )
        set_weight(value, data.astype(ours.dtype))
    return copy
