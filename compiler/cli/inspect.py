"""Commands that ask: check, estimate, diff, explain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..config.settings import Settings
from ..errors import UsageError
from . import options as opt
from . import show
from .settings import takes

if TYPE_CHECKING:
    from ..integer.graph import Graph
    from ..model.model import Model
    from ..model.workload import Workload
    from ..target import Device, Formats, Target


_DEVICES = "One or more devices, separated by commas."


@takes("model", "target", "data", "shape", target=_DEVICES)
def check(settings: Settings, json: opt.Json = False) -> None:
    """Say what of MODEL would run where, and why, before anything is built."""
    from ..model.load import load
    from ..registry import resolve

    job = settings.job
    loaded = load(settings.need("model"), shapes=opt.parse_shapes(job.shape))
    rows: list[dict[str, Any]] = []
    with show.progress_bar(not json) as progress:
        for name in settings.need("target").split(","):
            backend, device = resolve(name.strip())
            graph = _integer_graph(loaded, backend.formats(device), job.data, progress)
            origins = {op.name: op for op in graph.ops}
            for finding in backend.check(graph, device):
                op = origins.get(finding.layer)
                node = op.origin[0] if op and op.origin else finding.layer
                rows.append(
                    {
                        "device": device.name,
                        "layer": loaded.original(node),
                        "op": op.kind if op else "",
                        "placement": finding.placement,
                        "reason": finding.reason_code,
                        "hint": finding.hint,
                    }
                )
    if json:
        show.print_json(rows)
    else:
        show.print_rows(rows)


def _integer_graph(model: Model, formats: Formats, data: Path | None, progress: Any) -> Graph:
    """The integer graph a device would get; without data, ranges come from seeded random inputs."""
    from ..data import load_data
    from ..integer.from_qdq import read_qdq
    from ..passes.base import Context, Options
    from ..pipeline import Pipeline

    context = Context(
        formats=formats,
        options=Options(random_calibration=data is None),
        calibration=load_data(data, model).first(64) if data else None,
        progress=progress,
    )
    return read_qdq(Pipeline.default().run(model, context).model, formats)


@takes(
    "model",
    "target",
    "sparsity",
    "data",
    "shape",
    target=_DEVICES,
    sparsity="Also with this share of MACs gone.",
)
def estimate(
    settings: Settings,
    against: Annotated[
        Path | None, typer.Option(help="Another .onnx to compare with, as it is: a compressed one.", show_default=False)
    ] = None,
    sweep: Annotated[
        str, typer.Option(help="Explore variants of an ASIC: rows=8..64,glb=64..1024.", show_default=False)
    ] = "",
    out: Annotated[
        Path | None, typer.Option(help="Folder for the study of an ASIC: JSON, CSV and HTML.", show_default=False)
    ] = None,
    jobs: Annotated[int, typer.Option(help="Processes that explore at the same time.")] = 2,
    json: opt.Json = False,
) -> None:
    """Estimate what MODEL would cost on each device, in seconds and without any tool: int8, and pruned when asked.

    For an ASIC (a device or asic:FILE.yaml), --out writes a study, and --sweep explores variants of the chip.
    """
    from ..model.load import load
    from ..registry import resolve
    from ..report.build import estimate_info

    job = settings.job
    shapes = opt.parse_shapes(job.shape)
    loaded, other = load(settings.need("model"), shapes=shapes), load(against, shapes=shapes) if against else None
    rows: list[dict[str, Any]] = []
    for name in settings.need("target").split(","):
        backend, device = resolve(name.strip())
        works = _variants(loaded, other, backend.formats(device), settings.options.sparsity, job.data)
        if sweep or out is not None:
            _study(backend, device, works, sweep, out, jobs, json)
            continue
        for label, found in zip(works, backend.cost(list(works.values()), device), strict=True):
            for key, quantity in sorted(found.costs.items()):
                row = estimate_info(key, quantity).model_dump()
                rows.append({"device": device.name, "variant": label, **row})
    if rows:
        _print_estimates(rows, json)


def _variants(
    model: Model, other: Model | None, formats: Formats, sparsity: float, data: Path | None
) -> dict[str, Workload]:
    """The workloads to estimate by label: the model in int8, pruned, and another model at its own bits. With data, the
    zeros among activations are measured."""
    from ..analysis.activity import with_activation_density
    from ..data import load_data
    from ..model.workload import workload
    from ..passes.base import Context, Options
    from ..pipeline import Pipeline
    from ..quantization.outlook import quantized_workload

    works = {}
    shares = {"int8": 0.0} | ({"int8, pruned": sparsity} if sparsity else {})
    for label, share in shares.items():
        context = Context(formats=formats, options=Options(sparsity=share))
        small = Pipeline.default(last="prune_channels").run(model, context).model
        work = with_activation_density(workload(small), small, load_data(data, small)) if data else workload(small)
        works[label] = _named(quantized_workload(small, formats, work), small)
    if other is not None:
        work = workload(other)
        work = with_activation_density(work, other, load_data(data, other)) if data else work
        works["against"] = _named(work, other)
    return works


def _named(work: Workload, model: Model) -> Workload:
    """The layers under their place and the user's own names, fit to be shown; places keep equal names apart."""
    from dataclasses import replace

    names = {layer.name: f"{i}: {model.shown(layer.origin)}" for i, layer in enumerate(work.layers, 1)}
    layers = (
        replace(
            layer,
            name=names[layer.name],
            producers=None if layer.producers is None else tuple(names.get(each, each) for each in layer.producers),
        )
        for layer in work.layers
    )
    return replace(work, layers=tuple(layers))


