"""Trained networks on their own data: every element of every layer of the C simulation equals the reference."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import fpga_exactness as bench
import pytest

from prunus.targets.catalog import resolve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.toolchain,
    pytest.mark.skipif(importlib.util.find_spec("hls4ml") is None, reason="hls4ml is not installed"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++"),
]
INPUTS = {"jet_mlp": 1000, "jet_mlp_pruned70": 1000, "digits_cnn": 1000, "mobilenet_v1": 20}  # at least; 100 of others


@pytest.mark.parametrize("sparsity", bench.SPARSITIES)
@pytest.mark.parametrize("scheme", bench.SCHEMES)
@pytest.mark.parametrize("name", list(bench.CASES))
def test_simulation_equals_the_reference(name: str, scheme: str, sparsity: float, models: Path) -> None:
    """Power-of-two scales and arbitrary ones, whole and pruned by half, within what compiling may take."""
    _, device = resolve("zcu104")
    run = bench.measure(name, device, scheme, sparsity)
    assert run["inputs"] >= INPUTS.get(name, 100)
    assert (run["exact_fraction"], run["worst"]) == (1.0, "")
    assert run["elements"] > 1000
    assert run["compile_bytes"] <= bench.COMPILE_BYTES
    assert bench.holds(run)
