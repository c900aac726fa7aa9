"""Commands that make something: compile, prune, quantize."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BudgetError, UsageError
from . import options as opt
from . import show

if TYPE_CHECKING:
    from ..passes.base import Options


def compile_command(
    model: opt.ModelFile,
    target: opt.TargetName,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the artefact and the report.")] = Path("out"),
    data: opt.DataFile = None,
    calibration: opt.CalibrationFile = None,
    data_from: Annotated[
        str | None, typer.Option(help="Your own source of samples, package.module:function.", show_default=False)
    ] = None,
    sparsity: Annotated[float, typer.Option(help="Share of multiply-accumulates to prune away, 0 to 0.95.")] = 0.0,
    criterion: opt.Criterion = "auto",
    scope: opt.Scope = "global",
    schedule: opt.Schedule = "one-shot",
    layer_sparsity: opt.LayerSparsity = 0.0,
    weight_sparsity: opt.WeightSparsity = 0.0,
    pattern: opt.ZeroPattern = "auto",
    max_drop: Annotated[
        float | None, typer.Option(help="Largest allowed loss of accuracy, for example 0.01.", show_default=False)
    ] = None,
    budget: Annotated[
        str | None, typer.Option(help="Upper bounds: latency=1ms,lut=20000,ram=64kb …", show_default=False)
    ] = None,
    metric: Annotated[
        str | None, typer.Option(help="Your own score, package.module:function(outputs, labels).", show_default=False)
    ] = None,
    verify_samples: Annotated[int, typer.Option(help="Samples on which the artefact must equal the reference.")] = 64,
    measure: Annotated[bool, typer.Option("--measure", help="Time the artefact here; not reproducible.")] = False,
    shape: opt.Shapes = None,
    seed: opt.Seed = 0,
    dump_dir: Annotated[
        Path | None, typer.Option(help="Keep the model after every pass in this folder.", show_default=False)
    ] = None,
    skip_pass: Annotated[
        list[str] | None, typer.Option(help="Leave a pass out (repeatable).", show_default=False)
    ] = None,
    untrusted: opt.Untrusted = False,
    json: opt.Json = False,
) -> None:
    """Compile MODEL for a device: prune, quantize, lower, verify, report."""
    from ..sandbox import contained

    if untrusted and contained():
        return
    from ..driver import Request, compile

    if verify_samples < 1:
        raise UsageError("--verify-samples must be at least 1.", code="out-of-range")
    request = Request(
        model=model,
        target=target,
        out=out,
        data=data or opt.load_function("data-from", data_from),
        calibration=calibration,
        options=_compression(
            sparsity,
            layer_sparsity,
            weight_sparsity,
            max_drop,
            criterion=criterion,
            scope=scope,
            schedule=schedule,
            pattern=pattern,
            seed=seed,
        ),
        max_drop=None if max_drop is None else opt.fraction("max-drop", max_drop),
        budget=opt.parse_budget(budget),
        metric=opt.load_function("metric", metric),
        verify_samples=verify_samples,
        dump_dir=dump_dir,
        skip=tuple(skip_pass or ()),
        shapes=opt.parse_shapes(shape),
        measure_latency=measure,
    )
    with show.progress_bar(not json) as progress:
        compiled = compile(request, progress)
    if json:
        show.print_json(compiled.report.model_dump(mode="json", by_alias=True))
    else:
        show.print_report(compiled.report, str(compiled.out))
    verdict = compiled.report.verdict
    if not verdict.met:
        raise typer.Exit(BudgetError.exit_code)


def prune(
    model: opt.ModelFile,
    out: Annotated[Path, typer.Option("--out", "-o", help="The pruned model, an .onnx file.")],
    sparsity: Annotated[
        float | None,
        typer.Option(
            help="Share of multiply-accumulates to prune away by removing channels, 0 to 0.95.",
            show_default="0.5, or 0 with --weight-sparsity or --layer-sparsity",
        ),
    ] = None,
    criterion: opt.Criterion = "auto",
    scope: opt.Scope = "global",
    schedule: opt.Schedule = "one-shot",
    layer_sparsity: opt.LayerSparsity = 0.0,
    max_drop: Annotated[
        float | None,
        typer.Option(help="Largest loss of accuracy that the iterative schedule may cause.", show_default=False),
    ] = None,
    weight_sparsity: opt.WeightSparsity = 0.0,
    pattern: opt.ZeroPattern = "auto",
    data: opt.DataFile = None,
    shape: opt.Shapes = None,
    seed: opt.Seed = 0,
    json: opt.Json = False,
) -> None:
    """Prune MODEL: ONNX in, smaller ONNX out. With --data the remaining weights are reconstructed."""
    if sparsity is None:
        sparsity = 0.0 if weight_sparsity or layer_sparsity else 0.5
    options = _compression(
        sparsity,
        layer_sparsity,
        weight_sparsity,
        max_drop,
        criterion=criterion,
        scope=scope,
        schedule=schedule,
        pattern=pattern,
        seed=seed,
    )
    _one_stage(model, out, data, shape, options, "prune_weights", None, json)


def _compression(
    sparsity: float, layer_sparsity: float, weight_sparsity: float, max_drop: float | None, **others: Any
) -> Options:
    """What the user asked of the passes; shares outside of their range are UsageErrors."""
    from ..passes.base import Options

    return Options(
        sparsity=opt.fraction("sparsity", sparsity, 0.96),
        layer_sparsity=opt.fraction("layer-sparsity", layer_sparsity, 0.96),
        weight_sparsity=opt.fraction("weight-sparsity", weight_sparsity, 0.99),
        max_drop=None if max_drop is None else opt.fraction("max-drop", max_drop),
        **others,
    )


def quantize(
    model: opt.ModelFile,
    out: Annotated[Path, typer.Option("--out", "-o", help="The quantized model, an .onnx file.")],
    data: opt.DataFile = None,
    target: Annotated[
        str | None,
        typer.Option("--target", "-t", help="Quantize the way this device wants it.", show_default="int8, per channel"),
    ] = None,
    shape: opt.Shapes = None,
    seed: opt.Seed = 0,
    json: opt.Json = False,
) -> None:
    """Quantize MODEL to int8: ONNX in, standard QDQ ONNX out."""
    from ..passes.base import Options

    _one_stage(model, out, data, shape, Options(seed=seed), None, target, json)


def _one_stage(
    model: Path,
    out: Path,
    data: Path | None,
    shape: list[str] | None,
    options: Options,
    last: str | None,
    target: str | None,
    json: bool,
) -> None:
    """Runs the pipeline up to the pass `last` and writes the model."""
    from ..data import load_data
    from ..model.load import load
    from ..model.save import save
    from ..model.workload import workload
    from ..passes.base import Context
    from ..pipeline import Pipeline
    from ..registry import resolve
    from ..target import Formats

    loaded = load(model, shapes=opt.parse_shapes(shape))
    formats = Formats()
    if target is not None:
        backend, device = resolve(target)
        formats = backend.formats(device)
    with show.progress_bar(not json) as progress:
        context = Context(
            formats=formats,
            options=options,
            calibration=load_data(data, loaded).first(512) if data else None,
            progress=progress,
        )
        result = Pipeline.default(last=last).run(loaded, context)
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
    from ..report.html import si

    weights = f"{si(before.weight_bytes, 'B')} → {si(after.weight_bytes, 'B')}"
    show.output.print(f"MACs {si(before.macs)} → {si(after.macs)}, weights {weights}")
    for record in result.records:
        for note in record.notes:
            where = f" [dim]{show.printable(loaded.original(note.where))}[/]" if note.where else ""
            show.output.print(f"  [bold]{record.name}[/] {show.printable(note.text, 300)}{where}")
    show.output.print(f"Written: {show.printable(str(out), 300)}", soft_wrap=True)
