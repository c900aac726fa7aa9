"""GPU target: the int8 network as QDQ ONNX for the vendors' runtimes, the float network as kernels from TVM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...compiler.errors import UsageError
from ...compiler.integer.graph import Graph
from ...compiler.model.workload import Workload
from ...compiler.output import write_text
from ...compiler.quantity import Estimate
from ...compiler.target import (
    Artifact,
    Device,
    Emitted,
    Finding,
    Formats,
    Networks,
    Outputs,
    Progress,
    no_progress,
)
from ..bundle import refuse_changed, refuse_unsafe_names, refuse_unsupported
from . import cost
from .bundle import EMITTED, LIBRARY, MODEL, VECTORS, source_name, write_bundle, write_vectors
from .check import findings
from .execute import execute, missing_device
from .library import build_library, settings_of
from .quantized import agreement, quantized_model
from .sparse import GROUP, KEPT

REASONS: Mapping[str, str] = {
    "scheme": "TensorRT and its kin multiply by float scales.",
    "activation": "Tensor cores multiply s8 by s8; TensorRT takes no u8.",
    "unsigned_after_relu": "TensorRT takes no u8, after a Relu neither.",
    "zero_point": "TensorRT takes symmetric quantization alone.",
    "per_channel": "TensorRT takes one weight scale per output channel.",
    "n_m": "Sparse tensor cores skip two zeros of four neighbouring input channels.",
    "channel_multiple": "Tensor cores take int8 channels in groups of 16.",
    "softmax": "A terminal Softmax is a handful of values: the GPU computes it in floating point.",
}
CHANNELS = 16


class GpuTarget:
    """GPUs: int8 through the runtimes of their vendors, floating point through TVM."""

    name = "gpu"

    def formats(self, device: Device) -> Formats:
        """Symmetric s8, per-channel weights; 2:4 where the device has sparse tensor cores."""
        return Formats(
            activation="s8",
            unsigned_after_relu=False,
            zero_point="zero",
            n_m=(KEPT, GROUP) if _sparse_cores(device) else None,
            channel_multiple=CHANNELS,
            reasons=REASONS,
        )

    def cost(self, works: Sequence[Workload], device: Device) -> list[Estimate]:
        """Roofline with the figures of a data sheet (`cost.py`)."""
        return [cost.estimate(work, device) for work in works]

    def check(self, graph: Graph, device: Device) -> list[Finding]:
        """One finding per operator; see `check.findings` for the reason codes. Needs neither TVM nor a GPU."""
        return findings(graph, _sparse_cores(device))

    def lower(self, graph: Graph, device: Device, out: Path, progress: Progress = no_progress) -> Artifact:
        """Raises UsageError: GPU runtimes take standard ONNX, which `lower_networks` is given."""
        raise UsageError(
            "The GPU target needs the networks as ONNX, not the integer graph alone.",
            code="needs-networks",
            hint="Call `lower_networks`, as `prunus compile` does.",
        )

    def lower_networks(
        self, networks: Networks, graph: Graph, device: Device, out: Path, progress: Progress = no_progress
    ) -> Artifact:
        """Writes the bundle (see `bundle.py`); executes its float library where a CUDA device is at hand.

        Raises UnsupportedError for operators that `check` refuses or TVM cannot read, InvalidModelError for names that
        are not plain, ToolError where TVM or the host's linker is missing, or a result is wrong.
        """
        settings = settings_of(device)
        refuse_unsafe_names(graph)
        refuse_unsupported(self.check(graph, device), "The GPU target")
        progress("Writing the int8 network", 0.0)
        proto = quantized_model(networks.quantized)
        found: dict[str, Any] = {"int8_on_cpu": agreement(proto, graph).as_dict()}
        (out / MODEL).write_bytes(proto.SerializeToString(deterministic=True))
        write_vectors(out / VECTORS, graph, networks.unquantized, settings.batch)
        progress(f"Compiling the float network for {settings.api} with TVM", 0.1)
        built = build_library(networks.unquantized, settings, out / LIBRARY)
        write_text(out / source_name(settings), built.source)
        found["plain_schedules"] = dict(built.plain)
        missing = missing_device(settings.api)
        found["status"] = f"{EMITTED}: {missing}" if missing else "executed"
        description = write_bundle(out, graph, device.title, settings, found)
        costs = {"flash_bytes": cost.model_size(out / MODEL)}
        if not missing:
            progress("Running the float network on the GPU", 0.9)
            executed = execute(out)
            found["executed"] = {"device": executed.device, "relative_error": executed.relative_error}
            description = write_bundle(out, graph, device.title, settings, found)
        files = tuple(sorted(path.name for path in out.iterdir()))
        return Artifact(out, files, description, costs=costs)

    def run(self, artifact: Artifact, graph: Graph, inputs: Mapping[str, np.ndarray]) -> Outputs | Emitted:
        """No integer tensor of a GPU can be shown: says what was executed instead, and how near it came."""
        refuse_changed(artifact.root, artifact.manifest["sha256"], (MODEL, LIBRARY))
        on_cpu = artifact.manifest["int8_on_cpu"]
        said = f"of the int8 network's outputs on the CPU {100 * on_cpu['equal']:.2f} % equal the reference"
        if "executed" not in artifact.manifest:
            return Emitted(f"{artifact.manifest['status']}; {said}.")
        executed = artifact.manifest["executed"]
        near = f"the float network on {executed['device']} is within {executed['relative_error']:.1e} of onnxruntime's"
        return Emitted(f"GPU runtimes show no integer tensors; {near}; {said}.")


def _sparse_cores(device: Device) -> bool:
    return "sparse_speedup" in device.data
