"""What the RTL backend refuses, with the whole text: too large to unroll, too large for the board, da4ml missing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import graphs
import pytest
import rtl_graphs

from prunus.compiler.errors import InvalidModelError, PrunusError, ToolError, UnsupportedError
from prunus.compiler.integer import graph as ir
from prunus.targets import catalog
from prunus.targets.fpga.hls import HlsTarget
from prunus.targets.fpga.rtl import RtlTarget
from prunus.targets.fpga.rtl.products import _solve

Golden = Callable[[str, str], None]


def refusal(graph: ir.Graph, board: str, out: Path, error: type[PrunusError]) -> str:
    out.mkdir(exist_ok=True)
    with pytest.raises(error) as caught:
        RtlTarget(build=False).lower(graph, catalog.device_files()[board].device("rtl"), out)
    assert not any(out.iterdir()), "nothing half written"
    return f"{type(caught.value).__name__} {caught.value.code}\n{caught.value}\n"


def test_too_large_to_unroll(tmp_path: Path, golden: Golden) -> None:
    build = graphs.Builder((4, 16, 16), "pow2", 0)
    graph, _ = build.finish("wide", build.dequantize(build.conv(build.quantize(), 32)))
    golden("errors/rtl-too-large-to-unroll.txt", refusal(graph, "ulx3s-85f", tmp_path / "a", UnsupportedError))


def test_keyword_spotting_is_for_the_backend_that_shares_multipliers(tmp_path: Path, golden: Golden) -> None:
    """A DS-CNN as large as MLPerf Tiny's: refused with the size that would fit; `hls` takes it."""
    build = graphs.Builder((1, 49, 10), "pow2", 0)
    x = build.conv(build.quantize(), 64, stride=2)
    for _ in range(4):
        x = build.conv(build.depthwise(x), 64, kernel=1)
    graph, _ = build.finish("kws", build.dequantize(build.gemm(build.flatten(build.global_average(x)), 12, relu=False)))
    golden("errors/rtl-keyword-spotting.txt", refusal(graph, "ulx3s-85f", tmp_path / "a", UnsupportedError))
    findings = HlsTarget().check(graph, catalog.device_files()["pynq-z2"].device("hls"))
    assert {finding.placement for finding in findings} <= {"integer", "host"}


def test_too_large_for_the_board(tmp_path: Path, golden: Golden) -> None:
    pytest.importorskip("da4ml")
    graph, _ = rtl_graphs.perceptron()
    golden("errors/rtl-device-too-small.txt", refusal(graph, "icebreaker", tmp_path / "a", UnsupportedError))


def test_floating_point_multipliers(tmp_path: Path, golden: Golden) -> None:
    graph, _ = graphs.mlp("f32")
    golden("errors/rtl-scheme-f32.txt", refusal(graph, "ulx3s-85f", tmp_path / "a", UnsupportedError))


def test_da4ml_is_missing(tmp_path: Path, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "da4ml.cmvm", None)
    _solve.cache_clear()
    graph, _ = rtl_graphs.tiny_mlp()
    golden("errors/rtl-da4ml-missing.txt", refusal(graph, "ulx3s-85f", tmp_path / "a", ToolError))


def test_names_that_are_no_identifiers(tmp_path: Path) -> None:
    graph, _ = rtl_graphs.tiny_mlp()
    hostile = 't"; $finish; //'
    first = graph.ops[0]
    tensors = {(hostile if name == first.output else name): tensor for name, tensor in graph.tensors.items()}
    changed = ir.Graph(graph.name, graph.inputs, graph.outputs, tensors, graph.ops, graph.scheme)
    assert "unsafe-name" in refusal(changed, "ulx3s-85f", tmp_path / "a", InvalidModelError)
