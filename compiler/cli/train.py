"""The command that learns: fine-tuning and distillation, ONNX to ONNX."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..config.settings import Settings
from ..training.tuning import Tuning
from . import options as opt
from . import show
from .settings import takes

if TYPE_CHECKING:
    from ..data import Data
    from ..model.model import Model
    from ..training import Tuned


@takes(
    *("model", "data", "coreset", "transfer", Tuning, "sparsity", "criterion", "scope", "weight_sparsity", "pattern"),
    *("schedule", "rounds", "rewind", "shape", "seed"),
    data="Samples to learn from: .npz with x (and y), or a folder.",
    schedule="How channels or weights are pruned meanwhile: gradual (default), surgery or lottery.",
)
def train(
    settings: Settings,
    out: Annotated[Path, typer.Option("--out", "-o", help="The trained model, an .onnx file.")],
    teacher: Annotated[
        Path | None,
        typer.Option(help="The model as it was before pruning, or another; needs no labels.", show_default=False),
    ] = None,
    feature: Annotated[
        list[str] | None,
        typer.Option(help="A value that should resemble one of the teacher's, OURS=THEIRS (repeatable)."),
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(help="A weight or node that stays as it is, or a pattern like features.* (repeatable)."),
    ] = None,
    freeze_until: Annotated[
        str | None, typer.Option(help="A node; it and everything that it is computed from stay.", show_default=False)
    ] = None,
    outputs: Annotated[
        int | None,
        typer.Option(help="For another task: a fresh last layer with so many outputs.", show_default=False, min=1),
    ] = None,
    initial: Annotated[
        Path | None,
        typer.Option(help="The model as it was before its training, for --schedule lottery.", show_default=False),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Written after every epoch; an interrupted run goes on.", show_default=False)
    ] = None,
    json: opt.Json = False,
) -> None:
    """Train MODEL on labels or on a teacher's answers: ONNX in, ONNX out.

    With --weight-sparsity or --sparsity it is pruned meanwhile. With --outputs it learns another task.
    """
    from ..coreset import reduced
    from ..data import load_data
    from ..model.load import load
    from ..model.save import save
    from ..output import refuse_nowhere
    from ..training import weights_until, with_new_head

    refuse_nowhere(out)
    options = settings.options
    shapes = opt.parse_shapes(settings.job.shape)
    loaded = load(settings.need("model"), shapes=shapes)
    frozen = [*(freeze or ()), *(() if freeze_until is None else weights_until(loaded, freeze_until))]
    guide, start = (None if path is None else load(path, shapes=shapes) for path in (teacher, initial))
    with show.progress_bar(not json) as progress:
        data = reduced(load_data(settings.need("data"), loaded), loaded, options.coreset, options.seed, progress)
        more = None if settings.job.transfer is None else load_data(settings.job.transfer, loaded)
        student = loaded if outputs is None else with_new_head(loaded, outputs, options.seed)
        pairs = _features(feature or (), student, guide)
        tuned = _learn(
            student,
            data,
            settings,
            initial=start,
            teacher=guide,
            features=pairs,
            transfer=more,
            freeze=frozen,
            checkpoint=checkpoint,
            progress=progress,
        )
    save(tuned.model, out)
    _print(loaded, tuned, out, json)


def _learn(student: Model, data: Data, settings: Settings, *, initial: Model | None, **common: Any) -> Tuned:
    """Trains as the settings say, and prunes meanwhile where they ask for it."""
    from ..errors import UsageError
    from ..passes.prune_weights import choose_pattern
    from ..target import Formats
    from ..training import GradualChannels, Lottery, prune_channels_gradually, train_by_plan
    from ..training.plans import weight_plan

    options = replace(settings.options, training=settings.tuning)
    pruned = options.sparsity or options.weight_sparsity
    if pruned and "schedule" not in settings.given:
        options = replace(options, schedule="gradual")
    plan = weight_plan(options, choose_pattern(options.pattern, Formats()))
    if initial is not None:
        if not isinstance(plan, Lottery):
            raise UsageError(
                "--initial is for --schedule lottery alone.",
                code="initial-unused",
                hint="Add --schedule lottery --weight-sparsity 0.8, or leave it out.",
            )
        common["initial"] = initial
    if options.sparsity:
        if options.schedule != "gradual" or plan is not None:
            raise UsageError(
                "Channels go gradually, or not at all, while training.",
                code="one-kind-of-pruning",
                hint="`prunus prune` prunes channels and weights in one go.",
            )
        stages = GradualChannels(options.sparsity, options.criterion, options.scope, options.rounds)
        return prune_channels_gradually(student, data, settings.tuning, stages, **common).tuned
    if pruned and plan is None:
        raise UsageError(
            f"The schedule '{options.schedule}' does not prune while training.",
            code="schedule-without-training",
            hint="--schedule gradual, surgery or lottery; or `prunus prune`.",
        )
    return train_by_plan(student, data, settings.tuning, plan, **common)


def _features(pairs: Sequence[str], student: Model, teacher: Model | None) -> dict[str, str]:
    """`OURS=THEIRS` by the user's names -> plain names. Raises UsageError (`bad-feature`)."""
    from ..errors import UsageError
    from ..model.shapes import all_values

    found = {}
    for pair in pairs:
        names = pair.partition("=")[::2]
        plain = [
            next((value.name for value in all_values(model.graph) if model.original(value.name or "") == name), None)
            for model, name in zip((student, teacher), names, strict=True)
            if model is not None
        ]
        if len(plain) < 2 or None in plain:
            raise UsageError(
                f"The feature '{pair[:80]}' cannot be read.",
                code="bad-feature",
                why="There is no teacher." if teacher is None else "One of the models has no value of that name.",
                hint="Write --feature OURS=THEIRS with the values' names in the two model files.",
            )
        found[str(plain[0])] = str(plain[1])
    return found


def _print(loaded: Model, tuned: Tuned, out: Path, json: bool) -> None:
    """What was learned, and where it is."""
    if json:
        show.print_json(
            {
                "out": str(out),
                "losses": list(tuned.losses),
                "trained": [loaded.original(name) for name in tuned.trained],
                "device": tuned.device,
                "resumed_from": tuned.resumed_from,
                "zeros": [update.realised for update in tuned.updates],
            }
        )
        return
    first, last = tuned.losses[0], tuned.losses[-1]
    show.output.print(f"{len(tuned.trained)} weights trained on {tuned.device}; mean loss {first:.4g} → {last:.4g}")
    if tuned.updates:
        zeros = f"{100 * tuned.updates[-1].realised:.1f} % of the weights of the layers that take part are zero"
        show.output.print(f"{zeros}, in {len(tuned.updates)} steps")
    show.output.print(f"Written: {show.printable(str(out), 300)}", soft_wrap=True)
