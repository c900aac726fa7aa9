"""Networks of the size of MLPerf Tiny's keyword spotting: too large to unroll, taken by this backend."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import graphs
import pytest

from prunus.compiler.errors import UnsupportedError
from prunus.compiler.integer import graph as ir
from prunus.compiler.quantity import Quantity
from prunus.targets.catalog import resolve
from prunus.targets.fpga.hls import HlsTarget

_, DEVICE = resolve("pynq-z2")


def keyword_spotting() -> ir.Graph:
    """A DS-CNN: one convolution, four separable ones of 64 channels, 12 classes."""
    build = graphs.Builder((1, 49, 10), "pow2", 0)
    x = build.conv(build.quantize(), 64, stride=2)
    for _ in range(4):
        x = build.conv(build.depthwise(x), 64, kernel=1)
    logits = build.gemm(build.flatten(build.global_average(x)), 12, relu=False)
    return build.finish("kws", build.dequantize(logits))[0]


@pytest.mark.skipif(importlib.util.find_spec("hls4ml") is None, reason="hls4ml is not installed")
def test_it_becomes_a_project_within_the_device(tmp_path: Path) -> None:
    graph = keyword_spotting()
    artifact = HlsTarget().lower(graph, DEVICE, tmp_path)
    assert artifact.manifest["io_type"] == "io_stream"
    found = artifact.manifest["schedule"]
    assert found["fits"]
    assert all(found["needed"][key] <= found["offered"][key] for key in ("dsp", "lut", "bram"))
    linear = {op.name for op in graph.ops if isinstance(op, ir.Linear)}
    said = {finding.layer: finding.hint for finding in artifact.findings}
    assert all("reuse factor" in said[name] and "cycles" in said[name] for name in linear)
    source = (tmp_path / "project" / "firmware" / "firmware.cpp").read_text()
    inside = [entry for entry in artifact.manifest["layers"] if entry["class"] == "DepthwiseConv2D"]
    assert inside
    for entry in inside:
        assert f"depth={entry['stream_depth']}" in source
    assert "depth=125" not in source  # no stream but those into a join holds a whole map


def test_a_device_that_is_far_too_small_names_what_binds(tmp_path: Path) -> None:
    few = Quantity.exact(400, "LUT", "modelled", "made up for this test")
    small = replace(DEVICE, resources={**DEVICE.resources, "lut": few})
    with pytest.raises(UnsupportedError) as caught:
        HlsTarget().lower(keyword_spotting(), small, tmp_path)
    assert caught.value.code == "device-too-small"
    assert "binding: lut" in (caught.value.why or "") and "would fit" in (caught.value.why or "")
    assert not any(tmp_path.iterdir())
