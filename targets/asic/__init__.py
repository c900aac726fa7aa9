"""ASIC target: what a network would cost in silicon, and the network as data for whoever builds it.

Nothing here is synthesised. The artefact is the integer network itself (`network.npz`: every constant, and test
vectors), the workload and the cost tables; it is verified by executing the stored network with the C kernels.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...compiler.integer.graph import Dequantize, Graph, Island
from ...compiler.model.workload import Workload
from ...compiler.quantity import Estimate
from ...compiler.target import (
    Artifact,
    Device,
    Emitted,
    Finding,
    Formats,
    Outputs,
    Progress,
    no_progress,
)
from .architecture import Architecture
from .architecture_file import ArchitectureError, catalogue, catalogue_data, file_data, load_architecture
from .model import estimate

__all__ = ["AsicTarget"]

NETWORK = "network.npz"


def architecture_of(device: Device) -> Architecture:
    """The architecture that an ASIC device points to: one of the catalogue, or a file by its path."""
    if "architecture_file" in device.data:
        return load_architecture(Path(device.data["architecture_file"]))
    name = str(device.data.get("architecture", ""))
    if name not in catalogue():
        raise ArchitectureError(
            f"The device '{device.name}' points to no architecture.",
            code="unknown-architecture",
            where=f"settings.architecture: {name[:64]}",
            hint=f"Architectures: {', '.join(catalogue())}.",
        )
    return catalogue()[name]


def data_of(device: Device) -> dict[str, Any]:
    """The raw data of the device's architecture file, for sweeps."""
    if "architecture_file" in device.data:
        path = Path(device.data["architecture_file"])
        return dict(file_data(path.read_text(encoding="utf-8"), path.name))
    return catalogue_data(architecture_of(device).name)


class AsicTarget:
    """Backend `asic`: a cost model and the integer network as data."""

    name = "asic"

    def formats(self, device: Device) -> Formats:
        """int8 with 31-bit fixed-point multipliers: what accelerators' requantization units take."""
        skipping = architecture_of(device).array.skipping
        block = "a dense array skips no zeros, so only whole channels save work"
        if skipping.block is not None:
            block = f"the array skips blocks of {skipping.block[0]} output and {skipping.block[1]} input channels"
        return Formats(
            scheme="fixed",
            requant_bits=31,
            channel_multiple=1,
            block=skipping.block,
            softmax="host",
            reasons={
                "scheme": "a requantization unit multiplies by an integer and shifts; it has no floating point",
                "per_channel": "one multiplier per output channel is what edge NPUs provide",
                "block": block,
                "softmax": "a terminal softmax runs on the host",
            },
        )

    def cost(self, works: Sequence[Workload], device: Device) -> list[Estimate]:
        """Cycles, energy, traffic, area and die cost of each workload."""
        architecture = architecture_of(device)
        return [estimate(work, architecture) for work in works]

    def check(self, graph: Graph, device: Device) -> list[Finding]:
        """Integer operators run on the chip, float islands on the host."""
        findings = []
        for op in graph.ops:
            if isinstance(op, Island):
                findings.append(Finding(op.name, "host", op.reason, op.hint))
            elif isinstance(op, Dequantize):
                findings.append(Finding(op.name, "host", "network-output"))
            else:
                findings.append(Finding(op.name, "integer", "native"))
        return findings

    def lower(self, graph: Graph, device: Device, out: Path, progress: Progress = no_progress) -> Artifact:
        """Writes the integer network, the chip's parameters and a per-layer table."""
        from ..network import integer_part, save_network

        progress("Writing the integer network", 0.0)
        part = integer_part(graph)
        save_network(part, out / NETWORK)
        (out / "operators.csv").write_text(_operators(part), encoding="utf-8")
        chip = architecture_of(device).model_dump(mode="json", by_alias=True)
        return Artifact(
            root=out,
            files=(NETWORK, "operators.csv"),
            manifest={"kind": "cost model and integer network", "chip": chip, "outputs": list(part.outputs)},
        )

    def study(
        self,
        works: Mapping[str, Workload],
        device: Device,
        out: Path,
        sweep: str = "",
        jobs: int = 1,
        progress: Progress = no_progress,
    ) -> Mapping[str, Any]:
        """Compares networks on the chip, explores its variants, and writes study.json, CSV tables and report.html."""
        from .study import write_study
        from .sweep import explore, parse_sweep

        points = []
        if sweep:
            axes = parse_sweep(sweep)
            last = list(works.values())[-1]
            points = explore(last, data_of(device), axes, jobs, lambda done: progress(f"Exploring {device.name}", done))
        return write_study(works, architecture_of(device), points, out)

    def run(self, artifact: Artifact, graph: Graph, inputs: Mapping[str, np.ndarray[Any, Any]]) -> Outputs | Emitted:
        """Executes the stored network with the C kernels; returns every integer tensor."""
        from ..network import load_network, run_network

        return run_network(load_network(artifact.root / NETWORK), inputs)


def _operators(graph: Graph) -> str:
    """One row per operator: kind, output shape and bits, number of weights."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["operator", "kind", "inputs", "output", "shape", "bits", "weights"])
    for op in graph.ops:
        tensor = graph.tensors[op.output]
        weights = op.arrays().get("weight")
        writer.writerow(
            [
                op.name,
                op.kind,
                " ".join(op.inputs),
                op.output,
                "x".join(map(str, tensor.shape)),
                tensor.quant.bits if tensor.quant else "float",
                weights.size if weights is not None else 0,
            ]
        )
    return stream.getvalue()
