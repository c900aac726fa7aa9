"""onnxruntime target: the kernels as operators inside an InferenceSession, one per integer region."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...compiler.integer.graph import Graph
from ...compiler.model.workload import Workload
from ...compiler.quantity import Estimate, Quantity
from ...compiler.target import Artifact, Device, Emitted, Finding, Formats, Outputs, Progress, no_progress
from ..bundle import measured_latency, refuse_changed, refuse_unsafe_names, refuse_unsupported
from . import cost
from .bundle import LIBRARY, LOADER, MODEL, write_bundle
from .check import findings
from .execute import run_bundle
from .model import build_model

BLOCK = (16, 4)  # output x input channels

REASONS: Mapping[str, str] = {
    "scheme": "A CPU multiplies by a float32 at no extra cost; it is the finest of the schemes.",
    "activation": "u8 is what x86 dot products take as their unsigned operand.",
    "zero_point": "Zero points are folded into the bias: they cost nothing at run time.",
    "per_channel": "The multiplier is read once per output channel.",
    "block": "The kernels skip blocks of 16 output x 4 input channels that are zero.",
    "channel_multiple": "Four channels of a pixel lie together in one word.",
    "softmax": "A terminal Softmax is a handful of values: onnxruntime computes it in floating point.",
}


class OrtTarget:
    """Sparse integer kernels for CPUs, as custom operators of onnxruntime."""

    name = "ort"

    def formats(self, device: Device) -> Formats:
        """Affine u8, per-channel weights, float32 multipliers, blocks of zeros."""
        return Formats(block=BLOCK, channel_multiple=4, reasons=REASONS)

    def cost(self, works: Sequence[Workload], device: Device) -> list[Estimate]:
        """What the kernels' limit model predicts for this machine (`cost.py`)."""
        return [cost.estimate(work, device) for work in works]

    def check(self, graph: Graph, device: Device) -> list[Finding]:
        """One finding per operator; see `check.findings` for the reason codes."""
        return findings(graph)

    def lower(self, graph: Graph, device: Device, out: Path, progress: Progress = no_progress) -> Artifact:
        """Writes the bundle (see `bundle.py`).

        Raises UnsupportedError for operators that `check` refuses, InvalidModelError for names that are not plain,
        ToolError where the operators' library is missing.
        """
        refuse_unsafe_names(graph)
        refuse_unsupported(findings(graph), "onnxruntime")
        progress("Packing the integer regions", 0.0)
        description = write_bundle(out, graph)
        files = tuple(sorted(path.name for path in out.iterdir()))
        return Artifact(out, files, description, costs={"flash_bytes": cost.bundle_size(out)})

    def run(self, artifact: Artifact, graph: Graph, inputs: Mapping[str, np.ndarray]) -> Outputs | Emitted:
        """Every integer tensor, from the bundle's library with all of them asked for; then what model.onnx computes."""
        _refuse_changed(artifact)
        feeds = {name: np.asarray(inputs[name]) for name in graph.inputs}
        return run_bundle(artifact.root, feeds, trace=build_model(graph, trace=True))

    def measure(self, artifact: Artifact, graph: Graph, inputs: Mapping[str, np.ndarray]) -> Mapping[str, Quantity]:
        """Latency of one sample on this machine, one thread, in a process of its own."""
        _refuse_changed(artifact)
        sample = {name: np.asarray(inputs[name])[:1] for name in graph.inputs}
        seconds = run_bundle(artifact.root, sample, time_budget_s=cost.MEASURE_S)["seconds"]
        return {"latency_s": measured_latency(seconds, MODEL, cost.runtime())}


def _refuse_changed(artifact: Artifact) -> None:
    refuse_changed(artifact.root, artifact.manifest["sha256"], (MODEL, LIBRARY, LOADER))
