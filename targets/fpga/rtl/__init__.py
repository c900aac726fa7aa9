"""The RTL backend: a small network, fully unrolled, as pipelined Verilog, and with open tools as a bitstream."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ....compiler.errors import UnsupportedError
from ....compiler.integer import graph as ir
from ....compiler.integer import ops
from ....compiler.integer.graph import Graph
from ....compiler.model.workload import Workload
from ....compiler.quantity import UNITS, Basis, Estimate, Quantity
from ....compiler.target import Artifact, Device, Emitted, Finding, Formats, Outputs, Progress, no_progress
from ...bundle import refuse_unsafe_names, refuse_unsupported
from ..synth import FAMILIES, Design, Routed, Synthesised, pack, place_and_route, synthesise
from ..synth.tools import find
from . import cost, package
from .board import Board, board_of, constraints
from .bus import Bus
from .lower import unroll
from .pipeline import Pipeline, schedule
from .placement import Placement, place
from .simulate import simulate, simulator

_REASONS = {
    "scheme": "A power of two is a choice of wires: requantization costs one adder and no multiplier.",
    "activation": "Two's complement numbers around zero; there are no zero points.",
    "unsigned_after_relu": "An unsigned number after a Relu has one bit more.",
    "zero_point": "A zero point would cost an adder for each product.",
    "per_channel": "Every channel's shift is wires.",
    "border_bits": "Inputs and results are few: their width hardly costs logic, and narrow logits tie.",
    "narrow_weights": "Every nonzero digit of a weight is an adder.",
    "block": "A product with zero is no adder, wherever the zero is.",
    "softmax": "The host computes it from the exact logits.",
}
_NARROW = (3, 4, 5, 6)  # bits of weights worth trying
_MARGIN = 0.85  # of the clock period that the model plans with; the router takes the rest


class RtlTarget:
    """Constant multiplications as adders (da4ml), a pipeline for the board's clock, yosys and nextpnr where installed.

    `build=False` stops at the sources.
    """

    name = "rtl"

    def __init__(self, build: bool = True) -> None:
        self.build = build

    def formats(self, device: Device) -> Formats:
        """Power-of-two scales without zero points; bits as the device's settings say, 8 by default."""
        return Formats(
            scheme="pow2",
            activation="s8",
            zero_point="zero",
            weight_bits=int(device.data.get("weight_bits", 8)),
            activation_bits=int(device.data.get("activation_bits", 8)),
            border_bits=8,
            block=(1, 1),
            narrow_weights=_NARROW,
            softmax="host",
            reasons=_REASONS,
        )

    def cost(self, works: Sequence[Workload], device: Device) -> list[Estimate]:
        """Modelled from layers, bits and densities; no tool is asked."""
        return [cost.estimate(work, device) for work in works]

    def count(self, graph: Graph, device: Device) -> Mapping[str, Quantity]:
        """Counted on the netlist, without any tool: what `lower` states where nothing is synthesised."""
        board, placement = board_of(device), place(graph)
        _refuse_empty(placement)
        pipeline = pipelined(graph, placement, board)
        return _modelled(cost.count(pipeline, cost.FABRICS[board.family]), pipeline, board)

    def check(self, graph: Graph, device: Device) -> list[Finding]:
        """One finding per operator; see `placement` for the reason codes."""
        return list(place(graph).findings)

    def lower(self, graph: Graph, device: Device, out: Path, progress: Progress = no_progress) -> Artifact:
        """Writes the project and, where the tools are installed, builds the bitstream.

        Raises UnsupportedError for operators that `check` refuses and for a design that the device cannot hold,
        ToolError where da4ml is missing or a tool fails.
        """
        refuse_unsafe_names(graph)
        placement = place(graph)
        refuse_unsupported(placement.findings, "RTL")
        _refuse_empty(placement)
        board = board_of(device)
        progress("Unrolling the network", 0.0)
        pipeline = pipelined(graph, placement, board)
        counted = cost.count(pipeline, cost.FABRICS[board.family])
        _refuse_too_large(counted, device)
        manifest = package.write_project(out, graph, placement, pipeline, board, device.title, device.name)
        costs = _modelled(counted, pipeline, board)
        if self.build and _tools_there(board):
            design = build_design(out, board)
            made = synthesise(design, _part(progress, 0.1))
            _refuse_too_large(made.resources, device)
            routed = place_and_route(design, _part(progress, 0.3))
            bitstream = pack(design, _part(progress, 0.95))
            (out / "build").mkdir()
            for path in (bitstream, design.folder / "route.json"):
                shutil.copyfile(path, out / "build" / path.name)
            costs = _synthesised(made, routed, pipeline, board)
            manifest["build"] = {
                "cells": dict(made.cells),
                "clocks_hz": {k: list(v) for k, v in routed.clocks_hz.items()},
            }
        progress("Done", 1.0)
        return Artifact(out, package.files_under(out), manifest, costs=costs)

    def run(self, artifact: Artifact, graph: Graph, inputs: Mapping[str, np.ndarray]) -> Outputs | Emitted:
        """Simulates the artefact's Verilog, behind its serial line for the first samples, and returns its outputs."""
        if simulator() is None:
            return Emitted("No Verilog simulator is installed (Debian: iverilog).")
        placement = place(graph)
        x, y = Bus.of(graph, placement.inputs), Bus.of(graph, placement.outputs)
        packed = x.pack(_prologue(graph, placement, inputs))
        rtl, sim = artifact.root / "rtl", artifact.root / "sim"
        data = simulate([rtl / "network.v", sim / "network_tb.v"], "network_tb", packed, x.bits, y.bits)
        flat = y.unpack(data)
        return {
            name: flat[name]
            .astype(ir.NUMPY_TYPE[graph.quant(name).dtype])
            .reshape(len(data), *graph.tensors[name].shape)
            for name in placement.outputs
        }


