"""From what a compilation found to `report.json`, `report.html` and the manifest."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from ..coding import Packed
from ..contract import SLACK
from ..integer.graph import Graph, Island, Linear, Op
from ..model.model import Model
from ..model.workload import Layer, Workload
from ..output import as_json, write_manifest, write_text
from ..passes.base import Options
from ..passes.survey import Survey
from ..pipeline import PassRecord, PipelineResult
from ..quantity import Estimate, Quantity
from ..target import Artifact, Device, Finding, Formats, Target
from ..verify import ISLAND_TOLERANCE, Exactness, Measured, budget_misses, with_exactness
from . import schema
from .html import render


@dataclass(frozen=True)
class Outcome:
    """Everything that the report is made from."""

    request_name: str
    digest: str
    original: Model
    compressed: PipelineResult
    graph: Graph
    target: Target
    device: Device
    formats: Formats
    works: tuple[Workload, Workload]  # of the model as given, of the compressed model
    unpruned: Estimate  # of the model as given, quantized, on the device with its own settings
    findings: Sequence[Finding]
    artifact: Artifact
    measured: Measured
    notes: Sequence[str]  # about the compilation as a whole
    exactness: Exactness
    packed: Packed | None
    options: Options
    budget: Mapping[str, float]
    configuration: Mapping[str, Any]


def build_report(outcome: Outcome) -> schema.ReportData:
    """Assembles the report; every figure in it was measured, synthesised or modelled by the steps before."""
    after = outcome.works[1]
    estimate, baseline = outcome.target.cost([after], outcome.device)[0], outcome.unpruned
    costs = {**estimate.costs, **outcome.artifact.costs}
    layer_costs = {
        each.layer: {key: quantity.value for key, quantity in sorted(each.costs.items())} for each in estimate.layers
    }
    return schema.ReportData(
        schema=schema.SCHEMA,
        model=_model_info(outcome),
        target=schema.TargetInfo(
            backend=outcome.target.name, scheme=outcome.graph.scheme, formats=_plain(asdict(outcome.formats))
        ),
        device=schema.DeviceInfo(name=outcome.device.name, kind=outcome.device.kind, title=outcome.device.title),
        passes=[_pass_info(outcome, record) for record in outcome.compressed.records],
        accuracy=outcome.measured.accuracy,
        fidelity=with_exactness(outcome.measured.fidelity, outcome.exactness),
        size=_size(outcome),
        coding=_coding(outcome),
        estimate=[estimate_info(name, quantity) for name, quantity in sorted(costs.items())],
        baseline=[estimate_info(name, quantity) for name, quantity in sorted(baseline.costs.items())],
        energy=_energy(baseline.costs, costs),
        notes=list(dict.fromkeys((*outcome.notes, *estimate.notes, *_exactness_notes(outcome.exactness)))),
        **survey_infos(outcome.compressed.records, outcome.original),
        layers=_layers(outcome, layer_costs),
        verdict=_verdict(outcome, costs),
        provenance=_provenance(outcome),
    )


def _plain(value: Any) -> Any:
    """Tuples to lists and mappings to dicts, for JSON."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in sorted(value.items())}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _shape(value: Any) -> list[int | None]:
    return [dim if isinstance(dim, int) else None for dim in value.shape or ()]


def _model_info(outcome: Outcome) -> schema.ModelInfo:
    model = outcome.original
    return schema.ModelInfo(
        name=outcome.request_name,
        sha256=outcome.digest,
        inputs={model.original(str(value.name)): _shape(value) for value in model.graph.inputs},
        outputs={model.original(str(value.name)): _shape(value) for value in model.graph.outputs},
    )


def _pass_info(outcome: Outcome, record: Any) -> schema.PassInfo:
    original = outcome.original.original
    notes = [
        schema.NoteInfo(
            code=note.code, text=note.text, where=original(note.where) if note.where else "", hint=note.hint
        )
        for note in record.notes
    ]
    seconds = 0.0 if "SOURCE_DATE_EPOCH" in os.environ else round(record.seconds, 3)
    details = {} if record.name == Survey.name else _plain(record.details)  # these have sections of their own
    return schema.PassInfo(name=record.name, seconds=seconds, changed=record.changed, notes=notes, details=details)


