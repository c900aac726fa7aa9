"""Apache TVM target: integer graph to Relax, with the kernels inside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...compiler.integer.graph import Graph
from ...compiler.model.workload import Workload
from ...compiler.quantity import Estimate, Quantity
from ...compiler.target import Artifact, Device, Emitted, Finding, Formats, Outputs, Progress, no_progress
from ..bundle import measured_latency, refuse_changed, refuse_unsafe_names, refuse_unsupported
from . import cost
from .build import find_toolchain, link
from .bundle import LIBRARY, LOADER, write_bundle
from .check import findings
from .emulate import Entry, obstacle, run_emulated
from .execute import Run, run_bundle
from .lower import MAIN, TRACE, compile_graph
from .networks import packed_regions
from .platform import from_settings, platform_of

REASONS: Mapping[str, str] = {
    "scheme": "A CPU multiplies by a float32 at no extra cost; it is the finest of the schemes.",
    "activation": "u8 is what x86 dot products take as their unsigned operand.",
    "zero_point": "Zero points are folded into the bias: they cost nothing at run time.",
    "per_channel": "The multiplier is read once per output channel.",
    "block": "The kernels skip blocks of zeros, 16 output x 4 input channels; 4 x 4 where NEON has no dot products.",
    "channel_multiple": "Four channels of a pixel lie together in one word.",
    "softmax": "A terminal Softmax is a handful of values: float code computes it.",
}


class TvmTarget:
    """Planned networks of integer kernels for CPUs, packaged by TVM into one library for its small runtime."""

    name = "tvm"

    def formats(self, device: Device) -> Formats:
        """Affine u8, per-channel weights, float32 multipliers, blocks of zeros."""
        block = (4, 4) if platform_of(device).isas == ("neon",) else (16, 4)
        return Formats(block=block, channel_multiple=4, reasons=REASONS)

    def cost(self, works: Sequence[Workload], device: Device) -> list[Estimate]:
        """What the kernels' limit model predicts for this machine, or with the constants of a data sheet."""
        return [cost.estimate(work, device) for work in works]

    def check(self, graph: Graph, device: Device) -> list[Finding]:
        """One finding per operator; see `check.findings` for the reason codes. Does not need TVM."""
        return findings(graph)

    def lower(self, graph: Graph, device: Device, out: Path, progress: Progress = no_progress) -> Artifact:
        """Writes the bundle (see `bundle.py`).

        Raises UnsupportedError for operators that `check` refuses, InvalidModelError for names that are not plain,
        ToolError where TVM or a C compiler is missing or fails.
        """
        refuse_unsafe_names(graph)
        refuse_unsupported(findings(graph), "TVM")
        platform = platform_of(device)
        toolchain = find_toolchain(platform)
        progress("Compiling the graph with TVM", 0.0)
        executable = compile_graph(graph, platform)
        progress("Compiling the kernels (minutes when it is the first time for this platform)", 0.3)
        link(toolchain, executable, packed_regions(graph), out / LIBRARY)
        progress("Writing the bundle", 0.7)
        description = write_bundle(out, graph, toolchain)
        files = tuple(sorted(path.name for path in out.iterdir()))
        return Artifact(out, files, description, costs={"flash_bytes": cost.library_size(out / LIBRARY)})

    def run(self, artifact: Artifact, graph: Graph, inputs: Mapping[str, np.ndarray]) -> Outputs | Emitted:
        """Every integer tensor from the library's `trace`, then the graph's outputs from its `main`.

        Libraries for other processors run under an emulator, where everything for that is here (`emulate.py`).
        """
        refuse_changed(artifact.root, artifact.manifest["sha256"], (LIBRARY, LOADER))
        entries: Mapping[str, Any] = artifact.manifest["entries"]
        platform = from_settings(artifact.manifest["platform"])
        if platform.is_here:
            runs = [Run(entry, tuple(entries[entry])) for entry in (TRACE, MAIN)]
            return run_bundle(artifact.root, [np.asarray(inputs[name]) for name in graph.inputs], runs)
        reason = obstacle(platform)
        if reason:
            return Emitted(reason)
        wanted = [Entry(entry, tuple(entries[entry])) for entry in (TRACE, MAIN)]
        return run_emulated(artifact.root / LIBRARY, platform, graph, inputs, wanted)

    def measure(self, artifact: Artifact, graph: Graph, inputs: Mapping[str, np.ndarray]) -> Mapping[str, Quantity]:
        """Latency of one sample on this machine, one thread, in a process of its own; nothing where the library is
        for another one: an emulator proves results, never speed."""
        if not from_settings(artifact.manifest["platform"]).is_here:
            return {}
        refuse_changed(artifact.root, artifact.manifest["sha256"], (LIBRARY, LOADER))
        sample = [np.asarray(inputs[name])[:1] for name in graph.inputs]
        seconds = run_bundle(artifact.root, sample, [], time_budget_s=cost.MEASURE_S)["seconds"]
        compiler = artifact.manifest["compiler"]
        how = f"{compiler['version']}; {artifact.manifest['platform']['cpu']}"
        return {"latency_s": measured_latency(seconds, LIBRARY, how)}
