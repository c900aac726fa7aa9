"""What `lower` leaves behind: sources, test benches with vectors, constraints, a build script and a host program."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ....compiler.integer import graph as ir
from ....compiler.integer import ops
from ..synth import FAMILIES
from . import board as boards
from .board import Board
from .bus import Bus
from .pipeline import Pipeline
from .placement import Placement
from .simulate import write_hex
from .verilog import emit

VECTORS = 64
STATIC = ("uart_receiver.v", "uart_transmitter.v", "stream_bridge.v", "serial_network.v")
BENCHES = ("network_tb.v", "serial_tb.v")
SOURCES = (*STATIC, "network.v", "top.v")

_BUILD = """#!/bin/sh
# Builds the bitstream from the sources beside this script, in ./build.
set -eu
cd "$(dirname "$0")"
mkdir -p build && cd build
tool() {{
  command -v "$1" || command -v "yowasp-$1" && return
  echo "build.sh: $1 is not installed (pip install 'prunus[rtl]')" >&2
  exit 6
}}
"$(tool yosys)" -q -l synthesis.log -p '{synthesis}'
"$(tool {router})" {route}
"$(tool {packer})" {pack}
"""
_README = """Network in logic
================
board: {title}    clock: {clock:g} MHz    latency: {depth} cycles ({latency:.0f} ns), one sample a cycle

top.bit and the like are in build/ when the tools were installed; otherwise, or after a change:

    ./build.sh

Simulate     iverilog -g2005 -s network_tb -P network_tb.SAMPLES={vectors} -P network_tb.X_BITS={x_bits} \\
                 -P network_tb.Y_BITS={y_bits} -o sim/sim.vvp rtl/network.v sim/network_tb.v && cd sim && vvp sim.vvp
             sim/x.hex holds {vectors} samples, sim/y.hex the results that results.hex must equal.
Load         {load}
Talk to it   python3 host.py --port /dev/ttyUSB0 SAMPLES.npy      (needs pyserial; {baud} baud, 8 data bits)

rtl/network.v is the network: `x` carries a sample's integers, the first in the lowest bits, `y` the results.
rtl/top.v puts it behind the board's serial line: {x_bytes} bytes in, {y_bytes} bytes out, lowest first.

