"""The command that looks before anything is pruned: redundancy, and what each criterion would remove."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..config.settings import Settings
from . import options as opt
from . import show
from .settings import takes

if TYPE_CHECKING:
    from ..report.schema import PruningOutlook, RedundancyInfo


@takes(
    "model",
    "target",
    "data",
    "coreset",
    "sparsity",
    "reconstruct",
    "shape",
    "seed",
    target="Also say what the device would take for it.",
    sparsity="The share of multiply-accumulates that the criteria remove. Default: 0.5",
    reconstruct="Also measure the loss after refitting; this takes most of the time. Default: on",
)
def inspect(settings: Settings, json: opt.Json = False) -> None:
    """Say how redundant MODEL is, layer by layer, and what each pruning criterion would remove, lose and save."""
    from ..coreset import reduced
    from ..data import load_data
    from ..model.load import load
    from ..passes.base import Context
    from ..pipeline import Pipeline
    from ..registry import resolve
    from ..report.build import survey_infos
    from ..target import Formats

    job, options = settings.job, settings.options
    loaded = load(settings.need("model"), shapes=opt.parse_shapes(job.shape))
    target, device = resolve(job.target) if job.target else (None, None)
    with show.progress_bar(not json) as progress:
        data = load_data(job.data, loaded) if job.data else None
        context = Context(
            formats=target.formats(device) if target is not None and device is not None else Formats(),
            options=replace(options, explain=True),
            calibration=None if data is None else reduced(data, loaded, options.coreset, options.seed, progress),
            target=target,
            device=device,
            progress=progress,
        )
        found = survey_infos(Pipeline.default(last="survey").run(loaded, context).records, loaded)
    if json:
        plain = [each.model_dump() for each in found["redundancy"]]
        show.print_json({"redundancy": plain, "outlook": found["outlook"].model_dump()})
        return
    _print_redundancy(found["redundancy"])
    _print_outlook(found["outlook"])


def _print_redundancy(layers: list[RedundancyInfo]) -> None:
    from ..report.text import percent

    show.print_rows(
        [
            {
                "layer": each.layer,
                "channels": each.channels,
                "near-duplicates": "–" if each.duplicates is None else each.duplicates,
                "dead": each.dead,
                "rank": f"{'–' if each.rank is None else each.rank} of {each.full_rank}",
                "weights near zero": percent(each.near_zero, 1),
            }
            for each in layers
        ]
    )


def _print_outlook(outlook: PruningOutlook) -> None:
    from ..report.text import OUTLOOK_COSTS, cost, percent, si, title

    keys = [key for key in OUTLOOK_COSTS if key in outlook.cost]
    whole = {"criterion": "(whole)", "MACs": si(outlook.macs), "channels gone": f"0 of {outlook.channels}"}
    rows: list[dict[str, Any]] = [
        {**whole, "loss": "", "refitted": "", **{title(key): cost(outlook.cost[key], key) for key in keys}}
    ]
    for each in outlook.criteria:
        rows.append(
            {
                "criterion": each.criterion,
                "MACs": si(each.macs),
                "channels gone": str(each.channels),
                "loss": "" if each.loss is None else f"{each.loss:.3g}",
                "refitted": "" if each.refitted_loss is None else f"{each.refitted_loss:.3g}",
                **{title(key): cost(each.cost[key], key) for key in keys if key in each.cost},
            }
        )
    show.print_rows(rows)
    about = f"{percent(outlook.fraction, 0)} of the multiply-accumulates were to go."
    if outlook.loss_kind:
        about += f" Loss: {outlook.loss_kind} on {outlook.samples} samples that no criterion saw."
    else:
        about += " Without --data no loss is measured."
    show.output.print(about)
    if outlook.skipped:
        why = ", ".join(f"{name} ({reason})" for name, reason in outlook.skipped.items())
        show.output.print(f"[dim]Not asked: {why}.[/]")