def _size(outcome: Outcome) -> schema.Size:
    before, after = outcome.works
    return schema.Size(
        params_before=before.weights,
        params_after=after.weights,
        macs_before=before.macs,
        macs_after=after.macs,
        bytes_before=before.weight_bytes,
        bytes_after=after.weight_bytes,
    )


def _coding(outcome: Outcome) -> schema.Coding | None:
    packed = outcome.packed
    if packed is None:
        return None
    return schema.Coding(
        onnx_bytes=packed.onnx_bytes,
        packed_bytes=packed.packed_bytes,
        methods=dict(packed.methods),
        cluster=outcome.options.cluster,
    )


def _energy(before: Mapping[str, Quantity], after: Mapping[str, Quantity]) -> schema.Energy | None:
    key = "energy_j"
    if key not in before or key not in after:
        return None
    one, other = before[key], after[key]
    return schema.Energy(before_j=one.value, after_j=other.value, basis=other.basis, source=other.source)


def survey_infos(records: Sequence[PassRecord], model: Model) -> dict[str, Any]:
    """The sections `redundancy` and `outlook` of the report, under the user's own names."""
    details: dict[str, Any] = next((_plain(record.details) for record in records if record.name == Survey.name), {})

    def named(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**row, "layer": model.original(row["layer"])} for row in rows]

    outlook = details.get("outlook")
    if outlook is not None:
        criteria = [{**each, "layers": named(each["layers"])} for each in outlook["criteria"]]
        outlook = schema.PruningOutlook(**{**outlook, "criteria": criteria})
    redundancy = [schema.RedundancyInfo(**row) for row in named(details.get("redundancy", []))]
    return {"redundancy": redundancy, "outlook": outlook}


def estimate_info(name: str, quantity: Quantity) -> schema.EstimateInfo:
    """One quantity as a row of the report."""
    return schema.EstimateInfo(
        name=name,
        value=quantity.value,
        low=quantity.low,
        high=quantity.high,
        unit=quantity.unit,
        basis=quantity.basis,
        source=quantity.source,
    )


def _layers(outcome: Outcome, costs: Mapping[str, Mapping[str, float]]) -> list[schema.LayerInfo]:
    by_origin = {layer.origin: layer for layer in outcome.works[1].layers if layer.origin}
    findings = {finding.layer: finding for finding in outcome.findings}
    sqnr_db = {name: round(value, 2) for name, value in outcome.measured.layer_sqnr_db.items()}
    rows = []
    for op in outcome.graph.ops:
        layer = next((by_origin[name] for name in op.origin if name in by_origin), None)
        finding = findings.get(op.name)
        rows.append(
            schema.LayerInfo(
                name=outcome.original.original(op.origin[0]) if op.origin else op.name,
                op=op.kind,
                macs=layer.macs if layer else 0,
                density=_density(op, layer),
                bits=_bits(outcome.graph, op),
                placement=finding.placement if finding else "integer",
                reason=_reason(finding),
                cost=dict(costs.get(layer.name, {})) if layer else {},
                sqnr_db=next((sqnr_db[name] for name in reversed(op.origin) if name in sqnr_db), None),
            )
        )
    return rows


def _density(op: Op, layer: Layer | None) -> float:
    if isinstance(op, Linear):
        return float(np.count_nonzero(op.weight) / max(op.weight.size, 1))
    return 1.0 - layer.zero_fraction if layer else 1.0


def _bits(graph: Graph, op: Op) -> str:
    if isinstance(op, Island):
        return "float"
    quant = graph.tensors[op.inputs[0]].quant
    inputs = f"a{quant.bits}" if quant else "float"
    return f"w{op.weight_bits}{inputs}" if isinstance(op, Linear) else inputs


def _reason(finding: Finding | None) -> str:
    if finding is None:
        return ""
    return f"{finding.reason_code}: {finding.hint}" if finding.hint else finding.reason_code