{ports}
An integer q stands for the real number q * scale.
"""
_LOADERS = {
    "ecp5": "openFPGALoader -b {board} build/top.bit",
    "ice40": "openFPGALoader -b {board} build/top.bin",
    "gowin": "openFPGALoader -b {board} build/top.fs",
}


def write_project(
    out: Path, graph: ir.Graph, placement: Placement, pipeline: Pipeline, board: Board, title: str, name: str
) -> dict[str, Any]:
    """Writes everything but the build, and returns the manifest as JSON-ready data."""
    x, y = Bus.of(graph, placement.inputs), Bus.of(graph, placement.outputs)
    rtl, sim = out / "rtl", out / "sim"
    rtl.mkdir()
    sim.mkdir()
    for folder, names in ((rtl, STATIC), (sim, BENCHES)):
        for source in names:
            (folder / source).write_text(_static(source), encoding="ascii")
    (rtl / "network.v").write_text(emit(pipeline, x, y), encoding="ascii")
    (rtl / "top.v").write_text(boards.top(board, x.bits, y.bits), encoding="ascii")
    constraint_file, text = boards.constraints(board)
    (out / constraint_file).write_text(text, encoding="ascii")
    samples, results = vectors(graph, placement, VECTORS)
    write_hex(sim / "x.hex", x.pack(samples))
    write_hex(sim / "y.hex", y.pack(results))
    manifest = _manifest(graph, placement, pipeline, board, x, y)
    (out / "build.sh").write_text(_script(board, constraint_file), encoding="ascii")
    (out / "build.sh").chmod(0o755)
    (out / "host.py").write_text(_static("host.py.in"), encoding="utf-8")
    (out / "network.json").write_text(json.dumps(manifest["host"], indent=1) + "\n", encoding="ascii")
    (out / "README.txt").write_text(_readme(manifest, board, title, name), encoding="utf-8")
    return manifest


def vectors(graph: ir.Graph, placement: Placement, count: int, seed: int = 0) -> tuple[dict[str, Any], dict[str, Any]]:
    """Uniformly random integer inputs, and what the reference makes of them."""
    rng = np.random.default_rng(seed)
    values: dict[str, npt.NDArray[Any]] = {}
    for name in placement.inputs:
        quant = graph.quant(name)
        shape = (count, *graph.tensors[name].shape)
        values[name] = rng.integers(quant.qmin, quant.qmax, shape, endpoint=True).astype(ir.NUMPY_TYPE[quant.dtype])
    samples = dict(values)
    for op in placement.ops:
        values |= zip(op.outputs, ops.evaluate(graph, op, tuple(values[name] for name in op.inputs)), strict=True)
    return samples, {name: values[name] for name in placement.outputs}


def _static(name: str) -> str:
    return (files(__package__) / "hdl" / name).read_text(encoding="utf-8")


def _manifest(
    graph: ir.Graph, placement: Placement, pipeline: Pipeline, board: Board, x: Bus, y: Bus
) -> dict[str, Any]:
    return {
        "family": board.family,
        "clock_hz": board.clock_hz,
        "latency_cycles": pipeline.depth,
        "interval_cycles": 1,
        "host": {
            "baud": board.baud,
            "inputs": [_port(graph, field.tensor, field.bits, field.signed) for field in x.fields],
            "outputs": [_port(graph, field.tensor, field.bits, field.signed) for field in y.fields],
        },
    }


def _port(graph: ir.Graph, name: str, bits: int, signed: bool) -> dict[str, Any]:
    scale = graph.quant(name).scale
    return {"tensor": name, "shape": list(graph.tensors[name].shape), "bits": bits, "signed": signed, "scale": scale}


def _script(board: Board, constraint_file: str) -> str:
    family = FAMILIES[board.family]
    values = {
        **board.parameters,
        "netlist": "netlist.json",
        "routed": family.routed,
        "bitstream": family.bitstream,
        "constraints": f"../{constraint_file}",
        "top": "top",
    }
    sources = " ".join(f"../rtl/{name}" for name in SOURCES)
    route = [argument.format_map(values) for argument in family.route]
    return _BUILD.format(
        synthesis=f"read_verilog {sources}; {family.synth.format_map(values)}",
        router=family.router,
        route=" ".join([*route, f"--freq {board.clock_hz / 1e6:g}", "--report route.json"]),
        packer=family.packer,
        pack=" ".join(argument.format_map(values) for argument in family.pack),
    )


def _readme(manifest: Mapping[str, Any], board: Board, title: str, name: str) -> str:
    host = manifest["host"]
    ports = "".join(
        f"  {direction:6} {port['tensor']}: {port['bits']} bits {'signed' if port['signed'] else 'unsigned'}, "
        f"shape {port['shape']}, scale {port['scale']:g}\n"
        for direction, group in (("input", host["inputs"]), ("output", host["outputs"]))
        for port in group
    )
    x_bits, y_bits = (
        sum(port["bits"] * int(np.prod(port["shape"])) for port in host[key]) for key in ("inputs", "outputs")
    )
    return _README.format(
        title=title,
        clock=board.clock_hz / 1e6,
        depth=manifest["latency_cycles"],
        latency=manifest["latency_cycles"] * 1e9 / board.clock_hz,
        vectors=VECTORS,
        x_bits=x_bits,
        y_bits=y_bits,
        x_bytes=(x_bits + 7) // 8,
        y_bytes=(y_bits + 7) // 8,
        load=_LOADERS[board.family].format(board=name.split("-85f")[0]),
        baud=board.baud,
        ports=ports,
    )


def files_under(out: Path) -> tuple[str, ...]:
    """All files below `out`, as sorted relative paths with forward slashes."""
    return tuple(sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()))