def _study(
    backend: Target, device: Device, works: dict[str, Workload], sweep: str, out: Path | None, jobs: int, json: bool
) -> None:
    """Lets the target compare and explore, into a folder that is complete or absent."""
    from ..output import staged, write_manifest
    from ..target import Explores

    if not isinstance(backend, Explores):
        raise UsageError(
            f"The device '{device.name}' cannot be explored.",
            code="no-study",
            why="Only chips that are described by an architecture file can be varied.",
            hint="Use an ASIC, for example --target npu-16nm or --target asic:FILE.yaml.",
        )
    folder = out or Path("study")
    with show.progress_bar(not json) as progress, staged(folder) as staging:
        data = backend.study(works, device, staging, sweep, max(jobs, 1), progress)
        write_manifest(staging, {"device": device.name, "target": backend.name, "sweep": sweep})
    if json:
        show.print_json(data)
        return
    for line in data["comparison"]:
        show.output.print(show.printable(str(line), 400), soft_wrap=True)
    if sweep:
        show.output.print(f"{len(data['sweep'])} architectures, {len(data['pareto'])} on the Pareto front.")
    show.output.print(f"Report: {show.printable(str(folder), 400)}/report.html", soft_wrap=True)


def _print_estimates(rows: list[dict[str, Any]], json: bool) -> None:
    if json:
        show.print_json(rows)
        return
    from ..report.text import si, title

    show.print_rows(
        [
            {
                "device": row["device"],
                "variant": row["variant"],
                "cost": title(row["name"]),
                "value": si(row["value"], row["unit"]),
                "range": f"{si(row['low'], row['unit'])} … {si(row['high'], row['unit'])}",
                "basis": row["basis"],
                "source": row["source"],
            }
            for row in rows
        ]
    )


