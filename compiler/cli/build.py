"""Commands that make something: compile, prune, quantize."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..config.options import Coding, Common, Contract, Job, Options, Pruning, Quantization, Score
from ..config.setting import flag
from ..config.settings import Settings
from ..errors import BudgetError
from ..training.tuning import Tuning
from . import options as opt
from . import show
from .settings import takes

if TYPE_CHECKING:
    from ..data import Data
    from ..driver import Request
    from ..model.model import Model


_FINE_TUNING = "Fine-tune the pruned model: passes over the data. Without it: none."


@takes(
    Job,
    Common,
    Contract,
    Score,
    Pruning,
    Quantization,
    Coding,
    Tuning,
    epochs=_FINE_TUNING,
)
def compile_command(settings: Settings, untrusted: opt.Untrusted = False, json: opt.Json = False) -> None:
    """Compile MODEL for a device: prune, fine-tune, quantize, lower, verify, report."""
    from ..sandbox import contained

    if untrusted and contained():
        return
    from ..driver import compile

    with show.progress_bar(not json) as progress:
        compiled = compile(_request(settings), progress)
    if json:
        show.print_json(compiled.report.model_dump(mode="json", by_alias=True))
    else:
        show.print_report(compiled.report, str(compiled.out))
    if not compiled.report.verdict.met:
        raise typer.Exit(BudgetError.exit_code)


def _request(settings: Settings) -> Request:
    """What the settings ask of `compile`. Raises UsageError for what is missing or cannot be read."""
    from ..driver import Request

    job, score = settings.job, settings.score
    return Request(
        model=settings.need("model"),
        target=settings.need("target"),
        out=job.out,
        data=job.data or opt.load_function("data-from", job.data_from),
        calibration=job.calibration,
        training=job.training_data,
        transfer=job.transfer,
        options=settings.options,
        budget=opt.parse_budget(score.budget),
        metric=score.metric,
        metric_timeout_s=score.metric_timeout,
        verify_samples=job.verify_samples,
        dump_dir=job.dump_dir,
        skip=job.skip_pass,
        shapes=opt.parse_shapes(job.shape),
        measure_latency=job.measure,
        configuration=settings.effective,
    )


@takes(
    *("model", "data", "coreset", "training_data", "transfer", "shape", "seed", "checkpoint_dir"),
    *(Pruning, Contract, "metric", "metric_timeout", Tuning),
    epochs=_FINE_TUNING,
)
def prune(
    settings: Settings,
    out: Annotated[Path, typer.Option("--out", "-o", help="The pruned model, an .onnx file.")],
    json: opt.Json = False,
) -> None:
    """Prune MODEL: ONNX in, smaller ONNX out. With --data the remaining weights are reconstructed.

    Without any share, half of the multiply-accumulates go. With --epochs, the result is fine-tuned.
    """
    options = replace(settings.options, quantize=False)
    if not {"sparsity", "layer_sparsity", "weight_sparsity"} & settings.given.keys():
        options = replace(options, sparsity=0.5)
    _one_stage(settings, out, options, "fine_tune", json)


@takes(
    *("model", "target", "data", "coreset", "training_data", "transfer", "shape", "seed", "checkpoint_dir"),
    *(Quantization, "batch", "learning_rate", "device", "threads"),
    target="Quantize the way this device wants it.",
)
def quantize(
    settings: Settings,
    out: Annotated[Path, typer.Option("--out", "-o", help="The quantized model, an .onnx file.")],
    json: opt.Json = False,
) -> None:
    """Quantize MODEL: ONNX in, standard QDQ ONNX out; int8 per channel, or as --target wants it."""
    options = settings.only(Common, Quantization, Tuning).options
    options = replace(options, training=replace(options.training, epochs=0))
    _one_stage(settings, out, options, None, json)


def _one_stage(settings: Settings, out: Path, options: Options, last: str | None, json: bool) -> None:
    """Runs the pipeline up to the pass `last` and writes the model."""
    from ..metric import IsolatedMetric
    from ..model.load import load
    from ..model.save import save
    from ..model.workload import workload
    from ..output import refuse_nowhere
    from ..passes.base import Context
    from ..pipeline import Pipeline
    from ..registry import resolve
    from ..samples import read
    from ..target import Formats

    refuse_nowhere(out)
    job, score = settings.job, settings.score
    formats = Formats()
    if job.target is not None:
        backend, device = resolve(job.target)
        formats = backend.formats(device)
    metric = None if score.metric is None else IsolatedMetric(score.metric, score.metric_timeout)
    loaded = load(settings.need("model"), shapes=opt.parse_shapes(job.shape))
    with show.progress_bar(not json) as progress:
        context = Context(
            formats=formats,
            options=options,
            calibration=_samples(loaded, settings) if job.data else None,
            training=read(loaded, job.training_data),
            transfer=read(loaded, job.transfer),
            metric=metric,
            progress=progress,
        )
        result = Pipeline.default(last=last).run(loaded, context)
    for each in result.unreached:
        most = math.floor(100 * each["reached"]) / 100
        raise BudgetError(
            "The model cannot be pruned as far; nothing was written.",
            code="sparsity-not-reached",
            where=str(job.model),
            why=each["why"],
            hint=f"Ask for {flag(each['option'])} {most:g} or less."
            if most
            else "`prunus inspect` shows the channels.",
        )
    save(result.model, out)
    before, after = workload(loaded), workload(result.model)
    summary = {
        "out": str(out),
        "macs_before": before.macs,
        "macs_after": after.macs,
        "weight_bytes_before": before.weight_bytes,
        "weight_bytes_after": after.weight_bytes,
        "notes": [
            {"pass": record.name, "code": note.code, "text": note.text, "where": loaded.original(note.where)}
            for record in result.records
            for note in record.notes
        ],
    }
    if json:
        show.print_json(summary)
        return
    from ..report.text import si

    weights = f"{si(before.weight_bytes, 'B')} → {si(after.weight_bytes, 'B')}"
    show.output.print(f"MACs {si(before.macs)} → {si(after.macs)}, weights {weights}")
    for record in result.records:
        for note in record.notes:
            where = f" [dim]{show.printable(loaded.original(note.where))}[/]" if note.where else ""
            show.output.print(f"  [bold]{record.name}[/] {show.printable(note.text, 300)}{where}")
    show.output.print(f"Written: {show.printable(str(out), 300)}", soft_wrap=True)


def _samples(model: Model, settings: Settings) -> Data:
    """The samples to work with: those of the coreset, or else the first ones."""
    from ..coreset import reduced
    from ..data import load_data

    data, options = load_data(settings.need("data"), model), settings.options
    return reduced(data, model, options.coreset, options.seed) if options.coreset else data.first(512)
