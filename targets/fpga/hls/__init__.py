"""The hls4ml backend: an integer graph becomes an HLS project whose C simulation equals the integer reference."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ....compiler.errors import UnsupportedError, missing_extra
from ....compiler.integer import ops
from ....compiler.integer.graph import Graph
from ....compiler.model.workload import Workload
from ....compiler.quantity import Estimate, Quantity
from ....compiler.target import Artifact, Device, Emitted, Finding, Formats, Outputs, Progress, no_progress
from . import cost, csim, package, process, settings, synthesis
from .lower import Lowered, lower_graph
from .reuse import Schedule, does_not_fit
from .schedule import reasons, schedule
from .spec import HlsLayer, Spec
from .vectors import write_vectors

PROJECT = "project"
WRITE_TIMEOUT_S = 600.0
_REASONS = {
    "channel_multiple": "Reuse factors divide a layer's products: odd channel counts leave only slow ones.",
    "scheme": "A power of two is a shift, so rounding and saturating fixed-point types are the requantization.",
    "requant_bits": "An 18-bit multiplier fits one input of a DSP slice.",
    "activation": "Fixed-point types are symmetric around zero; there are no zero points.",
    "unsigned_after_relu": "An unsigned saturating type is the Relu, and has one bit more.",
    "zero_point": "hls4ml's types have none.",
    "per_channel": "Weights of one layer share a fixed-point type that is wide enough for all channels' scales.",
    "narrow_weights": "Multipliers in logic, accumulators and memories shrink with the bits.",
    "softmax": "hls4ml's Softmax is a table with large errors; the host computes it from the exact logits.",
}


class HlsTarget:
    """hls4ml with AMD's HLS tools. Device settings: `part`; optional `hls_backend` and `hls_scheme` (pow2 or fixed)."""

    name = "hls"

    def __init__(
        self,
        compile_timeout_s: float = csim.COMPILE_TIMEOUT_S,
        run_timeout_s: float = csim.RUN_TIMEOUT_S,
        synthesis_timeout_s: float = synthesis.TIMEOUT_S,
    ) -> None:
        self.synthesis_timeout_s = synthesis_timeout_s
        self.compile_timeout_s = compile_timeout_s
        self.run_timeout_s = run_timeout_s
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    def formats(self, device: Device) -> Formats:
        """Power-of-two scales and no zero points, or 18-bit multipliers where the device's settings ask for them."""
        return Formats(
            scheme=settings.scheme(device),
            requant_bits=18,
            activation="s8",
            zero_point="zero",
            channel_multiple=4,
            narrow_weights=(4, 6),
            softmax="host",
            reasons=dict(_REASONS),
        )

    def cost(self, works: Sequence[Workload], device: Device) -> list[Estimate]:
        """Modelled resources and latency under the schedule that `lower` would choose; no tool is asked."""
        return [cost.estimate(work, device) for work in works]

    def settings(self, device: Device) -> Mapping[str, Sequence[int]]:
        """`multipliers`: how many all layers share."""
        return {"multipliers": settings.multiplier_choices(device)}

    def check(self, graph: Graph, device: Device) -> list[Finding]:
        """One finding per operator: exact on the device, left to the host, or unsupported and why."""
        return list(lower_graph(graph).findings)

    def lower(self, graph: Graph, device: Device, out: Path, progress: Progress = no_progress) -> Artifact:
        """Writes `project/`, `firmware.zip`, `build.sh` and `README.txt`; hls4ml runs in a subprocess.

        Raises UnsupportedError when an operator has no exact form, ToolError when hls4ml is missing or fails.
        """
        lowered = lower_graph(graph)
        _refuse(lowered)
        if importlib.util.find_spec("hls4ml") is None:
            raise missing_extra("hls4ml", "fpga")
        layers, plan = schedule(lowered.layers, settings.budget(device), lowered.io_type)
        _refuse_too_large(plan, device)
        _refuse_depthwise(layers, device)
        spec = _spec(lowered, layers, device)
        progress("writing the HLS project", 0.0)
        with tempfile.TemporaryDirectory(prefix="prunus-hls-") as scratch:
            path = Path(scratch, "spec.npz")
            spec.save(path)
            command = ["write", str(path)]
            what = "Writing the HLS project"
            process.worker(command, Path(scratch), what=what, code="hls4ml-failed", timeout_s=WRITE_TIMEOUT_S)
            shutil.move(Path(scratch, PROJECT), out / PROJECT)
        manifest = package.manifest(graph, lowered, spec, plan)
        package.clean(out / PROJECT)
        write_vectors(out / PROJECT / "tb_data", graph, lowered)
        package.write_scripts(out, spec, plan, manifest)
        package.archive(out, package.files_under(out), out / "firmware.zip")
        progress("writing the HLS project", 1.0)
        costs = self._synthesised(out, spec, progress)
        return Artifact(out, package.files_under(out), manifest, _findings(graph, lowered, layers, plan), costs)

    def _synthesised(self, out: Path, spec: Spec, progress: Progress) -> dict[str, Quantity]:
        """What the vendor's tool reports, which is kept as `csynth.xml`; nothing where it is not installed."""
        progress("C synthesis", 0.0)
        found = synthesis.synthesise(out / PROJECT, spec.project, spec.backend, self.synthesis_timeout_s)
        if found is None:
            return {}
        report, tool = found
        costs = synthesis.read_report(report, tool, spec.clock_period_ns)
        (out / "csynth.xml").write_text(report, encoding="utf-8")
        progress("C synthesis", 1.0)
        return costs

    def run(self, artifact: Artifact, graph: Graph, inputs: Mapping[str, np.ndarray]) -> Outputs | Emitted:
        """Compiles the project's C simulation and runs the samples. The host quantizes the inputs as the graph says.

        Returns every integer tensor that a layer of the project computes. Raises ToolError or LimitError.
        """
        lowered = lower_graph(graph)
        project = artifact.root / PROJECT
        library = self._library(project, str(artifact.manifest["top"]))
        feeds = _host_prologue(graph, lowered, inputs)
        return csim.simulate(project, library, graph, lowered, feeds, self.run_timeout_s)

    def _library(self, project: Path, top: str) -> Path:
        """The compiled simulation; kept for as long as this target lives, one per content of the sources."""
        if self._scratch is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="prunus-hls-csim-")
        digest = hashlib.sha256()
        for path in sorted(project.rglob("*")):
            if path.suffix in (".cpp", ".h"):
                digest.update(path.relative_to(project).as_posix().encode() + b"\0" + path.read_bytes())
        library = Path(self._scratch.name, digest.hexdigest()[:16], f"{top}.so")
        if not library.is_file():
            library.parent.mkdir(exist_ok=True)
            self.compile_simulation(project, library)
        return library

    def compile_simulation(self, project: Path, library: Path) -> None:
        """Builds the C simulation of a project. Raises ToolError and LimitError."""
        csim.compile_project(project, library, self.compile_timeout_s)


