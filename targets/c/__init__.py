"""C target: the integer network as generated C around the portable kernels, for microcontrollers and plain Linux."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...compiler.integer.graph import Graph
from ...compiler.model.workload import Workload
from ...compiler.quantity import Estimate, Quantity
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
from .bundle import files, write_bundle
from .check import findings
from .execute import measure_memory, run_bundle
from .memory import refuse_too_large
from .program import program
from .toolchain import Toolchain, missing_tool, toolchain_of

REASONS: Mapping[str, str] = {
    "scheme": "Integer multipliers of 31 bits: one long multiplication per output, no floating point in any loop.",
    "activation": "Inputs are widened to 16 bits before they are multiplied: u8 costs no more than s8.",
    "zero_point": "Zero points are subtracted while the inputs are widened.",
    "per_channel": "The multiplier is read once per output channel.",
    "block": "The portable kernels do not skip zeros; removed channels are gone.",
    "softmax": "A terminal Softmax is left to the caller: its largest input is its largest output.",
}


class CTarget:
    """Generated C on a static arena: no runtime, no allocation."""

    name = "c"

    def formats(self, device: Device) -> Formats:
        """Affine u8, per-channel weights, integer multipliers."""
        return Formats(scheme="fixed", requant_bits=31, softmax="host", reasons=REASONS)

    def cost(self, works: Sequence[Workload], device: Device) -> list[Estimate]:
        """Cycles, flash and RAM with the constants of the device file (`cost.py`)."""
        return [cost.estimate(work, device) for work in works]

    def check(self, graph: Graph, device: Device) -> list[Finding]:
        """One finding per operator; see `check.findings` for the reason codes."""
        return findings(graph)

    def lower(self, graph: Graph, device: Device, out: Path, progress: Progress = no_progress) -> Artifact:
        """Writes the bundle (see `bundle.py`); needs no compiler.

        Raises UnsupportedError for operators that `check` refuses and for a network that the device's memory cannot
        hold, InvalidModelError for names that are not plain.
        """
        return _lower(graph, device, out, {}, progress)

    def lower_networks(
        self, networks: Networks, graph: Graph, device: Device, out: Path, progress: Progress = no_progress
    ) -> Artifact:
        """As `lower`; the bundle tells the user's names of inputs and outputs, too."""
        names = {name: networks.quantized.original(name) for name in (*graph.inputs, *graph.outputs)}
        return _lower(graph, device, out, names, progress)

    def run(self, artifact: Artifact, graph: Graph, inputs: Mapping[str, np.ndarray]) -> Outputs | Emitted:
        """Every integer tensor and the dequantized outputs, from the bundle's own files, compiled for the device."""
        toolchain = _toolchain(artifact)
        missing = missing_tool(toolchain)
        if missing:
            return Emitted(missing)
        feeds = {name: np.asarray(inputs[name]) for name in graph.inputs}
        return run_bundle(artifact.root, graph, program(graph, toolchain), toolchain, feeds)

    def measure(self, artifact: Artifact, graph: Graph, inputs: Mapping[str, np.ndarray]) -> Mapping[str, Quantity]:
        """Flash from the linker, RAM from a painted stack. An emulator tells no time, so latency stays modelled."""
        toolchain = _toolchain(artifact)
        if missing_tool(toolchain):
            return {}
        found = measure_memory(artifact.root, program(graph, toolchain), toolchain)
        return cost.measured(found, toolchain)


def _lower(graph: Graph, device: Device, out: Path, names: Mapping[str, str], progress: Progress) -> Artifact:
    refuse_unsafe_names(graph)
    refuse_unsupported(findings(graph), "C")
    toolchain = toolchain_of(device)
    progress("Planning the arena", 0.0)
    made = program(graph, toolchain)
    refuse_too_large(made.memory, device)
    progress("Writing the C files", 0.3)
    description = write_bundle(out, graph, made, toolchain, device.title, names)
    costs = {
        "ram_bytes": cost.ram(made.memory),
        "flash_bytes": cost.flash(made.memory, toolchain),
    }
    return Artifact(out, files(out), description, costs=costs)


def _toolchain(artifact: Artifact) -> Toolchain:
    """That of the device which the artefact was made for; the bundle must be as it was written."""
    digests: Mapping[str, str] = artifact.manifest["sha256"]
    refuse_changed(artifact.root, digests, sorted(digests))
    return Toolchain(**artifact.manifest["toolchain"])
