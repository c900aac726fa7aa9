"""Quantization-aware training: integer weights learn, stay on their grid, and are written back as integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

torch = pytest.importorskip("torch")

from prunus.compiler.data import Data, load_data  # noqa: E402
from prunus.compiler.executor import run_model  # noqa: E402
from prunus.compiler.integer.from_qdq import read_qdq  # noqa: E402
from prunus.compiler.integer.graph import Island  # noqa: E402
from prunus.compiler.model.edit import weight  # noqa: E402
from prunus.compiler.model.load import load, load_proto  # noqa: E402
from prunus.compiler.model.model import Model  # noqa: E402
from prunus.compiler.passes.base import Context, Options  # noqa: E402
from prunus.compiler.passes.properties import PROPERTIES  # noqa: E402
from prunus.compiler.pipeline import Pipeline  # noqa: E402
from prunus.compiler.target import Formats  # noqa: E402
from prunus.compiler.training import TorchGraph, Tuning, fine_tune  # noqa: E402
from prunus.compiler.training.codes import is_code  # noqa: E402

torch.set_num_threads(1)

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"
FORMATS = Formats(weight_bits=2)
PLAIN = Options(rounding="nearest", bias_correction=False)  # leaves training something to do


@pytest.fixture(scope="module")
def digits() -> tuple[Model, Model, Data, Data]:
    """(the network, the same with 2-bit weights, calibration data, test data)."""
    model = load(DIGITS / "cnn.onnx")
    train, test = (load_data(DIGITS / f"{name}.npz", model) for name in ("calibration", "digits"))
    context = Context(formats=FORMATS, options=PLAIN, calibration=train)
    return model, Pipeline.default().run(model, context).model, train, test


def accuracy(model: Model, data: Data) -> float:
    (output,) = run_model(model, data.inputs).values()
    return float((output.argmax(axis=1) == data.labels).mean())


def test_narrow_weights_learn_what_rounding_took(digits: tuple[Model, Model, Data, Data]) -> None:
    model, quantized, train, test = digits
    tuning = Tuning(epochs=10, learning_rate=0.03, loss="cross_entropy")
    tuned = fine_tune(quantized, Data(train.inputs), tuning, teacher=model)
    assert accuracy(tuned.model, test) > accuracy(quantized, test) + 0.005
    assert tuned.losses[-1] < 0.6 * tuned.losses[0]
    moved = 0
    for name in tuned.trained:
        before, after = (weight(each.graph.initializers[name]) for each in (quantized, tuned.model))
        assert before.dtype == after.dtype
        if before.dtype == np.int8:
            assert np.abs(after.astype(int)).max() <= 3
            moved += int((before != after).sum())
    assert moved > 10
    assert PROPERTIES["sparsity"](quantized, tuned.model) is None
    assert PROPERTIES["valid"](quantized, tuned.model) is None
    assert not any(isinstance(op, Island) for op in read_qdq(tuned.model, FORMATS).ops)


def test_a_quantized_graph_equals_onnxruntime_and_is_written_back_as_it_is(
    digits: tuple[Model, Model, Data, Data],
) -> None:
    _, quantized, _, test = digits
    graph = TorchGraph(quantized)
    data = test.first(64)
    found = graph({name: torch.from_numpy(array) for name, array in data.inputs.items()})
    for name, theirs in run_model(quantized, data.inputs).items():
        gaps = np.abs(found[name].detach().numpy() - theirs)
        assert np.mean(gaps > 1e-4) < 0.01  # a sum on the edge between two integers may fall either way
    assert graph.write_back(quantized).to_bytes() == quantized.to_bytes()


def test_shifted_and_computed_integers_are_no_weights() -> None:
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    net (float[batch, 2] x) => (float[batch, 2] y) <
      int8[2] plain = {1, -2}, int8[2] shifted = {1, -2}, int8 three = {3}, float s = {0.5}> {
      a = DequantizeLinear (plain, s)
      b = DequantizeLinear (shifted, s, three)
      c = Add (x, a)
      y = Mul (c, b)
    }
    """
    model = load_proto(onnx.parser.parse_model(text))
    found = [model.original(name) for name, value in sorted(model.graph.initializers.items()) if is_code(value)]
    assert found == ["plain"]


def test_gradients_reach_the_integers(digits: tuple[Model, Model, Data, Data]) -> None:
    """The gradient of a code is that of the real weight which it stands for."""
    _, quantized, _, test = digits
    graph = TorchGraph(quantized)
    loss = sum(
        value.square().sum()
        for value in graph({name: torch.from_numpy(array[:16]) for name, array in test.inputs.items()}).values()
    )
    loss.backward()
    codes = [name for name, value in quantized.graph.initializers.items() if is_code(value)]
    assert len(codes) == 14
    assert all(graph.parameters[name].grad.abs().sum() > 0 for name in codes)
