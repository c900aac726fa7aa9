"""`fine_tune`: learns back what pruning took from the accuracy, on labels and on the unpruned model's answers."""

from __future__ import annotations

from typing import ClassVar

from ..data import Data
from ..errors import UsageError
from ..model.model import Model
from ..training.tuning import Tuned, Tuning
from .base import Context, Note, PassResult


class FineTune:
    """Trains for `options.training.epochs` on `context.training`, or on the calibration data. Off without epochs.

    The model as it was before the first pass teaches, so that samples need no labels; with labels, these have the rest
    of `options.training.distillation`. Zeros that pruning made stay. Under `options.checkpoint_dir` the state is kept
    after every epoch, and an interrupted run goes on from there.

    Raises:
        UsageError: there are no samples (code `needs-data`), or see `training.fine_tune`.
        ToolError: PyTorch is not installed (`missing-extra`).
    """

    name: ClassVar[str] = "fine_tune"
    summary: ClassVar[str] = "Fine-tuning"
    requires: ClassVar[tuple[str, ...]] = ("valid",)
    ensures: ClassVar[tuple[str, ...]] = ("valid", "interface", "sparsity")

    def run(self, model: Model, context: Context) -> PassResult:
        tuning = context.options.training
        return learn(model, context, tuning, self.name) if tuning.epochs else PassResult(model, False)


def learn(model: Model, context: Context, tuning: Tuning, stage: str) -> PassResult:
    """Trains the model as it is; `stage` names the checkpoint."""
    from ..training import fine_tune

    folder = context.options.checkpoint_dir
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    tuned = fine_tune(
        model,
        samples(context),
        tuning,
        teacher=context.original,
        checkpoint=None if folder is None else folder / f"{stage}.ckpt",
        progress=context.progress,
    )
    return PassResult(tuned.model, True, (tuned_note(tuned, len(samples(context))),))


def samples(context: Context) -> Data:
    """What to learn from."""
    data = context.training or context.calibration
    if data is None:
        raise UsageError(
            "Data is needed to fine-tune.",
            code="needs-data",
            hint="Give samples, with or without labels: --training-data FILE.npz",
        )
    return data


def tuned_note(tuned: Tuned, count: int) -> Note:
    """What was learned, and from how much."""
    resumed = f", {tuned.resumed_from} of them from the checkpoint" if tuned.resumed_from else ""
    return Note(
        "fine-tuned",
        f"{len(tuned.trained)} weights trained for {len(tuned.losses)} epochs{resumed} on {count} samples "
        f"({tuned.device}): mean loss {tuned.losses[0]:.4g} -> {tuned.losses[-1]:.4g}.",
    )