def _refuse(lowered: Lowered) -> None:
    """Raises UnsupportedError that names the first operator at fault and counts the rest."""
    if not lowered.refused and lowered.outputs:
        return
    if not lowered.refused:
        raise UnsupportedError(
            "Nothing of the model would run on the device.",
            code="nothing-to-lower",
            hint="Quantize the model first; `prunus check` lists every operator.",
        )
    first, others = lowered.refused[0], len(lowered.refused) - 1
    raise UnsupportedError(
        f"An operator cannot be compiled for this device ({first.reason_code})"
        + (f", and {others} more." if others else "."),
        code=first.reason_code,
        where=first.layer,
        why=first.hint,
        hint="`prunus check` lists every operator with its reason.",
    )


def _refuse_depthwise(layers: tuple[HlsLayer, ...], device: Device) -> None:
    """Raises UnsupportedError for what hls4ml's Catapult kernels abort on: shared multipliers of depthwise layers."""
    if settings.hls_backend(device) != "Catapult":
        return
    found = [layer for layer in layers if layer.class_name == "DepthwiseConv2D" and layer.strategy == "Resource"]
    if found:
        raise UnsupportedError(
            "Catapult has no depthwise convolution with shared multipliers.",
            code="catapult-depthwise",
            where=found[0].name,
            why="hls4ml's kernel for it is not written.",
            hint="Use hls_backend = 'Vitis', or a device on which these layers fit as constants.",
        )


def _refuse_too_large(plan: Schedule, device: Device) -> None:
    """Raises UnsupportedError where even the low end of the model's range exceeds the device."""
    if plan.fits:
        return
    low = cost.LEAST[plan.binding]
    if plan.needed[plan.binding] * low > device.resources[plan.binding].value:
        raise UnsupportedError(
            "The design does not fit the device.",
            code="device-too-small",
            where=device.name,
            why=f"binding: {plan.binding}. {does_not_fit(plan)}",
            hint="Prune more, use fewer bits, or choose a larger device (`prunus targets`).",
        )


def _findings(graph: Graph, lowered: Lowered, layers: tuple[HlsLayer, ...], plan: Schedule) -> tuple[Finding, ...]:
    """The findings of the lowering, with the schedule of each operator's layers and its reason."""
    by_layer = reasons(layers, plan)
    operator = {
        lowered.values[op.output].layer: op.name for op in graph.ops if op.outputs and op.outputs[0] in lowered.values
    }
    chosen = {operator[name]: text for name, text in by_layer.items() if name in operator}
    return tuple(
        replace(finding, hint=f"{finding.hint} {chosen[finding.layer]}".strip()) if finding.layer in chosen else finding
        for finding in lowered.findings
    )


def _spec(lowered: Lowered, layers: tuple[HlsLayer, ...], device: Device) -> Spec:
    spec = Spec(
        layers=layers,
        inputs=tuple(lowered.values[name].layer for name in lowered.inputs),
        outputs=tuple(lowered.values[name].layer for name in lowered.outputs),
        io_type=lowered.io_type,
        backend=settings.hls_backend(device),
        part=settings.part(device),
        clock_period_ns=settings.clock_period_ns(device),
    )
    spec.check_names()
    return spec


def _host_prologue(graph: Graph, lowered: Lowered, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Evaluates what the host computes before the device: up to the device's integer inputs."""
    values = {name: np.asarray(inputs[name]) for name in graph.inputs}
    host = {finding.layer for finding in lowered.findings if finding.placement == "host"}
    for op in graph.ops:
        if op.name in host and all(name in values for name in op.inputs):
            values |= zip(op.outputs, ops.evaluate(graph, op, tuple(values[name] for name in op.inputs)), strict=True)
    return {name: values[name] for name in lowered.inputs}
