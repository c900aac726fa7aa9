"""The host program talks to a board that a thread plays on a pseudo-terminal; buses survive a round trip."""

from __future__ import annotations

import os
import pty
import runpy
import threading
import tty
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rtl_graphs
from hypothesis import given, settings
from hypothesis import strategies as st

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops
from prunus.targets import catalog
from prunus.targets.fpga.rtl import RtlTarget, package
from prunus.targets.fpga.rtl.bus import Bus, Field
from prunus.targets.fpga.rtl.placement import Placement, place


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 9), st.booleans()), min_size=1, max_size=4), st.integers(0, 99)
)
@settings(max_examples=60, deadline=None)
def test_buses_survive_a_round_trip(fields: list[tuple[int, int, bool]], seed: int) -> None:
    bus = Bus(tuple(Field(f"t{i}", size, bits, signed) for i, (size, bits, signed) in enumerate(fields)))
    rng, values = np.random.default_rng(seed), {}
    for field in bus.fields:
        low = -(1 << (field.bits - 1)) if field.signed else 0
        values[field.tensor] = rng.integers(low, low + (1 << field.bits), (3, field.size))
    packed = bus.pack(values)
    assert packed.shape == (3, bus.bytes)
    found = bus.unpack(packed)
    assert all(np.array_equal(found[name], values[name]) for name in values)


class Line:
    """What host.py needs of pyserial, over a file descriptor."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def write(self, data: bytes) -> None:
        os.write(self.descriptor, data)

    def read(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            found += os.read(self.descriptor, count - len(found))
        return found


def board(descriptor: int, graph: ir.Graph, placement: Placement, samples: int) -> None:
    """Answers as many samples as the integer reference does."""
    x, y = Bus.of(graph, placement.inputs), Bus.of(graph, placement.outputs)
    line = Line(descriptor)
    for _ in range(samples):
        flat = x.unpack(np.frombuffer(line.read(x.bytes), np.uint8)[None])
        values: dict[str, Any] = {
            name: flat[name].reshape(1, *graph.tensors[name].shape).astype(ir.NUMPY_TYPE[graph.quant(name).dtype])
            for name in placement.inputs
        }
        for op in placement.ops:
            values |= zip(op.outputs, ops.evaluate(graph, op, tuple(values[name] for name in op.inputs)), strict=True)
        line.write(y.pack({name: values[name] for name in placement.outputs}).tobytes())


def test_the_host_program_gets_the_networks_answers(tmp_path: Path) -> None:
    pytest.importorskip("da4ml")
    graph, feeds = rtl_graphs.tiny_mlp()
    device = catalog.device_files()["ulx3s-85f"].device("rtl")
    artifact = RtlTarget(build=False).lower(graph, device, tmp_path)
    host, description = runpy.run_path(str(tmp_path / "host.py")), artifact.manifest["host"]
    placement, real = place(graph), feeds[graph.inputs[0]]
    integers = [host["quantize"](description["inputs"][0], real)]
    near, far = pty.openpty()
    for descriptor in (near, far):
        tty.setraw(descriptor)
    thread = threading.Thread(target=board, args=(far, graph, placement, len(real)), daemon=True)
    thread.start()
    size = host["size_of"](description["outputs"])
    answers = host["exchange"](Line(near), host["pack"](description["inputs"], integers), size)
    thread.join(timeout=10)
    [found] = host["unpack"](description["outputs"], answers)
    expected = ops.run(graph, feeds, keep=True)
    assert np.array_equal(integers[0], expected[placement.inputs[0]])
    assert np.array_equal(found, expected[placement.outputs[0]])


def test_files_of_a_project(tmp_path: Path) -> None:
    pytest.importorskip("da4ml")
    device = catalog.device_files()["icebreaker"].device("rtl")
    artifact = RtlTarget(build=False).lower(rtl_graphs.tiny_mlp()[0], device, tmp_path)
    assert set(artifact.files) == {
        *("README.txt", "build.sh", "host.py", "network.json", "top.pcf"),
        *(f"rtl/{name}" for name in package.SOURCES),
        *(f"sim/{name}" for name in (*package.BENCHES, "x.hex", "y.hex")),
    }
    assert len((tmp_path / "sim" / "x.hex").read_text().split()) == package.VECTORS
