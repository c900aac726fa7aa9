"""`prune_channels`: removes whole channels until a share of the multiply-accumulates is gone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from ..analysis.channels import REASONS, Channels, channel_groups
from ..errors import InvalidModelError, UsageError
from ..model.model import Model
from ..pruning.cut import cut
from ..pruning.patterns import Pattern
from ..pruning.prove import prove
from ..pruning.reconstruct import Reconstruction, reconstruct
from ..pruning.schedules import Plan, Stepwise, held_out, prune_stepwise
from ..pruning.scoring.batch_norm import known_scales
from ..pruning.select import Selection, select
from ..pruning.structures import ChannelStructure
from ..training.plans import GradualChannels, weight_plan
from .base import Context, Note, PassResult, unreached
from .contract import as_compiled
from .fine_tune import checkpoint_of, samples
from .loss_notes import loss_notes

MAX_PROOF_ERROR = 1e-4  # relative; fp32 models agree to 1e-6, anything above this is a fault and no rounding

_UNFIT = {
    "shared-weight": "Its weight or bias is shared with an operator that uses it in another way.",
    "not-finite": "Its activations on the data are not finite.",
    "too-wide": "Each output sums over too many inputs.",
    "unsupported-form": "Only layers that are products with a constant weight as it stands are refitted.",
    "no-gain": "Refitting did not bring its output closer to the original's.",
}


class PruneChannels:
    """Select, cut, prove, reconstruct.

    Reads `context.options`: `sparsity` (share of MACs to remove; 0 leaves the model as it is), `criterion`, `scope`,
    `heads`, `schedule`, `max_drop`, `reconstruct` and `seed`; `context.formats.channel_multiple`; and
    `context.calibration` for the reconstruction. The iterative schedule holds half of the calibration samples out to
    measure on; the gradual one trains between its stages.

    Raises:
        InvalidModelError: the cut model does not equal the original with zeroed consumers (code `proof-failed`).
        UsageError: the sparsity, the criterion, the scope or the schedule is not valid, or lacks data.
    """

    name: ClassVar[str] = "prune_channels"
    summary: ClassVar[str] = "Removing channels"
    requires: ClassVar[tuple[str, ...]] = ("valid",)
    ensures: ClassVar[tuple[str, ...]] = ("valid", "interface", "sparsity")

    def run(self, model: Model, context: Context) -> PassResult:
        options = context.options
        if options.sparsity == 0:
            return PassResult(model, False)
        weight_plan(options, Pattern("weight"))  # refuses what is no schedule, and one that lacks a training
        if options.heads == "whole" and options.schedule in ("iterative", "gradual"):
            raise UsageError(
                f"Whole attention heads cannot be removed by the schedule {options.schedule}.",
                code="heads-at-once",
                why="Between its steps it analyses the network anew, by positions.",
                hint="Take --schedule one-shot, or --heads positions.",
            )
        if options.schedule == "iterative":
            return prune_iteratively(model, context)
        if options.schedule == "gradual":
            return prune_in_stages(model, context)
        channels = channel_groups(model, whole_heads=options.heads == "whole")
        chosen = select(
            model,
            channels,
            options.sparsity,
            options.criterion,
            structure=ChannelStructure(context.formats.channel_multiple),
            seed=options.seed,
            data=context.calibration,
            scope=options.scope,
            progress=context.progress,
        )
        notes = [*pinned_notes(channels), *basis_notes(model, channels, context), saved_note(chosen, options.sparsity)]
        if options.scope == "searched":
            notes.append(search_note(chosen))
        details = {} if chosen.met else unreached("sparsity", options.sparsity, chosen.fraction)
        if not chosen.removed.any():
            return PassResult(model, False, tuple(notes), details)
        pruned = cut(model, channels, chosen.removed)
        notes.append(proof_note(model, channels, chosen, pruned, options.seed))
        if options.reconstruct and context.calibration is not None:
            refitted = reconstruct(
                model,
                pruned,
                channels,
                chosen.removed,
                context.calibration,
                seed=options.seed,
                progress=context.progress,
            )
            pruned = refitted.model
            notes += fit_notes(refitted)
        else:
            notes.append(not_refitted_note(options.reconstruct))
        return PassResult(pruned, True, tuple(notes), details)


def prune_iteratively(model: Model, context: Context) -> PassResult:
    """Step by step, until the sparsity is reached or the score on held-out samples would fall by more than max_drop.

    Where quantization follows, the score is that of the quantized network.
    """
    options, data = context.options, context.calibration
    if data is None or options.max_drop is None:
        raise UsageError(
            "Iterative pruning measures after every step: it needs data and the largest allowed drop.",
            code="needs-data" if data is None else "needs-max-drop",
            hint="--data FILE.npz --max-drop 0.01",
        )
    visible, hidden = data.split(len(data) // 2, options.seed)
    plan = Plan(
        options.sparsity,
        options.max_drop,
        options.criterion,
        options.scope,
        ChannelStructure(context.formats.channel_multiple),
        refit=options.reconstruct,
        seed=options.seed,
    )
    score = held_out(model, hidden, context.metric)
    found = prune_stepwise(
        model,
        as_compiled(score, replace(context, calibration=visible)),
        plan,
        visible,
        baseline=score(model),
        progress=context.progress,
    )
    channels = channel_groups(model)
    notes = (*pinned_notes(channels), *basis_notes(model, channels, context), steps_note(found, plan, len(hidden)))
    left = found.halted == "nothing-left"
    details = unreached("sparsity", options.sparsity, found.fraction) if left else {}
    if not found.removed.any():
        return PassResult(model, False, notes, details)
    check_proof(found.proof_error, ())
    return PassResult(found.model, True, notes, details)


def prune_in_stages(model: Model, context: Context) -> PassResult:
    """Gradually, with training in between; the model as it was before the first pass teaches."""
    from ..training import prune_channels_gradually

    options = context.options
    staged = prune_channels_gradually(
        model,
        samples(context),
        options.training,
        GradualChannels(options.sparsity, options.criterion, options.scope, options.rounds, options.reconstruct),
        teacher=context.original,
        features="blocks",
        transfer=context.transfer,
        structure=ChannelStructure(context.formats.channel_multiple),
        checkpoint=checkpoint_of(context, "prune_channels"),
        progress=context.progress,
    )
    check_proof(staged.proof_error, ())
    shares = ", ".join(f"{100 * stage.fraction:.1f} %" for stage in staged.stages)
    text = (
        f"{len(staged.stages)} stages with {options.training.epochs} epochs between and after them: {shares} fewer "
        f"MACs; mean loss {staged.stages[0].loss:.4g} -> {staged.stages[-1].loss:.4g}; every cut proven, largest "
        f"relative difference {staged.proof_error:.1e}."
    )
    return PassResult(staged.model, True, (*pinned_notes(channel_groups(model)), Note("channels-removed", text)))


def steps_note(found: Stepwise, plan: Plan, samples: int) -> Note:
    """What the steps came to, and why they ended."""
    back = sum(not step.accepted for step in found.steps)
    text = (
        f"{len(found.steps) - back} steps kept, {back} undone: {100 * found.fraction:.1f} % fewer MACs, score "
        f"{found.baseline:.4f} -> {found.score:.4f} on {samples} held-out samples (allowed drop {plan.max_drop:g}); "
        f"every cut proven, largest relative difference {found.proof_error:.1e}."
    )
    if found.halted == "target-met":
        return Note("channels-removed", text)
    text += f" {100 * plan.fraction:.1f} % were asked for."
    if found.halted == "contract":
        return Note("halted-by-contract", f"{text} One more step would cost too much.")
    return Note("sparsity-not-reached", f"{text} No more channels can go.")


def basis_notes(model: Model, channels: Channels, context: Context) -> list[Note]:
    """For gradients: which loss they are of. For the criterion `bn`: that it had to recover scales, and from what."""
    if context.options.criterion != "bn":
        return loss_notes(context.options.criterion, context.calibration)
    known = known_scales(model, channels)
    folded = sum(int(np.isnan(known[group.units]).sum()) for group in channels.prunable)
    if not folded:
        return []
    basis = "the norm of their weights" if context.calibration is None else "the deviation of their values on the data"
    return [
        Note(
            "batch-norm-folded",
            f"{folded} channels have no batch normalisation (any more): {basis} takes the place of its scale.",
        )
    ]


def pinned_notes(channels: Channels) -> list[Note]:
    """One note for every reason at every place that keeps channels from being removed."""
    sizes: dict[tuple[str, str], int] = defaultdict(int)
    for group in channels.groups:
        if group.pinned_because is not None:
            sizes[group.pinned_because.code, group.pinned_because.where] += group.size
    return [
        Note(code, f"{size} channels stay. {REASONS[code].text}", where, REASONS[code].hint)
        for (code, where), size in sizes.items()
    ]


def saved_note(chosen: Selection, target: float) -> Note:
    """What the selection saves, and whether that is what was asked for."""
    text = (
        f"{int(chosen.removed.sum())} of {len(chosen.removed)} channels removed by criterion {chosen.criterion}: "
        f"{chosen.macs_before} MACs become {chosen.macs_after}, {100 * chosen.fraction:.1f} % fewer."
    )
    if chosen.met:
        return Note("channels-removed", text)
    hint = (
        "The remaining MACs are in pinned channels, in groups that are as small as they may become, or (criterion obs) "
        "in layers whose outputs do not vary on the data."
    )
    return Note("sparsity-not-reached", f"{text} {100 * target:.1f} % were asked for.", hint=hint)


def search_note(chosen: Selection) -> Note:
    """Whether the widths were searched for."""
    if chosen.trials:
        return Note("widths-searched", f"{chosen.trials} networks were refitted and measured to choose the widths.")
    return Note(
        "widths-not-searched",
        "The widths follow from the scores alone: the network is too large for a search, has a fixed batch or a single "
        "group of channels, or there are too few samples.",
        hint="Give some hundred unlabelled samples; or budgets (--budget), whose solver measures groups one by one.",
    )


def proof_note(model: Model, channels: Channels, chosen: Selection, pruned: Model, seed: int) -> Note:
    """Proves the cut. Raises InvalidModelError when the proof fails."""
    proof = prove(model, channels, chosen.removed, pruned, seed=seed)
    check_proof(proof.max_relative_error, proof.compared)
    return Note(
        "cut-proven",
        f"Equal to the original with the removed channels zeroed: largest relative difference "
        f"{proof.max_relative_error:.1e} on {proof.samples} random inputs.",
    )


def check_proof(error: float, compared: Sequence[str]) -> None:
    """Raises InvalidModelError when a cut differs from the original with zeroed consumers."""
    if not error <= MAX_PROOF_ERROR:
        raise InvalidModelError(
            "The pruned model does not compute what the original computes without the removed channels.",
            code="proof-failed",
            where=", ".join(compared) or None,
            why=f"Largest relative difference {error:.1e}, allowed {MAX_PROOF_ERROR:.0e}.",
            hint="This is a fault of Prunus, or of a model that overflows; please report it. Without --sparsity "
            "the model compiles unpruned.",
        )


def fit_notes(refitted: Reconstruction) -> list[Note]:
    """What the reconstruction gained, and the layers that it left out."""
    notes = [Note("layer-not-refitted", _UNFIT[each.code], each.where) for each in refitted.unfit]
    if not refitted.fits:
        return [*notes, Note("nothing-refitted", "No layer behind the removed channels could be refitted.")]
    before, after = (
        sum(getattr(fit, when) for fit in refitted.fits) / len(refitted.fits) for when in ("before", "after")
    )
    text = (
        f"{len(refitted.fits)} layers refitted by least squares on {refitted.samples} samples: mean relative squared "
        f"error of their outputs {before:.3g} -> {after:.3g}."
    )
    return [*notes, Note("layers-refitted", text)]


def not_refitted_note(wanted: bool) -> Note:
    """Why no reconstruction took place."""
    if wanted:
        return Note(
            "no-calibration-data",
            "The layers behind the removed channels were not refitted: there is no data.",
            hint="Give some hundred unlabelled samples: --data FILE.npz",
        )
    return Note("reconstruction-off", "The layers behind the removed channels were not refitted, as asked.")
