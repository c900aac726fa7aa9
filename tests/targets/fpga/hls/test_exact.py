"""C simulation against the integer reference: every element of every layer."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from prunus.compiler.integer import ops
from prunus.targets.catalog import resolve
from prunus.targets.fpga.hls import HlsTarget

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
import graphs

pytestmark = [
    pytest.mark.toolchain,
    pytest.mark.skipif(importlib.util.find_spec("hls4ml") is None, reason="hls4ml is not installed"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++"),
]
SAMPLES = 1000


@pytest.fixture(scope="module")
def target() -> HlsTarget:
    return HlsTarget()


def test_mlp_is_exact_and_a_changed_weight_is_noticed(target: HlsTarget, tmp_path: Path) -> None:
    _, device = resolve("pynq-z2")
    graph, _ = graphs.mlp("pow2")
    artifact = target.lower(graph, device, tmp_path)
    feeds = {"t0000": np.random.default_rng(1).normal(size=(SAMPLES, 16)).astype(np.float32)}
    expected = ops.run(graph, feeds, keep=True)
    shown = target.run(artifact, graph, feeds)
    assert sorted(shown) == ["t0002", "t0003", "t0004"]
    for name, value in shown.items():
        assert value.dtype == expected[name].dtype
        np.testing.assert_array_equal(value, expected[name])
    weights = tmp_path / "project" / "firmware" / "weights" / "w2.txt"
    first, _, rest = weights.read_text().partition(",")
    weights.write_text(f"{float(first) + 2.0**-8:.8f},{rest}")
    assert (target.run(artifact, graph, feeds)["t0002"] != expected["t0002"]).any()