def pipelined(graph: Graph, placement: Placement, board: Board) -> Pipeline:
    """The network's netlist, cut into stages for the board's clock, wires of a network of its size included."""
    netlist = unroll(graph, placement.inputs, placement.outputs, placement.ops).netlist
    fabric = cost.FABRICS[board.family]
    period_ns = _MARGIN * 1e9 / board.clock_hz / cost.routing(netlist, fabric)
    return schedule(netlist, fabric.delays, period_ns)


def _prologue(graph: Graph, placement: Placement, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the host computes before the device."""
    values = {name: np.asarray(inputs[name]) for name in graph.inputs}
    device = {op.name for op in placement.ops}
    for op in graph.ops:
        if op.name not in device and all(name in values for name in op.inputs):
            values |= zip(op.outputs, ops.evaluate(graph, op, tuple(values[name] for name in op.inputs)), strict=True)
    return {name: values[name] for name in placement.inputs}


def build_design(out: Path, board: Board) -> Design:
    """The build of a written project, in a cache folder named after its sources: an interrupted build goes on there."""
    sources = tuple(out / "rtl" / name for name in package.SOURCES)
    constraint_file, _ = constraints(board)
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in (*sources, out / constraint_file)))
    given, base = os.environ.get("PRUNUS_CACHE"), Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cache = Path(given) if given else base / "prunus"
    folder = cache.resolve() / "fpga" / digest.hexdigest()[:24]
    kept = folder / "sources"
    kept.mkdir(parents=True, exist_ok=True)
    for path in (*sources, out / constraint_file):
        shutil.copyfile(path, kept / path.name)
    return Design(
        folder,
        tuple(kept / path.name for path in sources),
        "top",
        board.family,
        board.parameters,
        kept / constraint_file,
        board.clock_hz,
    )


def _tools_there(board: Board) -> bool:
    family = FAMILIES[board.family]
    return all(tool is not None and find(tool) for tool in ("yosys", family.router, family.packer))


def _modelled(counted: Mapping[str, float], pipeline: Pipeline, board: Board) -> dict[str, Quantity]:
    source = "counted on the netlist, not synthesised"
    costs = {key: Quantity.within(value, 0.1, UNITS[key], "modelled", source) for key, value in counted.items()}
    return costs | _timing(pipeline, board.clock_hz, "modelled", source)


def _synthesised(made: Synthesised, routed: Routed, pipeline: Pipeline, board: Board) -> dict[str, Quantity]:
    source = f"nextpnr, routed for {' '.join(board.parameters.values())}"
    costs = {
        key: Quantity.exact(value, UNITS[key], "synthesised", source) for key, value in sorted(routed.used.items())
    }
    reached = min((clock for clock, _ in routed.clocks_hz.values()), default=board.clock_hz)
    return costs | _timing(pipeline, min(reached, board.clock_hz), "synthesised", source)


def _timing(pipeline: Pipeline, hertz: float, basis: Basis, source: str) -> dict[str, Quantity]:
    values = {
        "latency_cycles": pipeline.depth,
        "interval_cycles": 1,
        "latency_s": pipeline.depth / hertz,
        "throughput_per_s": hertz,
    }
    return {key: Quantity.exact(value, UNITS[key], basis, source) for key, value in values.items()}


def _part(progress: Progress, start: float) -> Progress:
    return lambda what, _fraction: progress(what, start)


def _refuse_empty(placement: Placement) -> None:
    if not placement.ops:
        raise UnsupportedError(
            "Nothing of the model would run on the device.",
            code="nothing-to-lower",
            hint="Quantize the model first; `prunus check` lists every operator.",
        )


def _refuse_too_large(needed: Mapping[str, float], device: Device) -> None:
    """Raises UnsupportedError `device-too-small` with the resource that is shortest."""
    shares = {
        key: device.resources[key].value / value for key, value in needed.items() if key in device.resources and value
    }
    binding = min(shares, key=lambda key: shares[key], default=None)
    if binding is None or shares[binding] >= 1:
        return
    value, offered = needed[binding], device.resources[binding].value
    raise UnsupportedError(
        f"The unrolled network needs about {value:,.0f} {UNITS[binding]}; the device has {offered:,.0f}.",
        code="device-too-small",
        where=device.name,
        why=f"binding: {binding}",
        hint=f"A network of {shares[binding]:.0%} of its size would fit: prune more, use fewer bits, "
        "choose a larger board, or the hls backend, which shares multipliers.",
    )
