"""Real trained models with real data: paired loss within the bound, artefact exact, on two kinds of hardware."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

from mlperf_tiny import compile_task
from real_tasks import load_task

QUICK = {("wake_word", "host-cpu"), ("ds_cnn", "npu-16nm")}
CASES = [
    pytest.param(name, device, marks=() if (name, device) in QUICK else pytest.mark.slow)
    for name in ("resnet8", "ds_cnn", "mobilenet_v1", "wake_word", "autoencoder")
    for device in ("host-cpu", "npu-16nm")
]


@pytest.mark.toolchain
@pytest.mark.parametrize(("name", "device"), CASES)
def test_compiles_within_the_bound_and_exactly(name: str, device: str, models: Path, tmp_path: Path) -> None:
    if device == "host-cpu" and find_spec("tvm") is None:
        pytest.skip("host-cpu needs the extra tvm")
    report = compile_task(load_task(name, models), device, tmp_path / "out", verify_samples=8)
    assert report.verdict.met, report.verdict
    assert report.fidelity is not None
    assert report.fidelity.exact_fraction == 1.0
    assert report.fidelity.compared_elements > 10_000
    assert report.fidelity.sqnr_db is not None
    assert report.fidelity.sqnr_db > 20
