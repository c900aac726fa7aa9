"""The command that learns: fine-tuning and distillation, ONNX to ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import options as opt
from . import show


def train(
    model: opt.ModelFile,
    data: Annotated[Path, typer.Option("--data", help="Samples to learn from: .npz with x (and y), or a folder.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The trained model, an .onnx file.")],
    teacher: Annotated[
        Path | None,
        typer.Option(help="The model as it was before pruning, or another; needs no labels.", show_default=False),
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the data.")] = 5,
    batch: Annotated[int, typer.Option(help="Samples per step.")] = 32,
    learning_rate: Annotated[
        float, typer.Option(help="Adam's first step, relative to each weight; it falls to zero.")
    ] = 1e-2,
    loss: Annotated[str, typer.Option(help="auto, cross_entropy or mse.")] = "auto",
    distillation: Annotated[float, typer.Option(help="The teacher's share of the loss, 0 to 1.")] = 0.9,
    temperature: Annotated[float, typer.Option(help="How soft the teacher's answers are made.")] = 2.0,
    freeze: Annotated[
        list[str] | None, typer.Option(help="A weight or node that stays as it is (repeatable).", show_default=False)
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="Written after every epoch; an interrupted run goes on.", show_default=False)
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; another number may give other last digits.")] = 1,
    shape: opt.Shapes = None,
    seed: opt.Seed = 0,
    json: opt.Json = False,
) -> None:
    """Train MODEL on labels or on a teacher's answers: ONNX in, ONNX of the same structure out."""
    from typing import cast

    from ..data import load_data
    from ..model.load import load
    from ..model.save import save
    from ..training import Tuning, fine_tune
    from ..training.tuning import Loss

    tuning = Tuning(
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate,
        loss=cast(Loss, loss),  # checked by Tuning itself
        distillation=distillation,
        temperature=temperature,
        seed=seed,
        threads=threads,
    )
    shapes = opt.parse_shapes(shape)
    loaded = load(model, shapes=shapes)
    with show.progress_bar(not json) as progress:
        tuned = fine_tune(
            loaded,
            load_data(data, loaded),
            tuning,
            teacher=None if teacher is None else load(teacher, shapes=shapes),
            freeze=freeze or (),
            checkpoint=checkpoint,
            progress=progress,
        )
    save(tuned.model, out)
    summary = {
        "out": str(out),
        "losses": list(tuned.losses),
        "trained": [loaded.original(name) for name in tuned.trained],
        "device": tuned.device,
        "resumed_from": tuned.resumed_from,
    }
    if json:
        show.print_json(summary)
        return
    first, last = tuned.losses[0], tuned.losses[-1]
    show.output.print(f"{len(tuned.trained)} weights trained on {tuned.device}; mean loss {first:.4g} → {last:.4g}")
    show.output.print(f"Written: {show.printable(str(out), 300)}", soft_wrap=True)
