"""`prune_layers`: removes whole residual blocks until a share of the multiply-accumulates is gone."""

from __future__ import annotations

from typing import ClassVar

from ..model.model import Model
from ..pruning.blocks import Shortened, shorten
from .base import Context, Note, PassResult, unreached
from .loss_notes import loss_notes


class PruneLayers:
    """Select, remove, prove, refit what follows.

    Reads `context.options`: `layer_sparsity` (share of MACs to remove; 0 leaves the model as it is), `layer_criterion`,
    `reconstruct` and `seed`; and `context.calibration`, which all criteria but `random` need.

    Raises:
        InvalidModelError: the result does not equal the original with zeroed branches (code `proof-failed`).
        UsageError: the share or the criterion is not valid, or there is no data for it.
    """

    name: ClassVar[str] = "prune_layers"
    summary: ClassVar[str] = "Removing residual blocks"
    requires: ClassVar[tuple[str, ...]] = ("valid",)
    ensures: ClassVar[tuple[str, ...]] = ("valid", "interface", "sparsity")

    def run(self, model: Model, context: Context) -> PassResult:
        options = context.options
        if options.layer_sparsity == 0:
            return PassResult(model, False)
        found = shorten(
            model,
            options.layer_sparsity,
            options.layer_criterion,
            data=context.calibration,
            reconstruct=options.reconstruct,
            seed=options.seed,
        )
        notes = [Note("block-removed", f"{block.macs} MACs.", block.end) for block in found.blocks]
        notes += loss_notes(options.layer_criterion, context.calibration)
        notes.append(removed_note(found, options.layer_sparsity))
        saved = 1 - found.macs_after / max(found.macs_before, 1)
        details = {} if found.met else unreached("layer_sparsity", options.layer_sparsity, saved)
        return PassResult(found.model, bool(found.blocks), tuple(notes), details)


def removed_note(found: Shortened, target: float) -> Note:
    """What the blocks save, whether that is what was asked for, and what was done for the layers behind them."""
    saved = 1 - found.macs_after / max(found.macs_before, 1)
    text = (
        f"{len(found.blocks)} residual blocks removed: {found.macs_before} MACs become {found.macs_after}, "
        f"{100 * saved:.1f} % fewer; proven, largest relative difference {found.proof_error:.1e}; "
        f"{found.refitted} layers refitted."
    )
    if found.met:
        return Note("blocks-removed", text)
    return Note("sparsity-not-reached", f"{text} {100 * target:.1f} % were asked for; no other block can go.")
