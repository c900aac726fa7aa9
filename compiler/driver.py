"""compile(): the whole flow on one screen, from a model file to a verified artefact with its report."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .coding import pack_file
from .config.file import plain, toml
from .config.options import METRIC_TIMEOUT_S
from .config.settings import NAME as CONFIGURATION
from .contract import compress
from .errors import UnsupportedError
from .integer.graph import Graph
from .lowering import lower, with_float_type
from .metric import IsolatedMetric, Metric
from .model.load import load
from .model.loading.limits import Limits
from .model.model import Model
from .model.save import save
from .model.workload import workload
from .output import refuse_foreign, staged, write_text
from .passes.base import Context, Options
from .passes.fit_budget import chosen_settings
from .pipeline import Pipeline, part
from .quantity import Estimate
from .quantization.asked import asked_formats
from .quantization.outlook import quantized_workload
from .registry import resolve
from .report.build import Outcome, build_report, write_report
from .report.schema import ReportData
from .samples import Samples, Source, choose_samples
from .search.budget import Budget, absolute
from .search.decisions import tuned
from .target import Device, Finding, Measures, Networks, Progress, Target, no_progress
from .training import require_torch
from .verify import Original, observe, verify_artifact

LOWERING_EFFORT = 30  # and verifying, in units of `Pipeline.effort`


@dataclass(frozen=True)
class Request:
    """What the user asked for. `budget` maps keys of `quantity.UNITS` to upper bounds in those units, or to shares
    of what the unpruned network costs.

    `training` are the samples to fine-tune on, where `options.training` is set; otherwise those for calibration.
    `transfer` are further ones, which the unpruned model alone answers. A `metric` by name (`package.module:function`)
    runs in a process of its own for at most `metric_timeout_s` a time; a function runs here, as long as it takes.
    """

    model: Path
    target: str | tuple[Target, Device]
    out: Path
    data: Source = None
    calibration: Source = None
    training: Source = None
    options: Options = field(default_factory=Options)
    budget: Budget = field(default_factory=dict)
    metric: Metric | str | None = None
    metric_timeout_s: float = METRIC_TIMEOUT_S
    verify_samples: int = 64
    dump_dir: Path | None = None
    skip: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    shapes: Mapping[str, tuple[int, ...]] | None = None
    measure_latency: bool = False
    transfer: Source = None
    configuration: Mapping[str, Any] = field(default_factory=dict)  # settings by name, kept beside the result


@dataclass(frozen=True)
class Compiled:
    """A finished compilation: the folder with all files, and what its report says."""

    out: Path
    report: ReportData


@dataclass(frozen=True)
class _Task:
    """A request with everything that it names read, before anything is changed."""

    target: Target
    device: Device
    model: Model
    samples: Samples
    original: Original
    unpruned: Estimate
    context: Context


def compile(request: Request, progress: Progress = no_progress) -> Compiled:
    """Compiles a model for a device: load, compress, lower, verify, report.

    The output folder appears complete or not at all. A missed bound does not raise: see `Compiled.report.verdict`.
    Raises PrunusError (see `errors`) for anything that stops the compilation.
    """
    refuse_foreign(request.out)
    task = _read(request)
    target, pipeline = task.target, Pipeline.default(skip=request.skip)
    compressed_at = 1 - LOWERING_EFFORT / (LOWERING_EFFORT + pipeline.effort(task.context.options))  # of the progress
    lowered_at = (1 + compressed_at) / 2
    context = replace(task.context, progress=part(progress, 0.0, compressed_at))
    found = compress(pipeline, task.original, context, request.dump_dir)
    compressed, graph = found.result, found.graph
    device = tuned(task.device, chosen_settings(compressed.records))
    findings = target.check(graph, device)
    refuse_unsupported(task.model, graph, findings)
    with staged(request.out) as folder:
        save(compressed.model, folder / "model.onnx")
        packed = pack_file(folder / "model.onnx") if request.options.pack else None
        (folder / "artifact").mkdir()
        networks = Networks(compressed.float_model, compressed.model)
        lowering = part(progress, compressed_at, lowered_at)
        artifact = lower(target, networks, graph, device, folder / "artifact", lowering)
        progress("Verifying the artefact", lowered_at)
        verified = task.samples.scoring.first(request.verify_samples)
        exactness = verify_artifact(target, artifact, graph, verified)
        if request.measure_latency and isinstance(target, Measures):
            artifact = replace(artifact, costs={**artifact.costs, **target.measure(artifact, graph, verified.inputs)})
        outcome = Outcome(
            request_name=request.model.name,
            digest=hashlib.sha256(request.model.read_bytes()).hexdigest(),
            original=task.model,
            compressed=compressed,
            graph=graph,
            target=target,
            device=device,
            formats=context.formats,
            works=(workload(task.model), workload(compressed.model)),
            unpruned=task.unpruned,
            findings=(*findings, *artifact.findings),
            artifact=artifact,
            measured=found.measured,
            notes=found.notes,
            exactness=exactness,
            packed=packed,
            options=context.options,
            budget=context.options.budget,
            configuration=plain(request.configuration, request.out),
        )
        if request.configuration:
            write_text(folder / CONFIGURATION, toml(request.configuration, request.out))
        report = build_report(outcome)
        write_report(folder, report, artifact)
    progress("done", 1.0)
    return Compiled(request.out, report)


def _read(request: Request) -> _Task:
    """Reads the model and its samples, runs it once, and prices it on the device."""
    options = request.options
    target, device = resolve(request.target) if isinstance(request.target, str) else request.target
    device = with_float_type(device, options.float_type)
    if options.training.epochs or options.qat_epochs:
        require_torch()  # rather now than after minutes of pruning
    metric = request.metric
    if isinstance(metric, str):
        metric = IsolatedMetric(metric, request.metric_timeout_s)
    model = load(request.model, limits=request.limits, shapes=request.shapes)
    sources = request.data, request.calibration, request.training
    samples = choose_samples(model, *sources, options.coreset, options.seed, transfer=request.transfer)
    original = observe(model, samples.scoring, metric)
    formats = target.formats(device)
    asked = asked_formats(formats, options) if options.quantize else formats
    unpruned = target.cost([quantized_workload(model, asked)], device)[0]
    context = Context(
        formats=formats,
        options=replace(options, budget=absolute(request.budget, unpruned, device.name)),
        calibration=samples.calibration,
        training=samples.training,
        transfer=samples.transfer,
        metric=metric,
        target=target,
        device=device,
    )
    return _Task(target, device, model, samples, original, unpruned, context)


def refuse_unsupported(model: Model, graph: Graph, findings: Sequence[Finding]) -> None:
    """Raises UnsupportedError that names every layer which the target cannot take."""
    refused = [finding for finding in findings if finding.placement == "unsupported"]
    if refused:
        first = refused[0]
        origins = {op.name: op.origin for op in graph.ops}
        nodes = [name for finding in refused for name in origins.get(finding.layer, (finding.layer,))[:1]]
        raise UnsupportedError(
            f"{len(refused)} layer(s) cannot be compiled for this target.",
            code=first.reason_code,
            where=", ".join(model.original(name) for name in nodes[:5]),
            why="; ".join(dict.fromkeys(finding.reason_code for finding in refused)),
            hint=first.hint or "`prunus check` shows where every layer would run.",
        )
