"""Trained networks inside an InferenceSession equal the integer reference, every tensor of them."""

from __future__ import annotations

from pathlib import Path

import integer_models
import numpy as np
import onnxruntime as ort
import pytest
import real_tasks

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops
from prunus.compiler.integer.from_qdq import read_qdq
from prunus.compiler.model.save import save
from prunus.compiler.target import Device
from prunus.targets.native import split
from prunus.targets.ort import OrtTarget
from prunus.targets.ort.model import build_model
from prunus.targets.ort.session import open_session, session_options

SAMPLES = 6
FAST = ("resnet8", "ds_cnn", "wake_word", "digits_mlp", "digits_cnn", "jet")
EVERY = [pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in integer_models.NAMES]


@pytest.mark.parametrize("name", EVERY)
def test_real_networks_are_exact(name: str, models: Path, device: Device) -> None:
    graph, feeds = integer_models.integer_model(name, models, OrtTarget().formats(device))
    expected = ops.run(graph, feeds, keep=True)
    proto = build_model(graph, trace=True).SerializeToString()
    session = ort.InferenceSession(proto, session_options(2), providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    assert set(graph.integer_tensors()) <= set(names)
    for tensor, found in zip(names, session.run(names, dict(feeds)), strict=True):
        np.testing.assert_array_equal(found, expected[tensor], err_msg=tensor)


@pytest.mark.parametrize("name", ["resnet8", "ds_cnn"])
def test_a_qdq_file_opens_directly(name: str, models: Path, device: Device, tmp_path: Path) -> None:
    formats = OrtTarget().formats(device)
    model, data = real_tasks.quantized(name, models, formats)
    graph = read_qdq(model, formats)
    assert [type(part) for part in split(graph)] == [ir.Graph, ir.Island]
    feeds = data.first(SAMPLES).inputs
    save(model, tmp_path / "qdq.onnx")
    direct = open_session(tmp_path / "qdq.onnx")
    (x,) = feeds.values()
    found = [direct.run(None, {direct.get_inputs()[0].name: sample[None]})[0] for sample in x]
    np.testing.assert_array_equal(np.concatenate(found), ops.run(graph, feeds)[graph.outputs[0]])