def _exactness_notes(exactness: Exactness) -> list[str]:
    if exactness.fraction is None:
        return [f"The artefact was not executed here: {exactness.reason}"]
    extent = f"{exactness.tensors} tensors over {exactness.samples} samples"
    notes = [f"{exactness.elements} integer elements in {extent} compared."]
    if exactness.island_error:
        notes.append(f"Float islands differ by at most {exactness.island_error:.2e} (bound {ISLAND_TOLERANCE:.0e}).")
    return notes


def _verdict(outcome: Outcome, costs: Mapping[str, Quantity]) -> schema.Verdict:
    """The first bound that fails decides; exactness before accuracy before budget."""
    exactness, accuracy = outcome.exactness, outcome.measured.accuracy
    if exactness.fraction is not None and exactness.fraction < 1.0:
        why = f"{exactness.fraction:.6%} of integer elements equal the reference; the worst tensor is {exactness.worst}"
        return schema.Verdict(met=False, binding="exactness", why=why)
    if exactness.island_error > ISLAND_TOLERANCE:
        why = f"a float island differs by {exactness.island_error:.2e}"
        return schema.Verdict(met=False, binding="island-tolerance", why=why)
    max_drop = outcome.options.max_drop
    if max_drop is not None and accuracy.before - accuracy.after > max_drop + SLACK:
        return schema.Verdict(met=False, binding="accuracy", why=_accuracy_missed(accuracy, outcome.options, max_drop))
    for each in outcome.compressed.unreached:
        return schema.Verdict(met=False, binding=each["option"], why=each["why"])
    missing = sorted(outcome.budget.keys() - costs.keys())
    if missing:
        why = f"the device's cost model has no {', '.join(missing)}"
        return schema.Verdict(met=False, binding=missing[0], why=why)
    misses = budget_misses(outcome.budget, {key: quantity.value for key, quantity in costs.items()})
    if misses:
        key, allowed, found = misses[0]
        shortfalls = [each.details["shortfall"] for each in outcome.compressed.records if "shortfall" in each.details]
        if shortfalls:
            return schema.Verdict(met=False, binding=shortfalls[0]["binding"], why=shortfalls[0]["why"])
        return schema.Verdict(met=False, binding=key, why=f"{key} is {found:.6g}, allowed are {allowed:.6g}")
    return schema.Verdict(met=True, binding="none", why="every bound that was set is met")


def _accuracy_missed(accuracy: schema.Accuracy, options: Options, max_drop: float) -> str:
    """How much was lost, whether before the numbers became integers or then, and what may help."""
    why = f"{accuracy.metric} fell by {accuracy.before - accuracy.after:.4f}, allowed are {max_drop:.4f}"
    if accuracy.unquantized is None:
        return why
    first, then = accuracy.before - accuracy.unquantized, accuracy.unquantized - accuracy.after
    why = f"{why}: {first:.4f} went with what was removed, {then:.4f} with the bits"
    if first > then and options.sparsity:
        why += "; without --sparsity as much is removed as keeps the accuracy, and --epochs wins some of it back"
    return why


def _provenance(outcome: Outcome) -> dict[str, Any]:
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    now = datetime.datetime.fromtimestamp(int(epoch), datetime.UTC) if epoch else datetime.datetime.now(datetime.UTC)
    return {
        "created": now.isoformat(timespec="seconds"),
        "prunus": version("prunus"),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in ("numpy", "onnx", "onnx-ir", "onnxruntime")},
        "options": _plain(asdict(outcome.options)),
        "configuration": dict(outcome.configuration),
        "loading": _plain(outcome.original.provenance),
    }


def write_report(folder: Path, report: schema.ReportData, artifact: Artifact) -> None:
    """Writes report.json, report.html and, last, the manifest."""
    write_text(folder / "report.json", as_json(report.model_dump(mode="json", by_alias=True)))
    write_text(folder / "report.html", render(report))
    content = {
        "target": report.target.backend,
        "device": report.device.name,
        "model": report.model.sha256,
        "artifact": {"root": "artifact", "files": sorted(artifact.files), **_plain(artifact.manifest)},
    }
    write_manifest(folder, content)
