"""compile(): the whole flow on one screen, from a model file to a verified artefact with its report."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .config.file import plain, toml
from .config.settings import NAME as CONFIGURATION
from .coreset import reduced
from .data import Array, Data, from_arrays, load_data
from .errors import UnsupportedError, UsageError
from .integer.check import check_graph
from .integer.from_qdq import read_qdq
from .integer.graph import Graph
from .model.load import load
from .model.loading.limits import Limits
from .model.model import Model
from .model.save import save
from .model.workload import workload
from .output import staged, write_text
from .passes.base import Context, Options
from .pipeline import Pipeline
from .registry import resolve
from .report.build import Outcome, build_report, write_report
from .report.schema import ReportData
from .target import Device, Finding, Measures, Progress, Target, no_progress
from .verify import Metric, measure, verify_artifact

CALIBRATION_SAMPLES = 256

# A file or folder, a data set, or the user's own function that returns arrays by name (x and y, or one per input).
Source = Path | Data | Callable[[], Mapping[str, Array]] | None


@dataclass(frozen=True)
class Request:
    """What the user asked for. `budget` maps keys of `quantity.UNITS` to upper bounds in those units."""

    model: Path
    target: str | tuple[Target, Device]
    out: Path
    data: Source = None
    calibration: Source = None
    options: Options = field(default_factory=Options)
    budget: Mapping[str, float] = field(default_factory=dict)
    metric: Metric | None = None
    verify_samples: int = 64
    dump_dir: Path | None = None
    skip: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    shapes: Mapping[str, tuple[int, ...]] | None = None
    measure_latency: bool = False
    configuration: Mapping[str, Any] = field(default_factory=dict)  # settings by name, kept beside the result


@dataclass(frozen=True)
class Compiled:
    """A finished compilation: the folder with all files, and what its report says."""

    out: Path
    report: ReportData


def compile(request: Request, progress: Progress = no_progress) -> Compiled:
    """Compiles a model for a device: load, compress, lower, verify, report.

    The output folder appears complete or not at all. A missed bound does not raise: see `Compiled.report.verdict`.
    Raises PrunusError (see `errors`) for anything that stops the compilation.
    """
    target, device = resolve(request.target) if isinstance(request.target, str) else request.target
    model = load(request.model, limits=request.limits, shapes=request.shapes)
    calibration, scoring = choose_data(model, request)
    context = Context(
        formats=target.formats(device),
        options=request.options,
        calibration=calibration,
        target=target,
        device=device,
        progress=_part(progress, 0.0, 0.4),
    )
    compressed = Pipeline.default(skip=request.skip).run(model, context, request.dump_dir)
    graph = read_qdq(compressed.model, context.formats)
    check_graph(graph)
    findings = target.check(graph, device)
    refuse_unsupported(model, graph, findings)
    measured = measure(model, compressed.float_model, graph, scoring, request.metric)
    with staged(request.out) as folder:
        save(compressed.model, folder / "model.onnx")
        (folder / "artifact").mkdir()
        artifact = target.lower(graph, device, folder / "artifact", _part(progress, 0.4, 0.8))
        progress("Verifying the artefact", 0.8)
        samples = scoring.first(request.verify_samples)
        exactness = verify_artifact(target, artifact, graph, samples)
        if request.measure_latency and isinstance(target, Measures):
            artifact = replace(artifact, costs={**artifact.costs, **target.measure(artifact, graph, samples.inputs)})
        outcome = Outcome(
            request_name=request.model.name,
            digest=hashlib.sha256(request.model.read_bytes()).hexdigest(),
            original=model,
            compressed=compressed,
            graph=graph,
            target=target,
            device=device,
            formats=context.formats,
            works=(workload(model), workload(compressed.model)),
            findings=(*findings, *artifact.findings),
            artifact=artifact,
            measured=measured,
            exactness=exactness,
            options=request.options,
            max_drop=request.options.max_drop,
            budget=request.budget,
            configuration=plain(request.configuration, request.out),
        )
        if request.configuration:
            write_text(folder / CONFIGURATION, toml(request.configuration, request.out))
        report = build_report(outcome)
        write_report(folder, report, artifact)
    progress("done", 1.0)
    return Compiled(request.out, report)


def _part(progress: Progress, start: float, end: float) -> Progress:
    """Maps a stage's own 0..1 into its part of the whole."""

    def report(what: str, fraction: float) -> None:
        progress(what, start + (end - start) * fraction)

    return report


def choose_data(model: Model, request: Request) -> tuple[Data, Data]:
    """(calibration, scoring). One data set is split by the seed, at most half of it and 256 samples for calibration;
    where a coreset is asked for, half of it to choose from."""
    scoring = _data(model, request.data)
    calibration = _data(model, request.calibration)
    if scoring is None and calibration is None:
        raise UsageError(
            "Data is needed to calibrate the quantization.",
            code="needs-data",
            hint="Give an .npz file with an array x of input samples (and y of labels): --data FILE.npz",
        )
    options = request.options
    if calibration is None:
        assert scoring is not None
        if len(scoring) == 1:
            return scoring, scoring
        half = len(scoring) // 2
        count = half if options.coreset else min(CALIBRATION_SAMPLES, half)
        calibration, scoring = scoring.split(count, options.seed)
    chosen = reduced(calibration, model, options.coreset, options.seed)
    return chosen, scoring if scoring is not None else calibration


def _data(model: Model, source: Source) -> Data | None:
    if source is None or isinstance(source, Data):
        return source
    if isinstance(source, Path):
        return load_data(source, model)
    return from_arrays(source(), model, getattr(source, "__name__", "function"))


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
