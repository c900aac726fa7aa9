"""`survey`: changes nothing, and says what there is to prune: redundancy, and what each criterion would remove."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, ClassVar

from ..model.model import Model
from ..pruning.outlook import Outlooks, outlooks
from ..pruning.redundancy import Redundancy, redundancy
from ..quantity import Estimate
from .base import Context, Note, PassResult

DEFAULT_SHARE = 0.5  # of the MACs to remove in the outlook, where the user asked for none


class Survey:
    """Looks at the network before anything is pruned.

    Reads `context.options`: `explain` (whether the criteria are asked, which takes seconds to minutes), `sparsity` and
    `seed`; `context.calibration` for the criteria and to measure the loss; `context.target` and `device` for costs.
    """

    name: ClassVar[str] = "survey"
    summary: ClassVar[str] = "Looking for redundancy"
    requires: ClassVar[tuple[str, ...]] = ("valid",)
    ensures: ClassVar[tuple[str, ...]] = ("valid", "interface")

    def run(self, model: Model, context: Context) -> PassResult:
        options = context.options
        layers = redundancy(model)
        details: dict[str, Any] = {"redundancy": [asdict(layer) for layer in layers]}
        if options.explain:
            place = None
            if context.target is not None and context.device is not None:
                place = (context.target, context.device)
            found = outlooks(
                model,
                options.sparsity or DEFAULT_SHARE,
                data=context.calibration,
                formats=context.formats,
                target=place,
                refit=options.reconstruct,
                seed=options.seed,
                progress=context.progress,
            )
            details["outlook"] = outlook_details(found)
        return PassResult(model, False, (redundancy_note(layers),), details)


def redundancy_note(layers: Sequence[Redundancy]) -> Note:
    """The sum over all layers."""
    duplicates, dead = sum(layer.duplicates or 0 for layer in layers), sum(layer.dead for layer in layers)
    low = sum(layer.rank is not None and layer.rank < layer.full_rank for layer in layers)
    faint = sum(layer.near_zero * layer.weights for layer in layers) / max(sum(each.weights for each in layers), 1)
    return Note(
        "redundancy",
        f"{sum(layer.channels for layer in layers)} channels in {len(layers)} layers: {duplicates} nearly repeat "
        f"another, {dead} are dead; {low} layers have less than full rank; {100 * faint:.1f} % of the weights are near "
        "zero.",
    )


def outlook_details(found: Outlooks) -> dict[str, Any]:
    """The outlook ready for JSON; layers by their plain names."""
    return {
        "fraction": found.fraction,
        "macs": found.macs,
        "channels": found.channels,
        "loss_kind": found.loss_kind,
        "samples": found.samples,
        "cost": _costs(found.estimate),
        "skipped": dict(found.skipped),
        "criteria": [
            {
                "criterion": each.criterion,
                "macs": each.macs,
                "channels": each.channels,
                "loss": each.loss,
                "refitted_loss": each.refitted_loss,
                "cost": _costs(each.estimate),
                "layers": [
                    {"layer": name, "channels": channels, "removed": removed}
                    for name, (channels, removed) in each.layers.items()
                ],
            }
            for each in found.found
        ],
    }


def _costs(estimate: Estimate | None) -> Mapping[str, float]:
    return {} if estimate is None else {key: quantity.value for key, quantity in sorted(estimate.costs.items())}
