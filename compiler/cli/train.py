"""The command that learns: fine-tuning and distillation, ONNX to ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..config.settings import Settings
from ..training.tuning import Tuning
from . import options as opt
from . import show
from .settings import takes

if TYPE_CHECKING:
    from ..model.model import Model
    from ..training import Tuned


@takes(
    "model", "data", "coreset", Tuning, "shape", "seed", data="Samples to learn from: .npz with x (and y), or a folder."
)
def train(
    settings: Settings,
    out: Annotated[Path, typer.Option("--out", "-o", help="The trained model, an .onnx file.")],
    teacher: Annotated[
        Path | None,
        typer.Option(help="The model as it was before pruning, or another; needs no labels.", show_default=False),
    ] = None,
    freeze: Annotated[
        list[str] | None, typer.Option(help="A weight or node that stays as it is (repeatable).", show_default=False)
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Written after every epoch; an interrupted run goes on.", show_default=False)
    ] = None,
    json: opt.Json = False,
) -> None:
    """Train MODEL on labels or on a teacher's answers: ONNX in, ONNX of the same structure out."""
    from ..coreset import reduced
    from ..data import load_data
    from ..model.load import load
    from ..model.save import save
    from ..training import fine_tune

    options = settings.options
    shapes = opt.parse_shapes(settings.job.shape)
    loaded = load(settings.need("model"), shapes=shapes)
    with show.progress_bar(not json) as progress:
        tuned = fine_tune(
            loaded,
            reduced(load_data(settings.need("data"), loaded), loaded, options.coreset, options.seed, progress),
            settings.tuning,
            teacher=None if teacher is None else load(teacher, shapes=shapes),
            freeze=freeze or (),
            checkpoint=checkpoint,
            progress=progress,
        )
    save(tuned.model, out)
    _print(loaded, tuned, out, json)


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
            }
        )
        return
    first, last = tuned.losses[0], tuned.losses[-1]
    show.output.print(f"{len(tuned.trained)} weights trained on {tuned.device}; mean loss {first:.4g} → {last:.4g}")
    show.output.print(f"Written: {show.printable(str(out), 300)}", soft_wrap=True)
