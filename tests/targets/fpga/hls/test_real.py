"""Trained networks on their own data: every element of every layer of the C simulation equals the reference."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest
from real_tasks import load_task

from prunus.compiler.data import Data
from prunus.compiler.integer.from_qdq import read_qdq
from prunus.compiler.integer.graph import Graph
from prunus.compiler.model.load import load
from prunus.compiler.passes.base import Context, Options
from prunus.compiler.pipeline import Pipeline
from prunus.compiler.target import Device
from prunus.compiler.verify import verify_artifact
from prunus.targets.catalog import resolve
from prunus.targets.fpga.hls import HlsTarget

pytestmark = [
    pytest.mark.slow,
    pytest.mark.toolchain,
    pytest.mark.skipif(importlib.util.find_spec("hls4ml") is None, reason="hls4ml is not installed"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++"),
]


def integer_graph(path: Path, calibration: np.ndarray, device: Device) -> Graph:
    """The quantized model, with its calibration samples under the input's name."""
    model, formats = load(path), HlsTarget().formats(device)
    data = Data({str(model.graph.inputs[0].name): calibration})
    context = Context(formats=formats, options=Options(), calibration=data)
    return read_qdq(Pipeline.default().run(model, context).model, formats)


def assert_exact(graph: Graph, x: np.ndarray, device: Device, out: Path) -> None:
    target = HlsTarget()
    found = verify_artifact(target, target.lower(graph, device, out), graph, Data({graph.inputs[0]: x}))
    assert (found.fraction, found.worst) == (1.0, "")
    assert found.elements > 1000


def test_jet_tagging(models: Path, tmp_path: Path) -> None:
    """Its inputs are standardised, so normal ones stand for them."""
    _, device = resolve("pynq-z2")
    x = np.random.default_rng(0).standard_normal((1256, 16)).astype(np.float32)
    graph = integer_graph(models / "jet_mlp3_fp32.onnx", x[:256], device)
    assert_exact(graph, x[256:], device, tmp_path)


@pytest.mark.parametrize(
    ("name", "samples"), [("resnet8", 30), ("ds_cnn", 30), ("autoencoder", 300), ("wake_word", 15), ("mobilenet_v1", 2)]
)
def test_mlperf_tiny(name: str, samples: int, models: Path, tmp_path: Path) -> None:
    _, device = resolve("zcu104")
    task = load_task(name, models)
    x = next(iter(task.feeds(load(task.model)).values()))[:samples]
    assert_exact(integer_graph(task.model, task.calibration, device), x, device, tmp_path)