def diff(
    a: Annotated[Path, typer.Argument(help="The reference model, .onnx.", show_default=False)],
    b: Annotated[Path, typer.Argument(help="The model to compare with it, .onnx.", show_default=False)],
    data: Annotated[Path, typer.Option("--data", help="Samples: .npz with x, or a folder.")],
    bisect: Annotated[bool, typer.Option("--bisect", help="Find the first layer that brings the error in.")] = False,
    samples: Annotated[int, typer.Option(help="How many samples to compare.")] = 64,
    json: opt.Json = False,
) -> None:
    """Compare two models number by number: outputs, layers, and with --bisect the first bad layer."""
    from ..analysis.parity import compare, first_bad_layer
    from ..data import Data, load_data
    from ..executor import run_model
    from ..model.load import load

    left, right = load(a), load(b)
    chosen = load_data(data, left).first(samples)
    names = [[str(value.name) for value in model.graph.inputs] for model in (left, right)]
    if len(names[0]) != len(names[1]) or len(left.graph.outputs) != len(right.graph.outputs):
        raise UsageError("The two models have different numbers of inputs or outputs.", code="models-differ")
    other = Data({new: chosen.inputs[old] for old, new in zip(*names, strict=True)})
    results = [run_model(model, feed.inputs) for model, feed in ((left, chosen), (right, other))]
    rows = []
    for old, new in zip(left.graph.outputs, right.graph.outputs, strict=True):
        parity = compare(results[0][str(old.name)], results[1][str(new.name)])
        rows.append(
            {
                "output": left.original(str(old.name)),
                "sqnr_db": round(parity.sqnr_db, 2) if parity.sqnr_db < 1e6 else None,
                "max_abs_error": parity.max_abs_error,
                "agreement": parity.agreement,
            }
        )
    summary: dict[str, Any] = {"samples": len(chosen), "outputs": rows}
    if bisect:
        bad = first_bad_layer(left, right, chosen)
        summary["first_bad_layer"] = (
            None if bad is None else {"layer": left.original(bad.layer), "sqnr_db": bad.sqnr_db}
        )
    if json:
        show.print_json(summary)
        return
    show.print_rows(rows)
    if bisect:
        bad_row = summary["first_bad_layer"]
        text = (
            "no layer brings in a noticeable error"
            if bad_row is None
            else f"{bad_row['layer']} ({bad_row['sqnr_db']:.1f} dB)"
        )
        show.output.print(f"First bad layer: {show.printable(text, 200)}")


def explain(
    folder: Annotated[Path, typer.Argument(help="A folder that `prunus compile` wrote.", show_default=False)],
    layer: Annotated[str, typer.Argument(help="A layer's name or number in the report.", show_default=False)],
    json: opt.Json = False,
) -> None:
    """Explain one LAYER of a compiled model: where it runs, why, what it costs, what the passes said about it."""
    import difflib
    import json as json_module

    path = folder / "report.json"
    try:
        report = json_module.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            "This folder holds no readable report.",
            code="no-report",
            where=str(path),
            hint="Give a folder that `prunus compile` wrote.",
        ) from error
    names = [row["name"] for row in report["layers"]]
    index = int(layer) - 1 if layer.isdecimal() and layer not in names else names.index(layer) if layer in names else -1
    if not 0 <= index < len(names):
        near = difflib.get_close_matches(layer, names, n=3)
        raise UsageError(
            f"The report has no layer called '{layer[:80]}'.",
            code="unknown-layer",
            hint=f"Did you mean {' or '.join(near)}?" if near else f"Layers are numbered 1 to {len(names)}.",
        )
    row = {**report["layers"][index], **_before_pruning(report, names[index])}
    notes = [
        {"pass": each["name"], **note}
        for each in report["passes"]
        for note in each["notes"]
        if note["where"] == row["name"]
    ]
    if json:
        show.print_json({**row, "notes": notes})
        return
    for key, value in row.items():
        show.output.print(f"[bold]{key:>10}[/]  {show.printable(str(value), 400)}", soft_wrap=True)
    for note in notes:
        show.output.print(f"[bold]{note['pass']:>10}[/]  {show.printable(note['text'], 400)}", soft_wrap=True)


def _before_pruning(report: dict[str, Any], layer: str) -> dict[str, Any]:
    """How redundant the layer was, and how many of its channels each criterion would have removed, where known."""
    found: dict[str, Any] = {}
    for each in report.get("redundancy", []):
        if each["layer"] == layer:
            found["redundancy"] = {key: value for key, value in each.items() if key != "layer"}
    removals = {
        criterion["criterion"]: f"{each['removed']} of {each['channels']}"
        for criterion in (report.get("outlook") or {}).get("criteria", [])
        for each in criterion["layers"]
        if each["layer"] == layer
    }
    return {**found, "criteria": removals} if removals else found
