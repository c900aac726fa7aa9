"""Bundles of C on every device: exactness, code, flash, RAM and arena, predicted beside measured.

    python tests/bench/c_bundles.py [--network NAME]… [--device DEVICE]… [--samples N] [--large] [--out FILE]

A bundle is compiled by its device's compiler and executed: here, under qemu-user, or on the board that qemu-system-arm
emulates. Every integer tensor and every dequantized output is compared with the integer reference. `text` and flash are
the linked model's, without the example; RAM is the arena and the stack's depth, painted before the run (Cortex-M).
Networks that exceed a device's memory show what binds. `--large`: MobileNetV2, UltraFace and ESPCN, too (minutes each).

Exit code 1 unless every element is equal, flash and RAM lie within 10 % of the prediction, arenas within 10 % of the
live tensors' peak, the kernels' code of the MLPerf networks in 8 kB on Cortex-M; and unless a bundle with one other
weight shows differences and a program for another core ends in a fault.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "support"))

from integer_models import LARGE, MLPERF, NAMES, integer_model

from prunus.compiler.errors import ToolError, UnsupportedError
from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops
from prunus.compiler.target import Artifact, Device, Emitted
from prunus.targets.bundle import digest
from prunus.targets.c import CTarget
from prunus.targets.c.execute import measure_memory, run_bundle
from prunus.targets.c.program import program
from prunus.targets.c.source import constant
from prunus.targets.c.toolchain import missing_tool, toolchain_of
from prunus.targets.catalog import device_files

CORES = ("cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55", "cortex-m55-nomve")
HOSTS = ("linux", "linux-aarch64", "armv7", "riscv64")
TOLERANCE = 0.1  # of predictions, and of the arena above what lives at once
RUNTIME_BYTES = 8192
Feeds = dict[str, np.ndarray]


@dataclass(frozen=True)
class Row:
    """One network on one device. `exact`: fraction of the compared elements; sizes in bytes, None where unknown."""

    network: str
    device: str
    refused: str = ""
    exact: float | None = None
    elements: int = 0
    text: int = 0
    flash: tuple[int, int] | None = None  # predicted, linked
    ram: tuple[int, int] | None = None  # predicted, measured
    arena: int = 0
    live: int = 0

    @property
    def good(self) -> bool:
        if self.refused:
            return True
        near = [abs(found / predicted - 1) <= TOLERANCE for predicted, found in filter(None, (self.flash, self.ram))]
        small = self.text <= RUNTIME_BYTES or self.device not in CORES or self.network not in MLPERF
        return self.exact == 1.0 and all(near) and small and self.arena <= (1 + TOLERANCE) * self.live

    def line(self) -> str:
        if self.refused:
            return f"{self.network:<13}{self.device:<17}{self.refused}"
        assert self.flash
        ram = _pair(self.ram) if self.ram else f"{'arena only':>27}"
        return (
            f"{self.network:<13}{self.device:<17}{100 * (self.exact or 0):9.4f} %{self.elements:>12,}{self.text:>8,}"
            f"{_pair(self.flash)}{ram}{self.arena / self.live:>8.3f}{'' if self.good else '  MISSED'}"
        )


HEADER = (
    f"{'network':<13}{'device':<17}{'exact':>11}{'elements':>12}{'text':>8}{'flash predicted/linked':>27}"
    f"{'RAM predicted/measured':>27}{'arena':>8}"
)


def _pair(sizes: tuple[int, int]) -> str:
    predicted, found = sizes
    return f"{f'{predicted:,}/{found:,} {100 * (predicted / found - 1):+.1f}%':>27}"


def device_of(name: str) -> Device:
    return device_files()[name].device("c")


def compare(artifact: Artifact, graph: ir.Graph, feeds: Feeds, expected: Feeds) -> tuple[int, int]:
    """(equal, compared) elements of every tensor that both know."""
    found = CTarget().run(artifact, graph, feeds)
    if isinstance(found, Emitted):
        raise ToolError(found.reason, code="tool-missing")
    shared = [name for name in found if name in expected]
    assert set(graph.integer_tensors()) <= set(shared)
    equal = sum(int(np.count_nonzero(found[name] == expected[name])) for name in shared)
    return equal, sum(expected[name].size for name in shared)


def measure(network: str, graph: ir.Graph, feeds: Feeds, expected: Feeds, name: str) -> Row:
    """Lowers, executes, weighs."""
    device = device_of(name)
    tools = toolchain_of(device)
    if missing := missing_tool(tools):
        return Row(network, name, refused=f"not executed: {missing}")
    with tempfile.TemporaryDirectory(prefix="prunus-c-") as folder:
        try:
            artifact = CTarget().lower(graph, device, Path(folder))
        except UnsupportedError as error:
            return Row(network, name, refused=f"does not fit: {error.what}")
        equal, compared = compare(artifact, graph, feeds, expected)
        found = measure_memory(Path(folder), program(graph, tools), tools)
        memory = artifact.manifest["memory"]
        ram = (int(artifact.costs["ram_bytes"].value), found["arena_bytes"] + found.get("stack_bytes", 0))
        return Row(
            network,
            name,
            exact=equal / compared,
            elements=compared,
            text=found["code_bytes"],
            flash=(int(artifact.costs["flash_bytes"].value), found["code_bytes"] + found["constant_bytes"]),
            ram=ram if "stack_bytes" in found else None,
            arena=found["arena_bytes"],
            live=memory["live_bytes"],
        )


# -- companions ---------------------------------------------------------------------------------------------------


def with_another_weight(artifact: Artifact, graph: ir.Graph, values: Feeds) -> Artifact:
    """The same bundle with one weight of the last dense layer changed, that of the input with the largest values, and
    digests that belong to it."""
    layer = [op for op in graph.ops if isinstance(op, ir.QGemm)][-1]
    source = layer.inputs[0]
    inputs = np.abs(values[source].astype(int) - graph.quant(source).zero_point).sum(axis=0)
    weights = layer.weight.ravel().copy()
    weights[inputs.argmax()] ^= 64
    path = artifact.root / "model_weights.h"
    name = f"op_{layer.name}_weight"
    path.write_text(path.read_text().replace(constant(name, layer.weight), constant(name, weights)))
    digests = {**artifact.manifest["sha256"], path.name: digest(path)}
    return replace(artifact, manifest={**artifact.manifest, "sha256": digests})


def companions(graph: ir.Graph, feeds: Feeds, expected: Feeds) -> bool:
    """Whether a seeded fault is seen, and a program for another core fails."""
    with tempfile.TemporaryDirectory(prefix="prunus-c-") as folder:
        artifact = with_another_weight(CTarget().lower(graph, device_of("linux"), Path(folder)), graph, expected)
        equal, compared = compare(artifact, graph, feeds, expected)
    print(f"one weight changed: {compared - equal:,} of {compared:,} elements differ", flush=True)
    seen = equal < compared
    for name, board in (("cortex-m4", "mps2-an385"), ("cortex-m55", "mps2-an500")):
        tools = toolchain_of(device_of(name))
        if missing := missing_tool(tools):
            print(f"{name} on {board}: not executed: {missing}")
            continue
        with tempfile.TemporaryDirectory(prefix="prunus-c-") as folder:
            CTarget().lower(graph, device_of(name), Path(folder))
            try:
                run_bundle(Path(folder), graph, program(graph, tools), replace(tools, machine=board), feeds)
            except ToolError as error:
                print(f"{name} on {board}: {error.what}")
            else:
                print(f"{name} on {board}: RAN")
                seen = False
    return seen


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", action="append", choices=NAMES)
    parser.add_argument("--device", action="append", choices=(*CORES, *HOSTS))
    parser.add_argument("--samples", type=int, default=8, help="of small networks; large ones take two")
    parser.add_argument("--large", action="store_true", help="the large networks, too")
    parser.add_argument("--out", type=Path, help="write everything that was measured as JSON")
    asked = parser.parse_args()
    folder = Path(os.environ.get("PRUNUS_MODELS", TESTS.parent.parent / "shared" / "models"))
    networks = asked.network or [name for name in NAMES if asked.large or name not in LARGE]
    rows: list[Row] = []
    formats = CTarget().formats(device_of("linux"))
    graph, feeds = integer_model("digits_cnn", folder, formats)
    seen = companions(graph, feeds, ops.run(graph, feeds, keep=True))
    print(HEADER)
    for network in networks:
        samples = 2 if network in LARGE else asked.samples
        graph, feeds = integer_model(network, folder, formats, samples)
        expected: dict[str, Any] = ops.run(graph, feeds, keep=True)
        for device in asked.device or (*CORES, *HOSTS):
            rows.append(measure(network, graph, feeds, expected, device))
            print(rows[-1].line(), flush=True)
    if asked.out:
        asked.out.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")
    run = [row for row in rows if not row.refused]
    print(f"{sum(row.good for row in run)} of {len(run)} as they must be, {len(rows) - len(run)} not executed")
    return 0 if seen and all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
