"""Generated Verilog: golden text, the same bytes every time, simulation against the reference."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import rtl_graphs

from prunus.compiler.errors import ToolError
from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops
from prunus.targets import catalog
from prunus.targets.fpga.rtl import RtlTarget, package
from prunus.targets.fpga.rtl.bus import Bus
from prunus.targets.fpga.rtl.placement import place
from prunus.targets.fpga.rtl.simulate import SIMULATORS, simulate, simulator

pytest.importorskip("da4ml")
DEVICE = catalog.device_files()["ulx3s-85f"].device("rtl")
Golden = Callable[[str, str], None]


def project(graph: ir.Graph, out: Path) -> Path:
    out.mkdir()
    RtlTarget(build=False).lower(graph, DEVICE, out)
    return out


def test_golden_network(tmp_path: Path, golden: Golden) -> None:
    out = project(rtl_graphs.tiny_mlp()[0], tmp_path / "a")
    golden("rtl/network.v", (out / "rtl" / "network.v").read_text())
    golden("rtl/top-ulx3s.v", (out / "rtl" / "top.v").read_text())
    golden("rtl/README.txt", (out / "README.txt").read_text())
    golden("rtl/build.sh", (out / "build.sh").read_text())


def test_the_same_bytes_every_time(tmp_path: Path) -> None:
    first, second = (project(rtl_graphs.small_cnn()[0], tmp_path / name) for name in "ab")
    files = package.files_under(first)
    assert files == package.files_under(second)
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in files)


@pytest.mark.toolchain
@pytest.mark.parametrize(
    ("using", "make"),
    [
        ("iverilog", rtl_graphs.tiny_mlp),
        ("iverilog", rtl_graphs.small_cnn),
        ("cxxrtl", rtl_graphs.tiny_mlp),
        pytest.param("verilator", rtl_graphs.tiny_mlp, marks=pytest.mark.slow),  # compiles for half a minute
    ],
)
def test_simulation_equals_the_reference(
    using: str, make: Callable[[], tuple[ir.Graph, dict[str, np.ndarray]]], tmp_path: Path
) -> None:
    if not SIMULATORS[using].installed:
        pytest.skip(f"{using} is not installed")
    graph, _ = make()
    out = project(graph, tmp_path / "a")
    placement = place(graph)
    x, y = Bus.of(graph, placement.inputs), Bus.of(graph, placement.outputs)
    samples, expected = package.vectors(graph, placement, 50, seed=1)
    sources = [out / "rtl" / "network.v", out / "sim" / "network_tb.v"]
    found = simulate(sources, "network_tb", x.pack(samples), x.bits, y.bits, using)
    assert np.array_equal(found, y.pack(expected))


@pytest.mark.toolchain
def test_the_serial_line_carries_samples_and_results(tmp_path: Path) -> None:
    if simulator("serial_tb") is None:
        pytest.skip("neither iverilog nor verilator is installed")
    graph, _ = rtl_graphs.tiny_mlp()
    out = project(graph, tmp_path / "a")
    placement = place(graph)
    x, y = Bus.of(graph, placement.inputs), Bus.of(graph, placement.outputs)
    samples, expected = package.vectors(graph, placement, 40, seed=2)
    sources = [*(out / "rtl" / name for name in package.SOURCES if name != "top.v"), out / "sim" / "serial_tb.v"]
    found = simulate(sources, "serial_tb", x.pack(samples), x.bits, y.bits)
    assert np.array_equal(found, y.pack(expected))


@pytest.mark.toolchain
def test_the_artefact_runs_and_a_fault_is_seen(tmp_path: Path) -> None:
    if simulator() is None:
        pytest.skip("no Verilog simulator is installed")
    graph, feeds = rtl_graphs.tiny_mlp()
    target = RtlTarget(build=False)
    (tmp_path / "a").mkdir()
    artifact = target.lower(graph, DEVICE, tmp_path / "a")
    expected = ops.run(graph, feeds, keep=True)
    found = target.run(artifact, graph, feeds)
    assert isinstance(found, dict) and found
    assert all(np.array_equal(value, expected[name]) for name, value in found.items())
    source = artifact.root / "rtl" / "network.v"
    text = source.read_text()
    assert " + " in text
    source.write_text(text.replace(" + ", " - ", 1))
    changed = target.run(artifact, graph, feeds)
    assert isinstance(changed, dict)
    assert any(not np.array_equal(value, expected[name]) for name, value in changed.items())


def test_a_yosys_without_its_headers_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As some distributions package it."""
    module = import_module("prunus.targets.fpga.rtl.simulate")  # its package has a function of this name
    programs = {"yosys": str(tmp_path / "bin" / "yosys"), "g++": "/usr/bin/g++"}
    monkeypatch.setattr(module, "find", programs.get)
    assert not SIMULATORS["cxxrtl"].installed and simulator() is None
    samples = np.zeros((1, 1), np.uint8)
    with pytest.raises(ToolError, match="headers") as refused:
        simulate([Path(__file__)], "network_tb", samples, 8, 8, using="cxxrtl")
    assert refused.value.code == "tool-missing" and "prunus[rtl]" in (refused.value.hint or "")
    (tmp_path / "share" / "yosys" / module._HEADERS).mkdir(parents=True)
    assert SIMULATORS["cxxrtl"].installed and simulator() == "cxxrtl"
