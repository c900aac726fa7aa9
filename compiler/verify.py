"""Proof and measurement of one compilation: accuracy, fidelity, and equality of the artefact with the reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .analysis.parity import compare, layer_parity
from .data import Data
from .executor import Session, run_model
from .integer import ops
from .integer.graph import Dequantize, Graph, Island
from .metric import Judge, Metric, top1
from .model.model import Model
from .report.schema import Accuracy, Fidelity
from .target import Artifact, Emitted, Target

Array = npt.NDArray[Any]

LAYER_SAMPLES = 8  # of the per-layer comparison
ISLAND_TOLERANCE = 1e-5  # absolute, of float islands


def logits_name(model: Model, output: str) -> str:
    """The value before a terminal Softmax, or the output itself: what fidelity is measured on."""
    value = next(value for value in model.graph.outputs if value.name == output)
    node = value.producer()
    if node is not None and node.op_type in ("Softmax", "LogSoftmax") and node.inputs[0] is not None:
        return str(node.inputs[0].name)
    return output


def graph_logits_name(graph: Graph, output: str) -> str:
    """The same in the integer graph: the float tensor that enters the terminal Softmax island."""
    op = graph.producers.get(output)
    return op.inputs[0] if isinstance(op, Island) and op.reason == "terminal-softmax" else output


def run_reference(graph: Graph, data: Data, batch: int = 16) -> dict[str, Array]:
    """Graph outputs and logits of the integer reference over a data set."""
    wanted = dict.fromkeys((*graph.outputs, *(graph_logits_name(graph, name) for name in graph.outputs)))
    parts: dict[str, list[Array]] = {name: [] for name in wanted}
    for feeds in data.batches(batch):
        values = ops.run(graph, feeds, keep=True)
        for name, found in parts.items():
            found.append(values[name])
    return {name: np.concatenate(found) for name, found in parts.items()}


@dataclass(frozen=True, eq=False)
class Original:
    """The model as given, on the scoring data: its outputs and logits by name, and how results are judged by them."""

    model: Model
    data: Data
    values: Mapping[str, Array]
    judge: Judge
    score: float

    @property
    def outputs(self) -> list[str]:
        """The names of the model's outputs; the first decides accuracy."""
        return [str(value.name) for value in self.model.graph.outputs]


def observe(model: Model, data: Data, metric: Metric | None = None) -> Original:
    """Runs the original, and tries the metric on it before anything takes long. Raises what `metric.score` raises."""
    outputs = [str(value.name) for value in model.graph.outputs]
    wanted = dict.fromkeys((*outputs, *(logits_name(model, name) for name in outputs)))
    values = Session(model, list(wanted)).run(data.inputs)
    judge = Judge(values[outputs[0]], data.labels, metric)
    return Original(model, data, values, judge, judge(values[outputs[0]]))


@dataclass(frozen=True)
class Measured:
    """Accuracy and fidelity of the integer reference against the original model on the same samples.

    `layer_sqnr_db`: plain node name -> signal to quantization noise of its output, errors of earlier layers included.
    """

    accuracy: Accuracy
    fidelity: Fidelity
    layer_sqnr_db: Mapping[str, float]


def measure(original: Original, compressed: Model, graph: Graph) -> Measured:
    """Runs the integer reference on the scoring data, and compares layers on a few samples.

    `compressed` is the model right before quantization, whose layers the graph's correspond to. Several outputs: the
    first decides accuracy, all count for fidelity.
    """
    data, outputs = original.data, original.outputs
    after = run_reference(graph, data)
    pairs = [
        (original.values[logits_name(original.model, name)], after[graph_logits_name(graph, out)])
        for name, out in zip(outputs, graph.outputs, strict=True)
    ]
    parities = [compare(old, new) for old, new in pairs]
    finite = [parity.sqnr_db for parity in parities if np.isfinite(parity.sqnr_db)]
    first, found = original.values[outputs[0]], after[graph.outputs[0]]
    fidelity = Fidelity(
        sqnr_db=min(finite) if finite else None,
        max_abs_error=max(parity.max_abs_error for parity in parities),
        agreement=top1(found, first.reshape(len(first), -1).argmax(axis=1)),
        exact_fraction=None,
        reference="original float model in onnxruntime, values before a terminal Softmax",
    )
    accuracy = Accuracy(
        metric=original.judge.name,
        before=original.score,
        after=original.judge(found),
        samples=len(data),
        unquantized=original.judge(run_model(compressed, data.inputs, [outputs[0]])[outputs[0]]),
    )
    rows = layer_parity(compressed, graph, data.first(LAYER_SAMPLES))
    layers = {row.layer: row.parity.sqnr_db for row in rows if np.isfinite(row.parity.sqnr_db)}
    return Measured(accuracy, fidelity, layers)


@dataclass(frozen=True)
class Exactness:
    """How the artefact compares with the integer reference. `fraction` is None when it could not be executed here."""

    fraction: float | None
    elements: int
    tensors: int
    samples: int
    island_error: float
    worst: str = ""
    reason: str = ""


def verify_artifact(target: Target, artifact: Artifact, graph: Graph, data: Data) -> Exactness:
    """Executes the artefact and compares every integer tensor it shows, element by element, and its float outputs."""
    found = target.run(artifact, graph, data.inputs)
    if isinstance(found, Emitted):
        return Exactness(None, 0, 0, 0, 0.0, reason=found.reason)
    want = ops.run(graph, data.inputs, keep=True)
    equal = total = tensors = 0
    island_error, worst, worst_share = 0.0, "", 1.0
    for name in sorted(found.keys() & want.keys()):
        got, expected = np.asarray(found[name]), want[name]
        if graph.tensors[name].quant is None and not isinstance(graph.producers.get(name), Dequantize):
            island_error = max(island_error, float(np.abs(got - expected).max(initial=0.0)))
            continue
        same = got.reshape(expected.shape) == expected
        equal, total, tensors = equal + int(same.sum()), total + same.size, tensors + 1
        if float(same.mean()) < worst_share:
            worst, worst_share = name, float(same.mean())
    return Exactness(equal / total if total else None, total, tensors, len(data), island_error, worst)


def with_exactness(fidelity: Fidelity, exactness: Exactness) -> Fidelity:
    """The fidelity record completed by the comparison of the artefact."""
    return fidelity.model_copy(update={"exact_fraction": exactness.fraction, "compared_elements": exactness.elements})


def budget_misses(budget: Mapping[str, float], costs: Mapping[str, float]) -> list[tuple[str, float, float]]:
    """(key, allowed, found) of every budget that is exceeded."""
    return [(key, limit, costs[key]) for key, limit in sorted(budget.items()) if key in costs and costs[key] > limit]
