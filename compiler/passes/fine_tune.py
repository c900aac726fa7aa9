"""`fine_tune`: learns back what pruning took from the accuracy, on labels and on the unpruned model's answers."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from ..data import Data
from ..errors import UsageError
from ..model.model import Model
from ..training.plans import Gradual, Lottery, weight_plan
from ..training.tuning import Features, Tuned, Tuning
from .base import Context, Note, PassResult
from .prune_weights import choose_pattern
from .training_verdict import harmed, rise, undone_note


class FineTune:
    """Trains for `options.training.epochs` on `context.training`, or on the calibration data, and on
    `context.transfer` besides. Off without epochs.

    The model as it was before the first pass teaches, its answers and its blocks' outputs, so that samples need no
    labels; with labels, these have the rest of `options.training.distillation`. Zeros that pruning made stay. Under
    `options.checkpoint_dir` the state is kept after every epoch, and an interrupted run goes on from there. Where
    `options.schedule` prunes weights while training, this is where it does. What the gradual schedule has trained
    between its cuts of channels is done already.

    Raises:
        UsageError: there are no samples (code `needs-data`), or see `training.fine_tune` and `plans.weight_plan`.
        ToolError: PyTorch is not installed (`missing-extra`).
    """

    name: ClassVar[str] = "fine_tune"
    summary: ClassVar[str] = "Fine-tuning"
    requires: ClassVar[tuple[str, ...]] = ("valid",)
    ensures: ClassVar[tuple[str, ...]] = ("valid", "interface", "sparsity")

    def run(self, model: Model, context: Context) -> PassResult:
        options = context.options
        plan = weight_plan(options, choose_pattern(options.pattern, context.formats))
        staged = options.schedule == "gradual" and options.sparsity > 0
        if not options.training.epochs or (staged and plan is None):
            return PassResult(model, False)
        return learn(model, context, options.training, self.name, plan, "blocks")


def learn(
    model: Model,
    context: Context,
    tuning: Tuning,
    stage: str,
    plan: Gradual | Lottery | None = None,
    features: Features | None = None,
) -> PassResult:
    """Trains the model as it is, or prunes its weights meanwhile; `stage` names the checkpoint.

    A training that makes the network worse on `context.judging` is undone, unless it pruned.
    """
    from ..training import train_by_plan

    data, judging = samples(context), context.judging
    tuned = train_by_plan(
        model,
        data,
        tuning,
        plan,
        teacher=context.original,
        features=features,
        transfer=context.transfer,
        checkpoint=checkpoint_of(context, stage),
        progress=context.progress,
    )
    notes = [tuned_note(tuned, len(data) + (0 if context.transfer is None else len(context.transfer)))]
    if plan is not None:
        notes.append(pruned_note(tuned, plan))
    if judging is not None and plan is None:
        rise_of_loss = rise(model, tuned.model, context.original or model, judging, context.metric, tuning.loss)
        if harmed(rise_of_loss, judging, context.metric):
            return PassResult(model, False, (*notes, undone_note(rise_of_loss, judging)))
    return PassResult(tuned.model, True, tuple(notes))


def checkpoint_of(context: Context, stage: str) -> Path | None:
    """The file for a stage's state, in a folder that is there."""
    folder = context.options.checkpoint_dir
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{stage}.ckpt"


def pruned_note(tuned: Tuned, plan: Gradual | Lottery) -> Note:
    """What a schedule made of the weights."""
    last, back = tuned.updates[-1], sum(update.spliced for update in tuned.updates)
    returned = f"; {back} weights came back meanwhile" if back else ""
    return Note(
        "weights-zeroed",
        f"{type(plan).__name__} pruning: {100 * last.realised:.1f} % of the weights of the layers that take part "
        f"zeroed in the pattern {plan.pattern}, in {len(tuned.updates)} steps{returned}.",
    )


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
    guided = f", guided by the outputs of {len(tuned.features)} blocks" if tuned.features else ""
    resumed = f", {tuned.resumed_from} of them from the checkpoint" if tuned.resumed_from else ""
    return Note(
        "fine-tuned",
        f"{len(tuned.trained)} weights trained for {len(tuned.losses)} epochs{resumed} on {count} samples "
        f"({tuned.device}){guided}: mean loss {tuned.losses[0]:.4g} -> {tuned.losses[-1]:.4g}.",
    )
