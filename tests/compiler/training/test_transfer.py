"""Transfer learning: a new head on old features beats a fresh network on few samples; what is replaced and frozen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from training_nets import accuracy, perceptron, samples

torch = pytest.importorskip("torch")

from prunus.compiler.data import Data, load_data  # noqa: E402
from prunus.compiler.errors import UnsupportedError, UsageError  # noqa: E402
from prunus.compiler.executor import run_model  # noqa: E402
from prunus.compiler.model.edit import weight  # noqa: E402
from prunus.compiler.model.load import load, load_proto  # noqa: E402
from prunus.compiler.model.model import Model  # noqa: E402
from prunus.compiler.passes.properties import PROPERTIES  # noqa: E402
from prunus.compiler.training import Tuning, fine_tune  # noqa: E402
from prunus.compiler.training.initialise import initialised  # noqa: E402
from prunus.compiler.training.parameters import trainable  # noqa: E402
from prunus.compiler.training.transfer import transfer, weights_until, with_new_head  # noqa: E402

torch.set_num_threads(1)

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"
FEW = 30


def parity(data: Data) -> Data:
    """Another task: odd digits and even ones."""
    return Data(data.inputs, data.labels % 2)


def test_frozen_features_beat_a_fresh_network_on_few_samples() -> None:
    """A network that tells digits apart learns from 30 of them which are odd; the mean over two choices of these."""
    model = load(DIGITS / "cnn.onnx")
    train, test = (parity(load_data(DIGITS / f"{name}.npz", model)) for name in ("calibration", "digits"))
    head = [node for node in model.graph if node.op_type == "Gemm"][-1]
    until = head.inputs[0].producer().name
    found, fresh = [], []
    for seed in range(2):
        few = train.split(FEW, seed)[0]
        tuning = Tuning(epochs=25, batch=10, learning_rate=0.03, seed=seed)
        tuned = transfer(model, few, tuning, outputs=2, freeze_until=until)
        assert len(tuned.trained) == 2
        found.append(accuracy(tuned.model, test))
        blank = with_new_head(model, 2, seed)
        scratch = initialised(blank, trainable(blank), seed)
        fresh.append(accuracy(fine_tune(scratch, few, tuning).model, test))
        for name in weights_until(model, until):
            np.testing.assert_array_equal(*(weight(each.graph.initializers[name]) for each in (model, tuned.model)))
    assert np.mean(found) > np.mean(fresh) + 0.1
    assert np.mean(found) > 0.85


def ending(text: str, weights: dict[str, tuple[int, ...]]) -> Model:
    """A network x [N, 3, 8, 8] -> y with this body."""
    proto = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21]> net (float[N, 3, 8, 8] x) => (float[N, 5] y) {{ {text} }}'
    )
    rng = np.random.default_rng(0)
    for name, shape in weights.items():
        array = rng.standard_normal(shape) if len(shape) > 1 else rng.random(shape) + 0.5
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array.astype(np.float32), name))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, 5], np.int64), "s"))
    return load_proto(proto)


CLASSIFIERS = {
    "Gemm": ("f = Flatten(x) y = Gemm(f, w, b)", {"w": (192, 5), "b": (5,)}),
    "Gemm transposed": ("f = Flatten(x) y = Gemm<transB = 1>(f, w)", {"w": (5, 192)}),
    "MatMul, Add, Softmax": (
        "f = Flatten(x) m = MatMul(f, w) a = Add(b, m) y = Softmax(a)",
        {"w": (192, 5), "b": (1, 5)},
    ),
    "Conv, pooling, Reshape": (
        "c = Conv(x, w, b) r = Relu(c) p = GlobalAveragePool(r) y = Reshape(p, s)",
        {"w": (5, 3, 1, 1), "b": (5,)},
    ),
}


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize("outputs", [1, 3, 7])
def test_heads_are_replaced(name: str, outputs: int) -> None:
    model = ending(*CLASSIFIERS[name])
    fresh = with_new_head(model, outputs, seed=3)
    assert PROPERTIES["valid"](model, fresh) is None
    feeds = {model.graph.inputs[0].name: np.random.default_rng(0).standard_normal((4, 3, 8, 8)).astype(np.float32)}
    (found,) = run_model(fresh, feeds).values()
    assert found.shape == (4, outputs)
    assert found.std() > 0.01 or outputs == 1
    assert fresh.to_bytes() == with_new_head(model, outputs, seed=3).to_bytes()
    assert fresh.to_bytes() != with_new_head(model, outputs, seed=4).to_bytes()
    assert run_model(model, feeds)[model.graph.outputs[0].name].shape == (4, 5)  # the model given is as it was


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("f = Flatten(x) a = Gemm(f, w) b = Gemm(f, v) y = Add(a, b)", {"w": (192, 5), "v": (192, 5)}),
        ('f = Flatten(x) a = Gemm(f, w) y = Einsum<equation = "ij->ij">(a)', {"w": (192, 5)}),
        ("f = Flatten(x) y = Tanh(f)", {}),
        ("f = Flatten(x) a = Gemm(f, w) b = Gemm(a, v) y = Gemm(b, v)", {"w": (192, 5), "v": (5, 5)}),
    ],
)
def test_networks_without_a_head_are_refused(text: str, weights: dict[str, tuple[int, ...]]) -> None:
    with pytest.raises(UnsupportedError) as refusal:
        with_new_head(ending(text, weights), 3)
    assert refusal.value.code == "no-head"


def test_parts_are_frozen_by_pattern_and_by_node() -> None:
    model, data = perceptron(), samples(perceptron(1), 64, 1)
    for options in ({"freeze": ["fir*"]}, {"freeze": ["[ab]"]}, {"freeze_until": "first"}):
        tuned = transfer(model, data, Tuning(epochs=1), outputs=5, **options)
        kept = {model.original(name) for name in trainable(model)} - {model.original(name) for name in tuned.trained}
        assert kept >= {"a", "b"}
        assert len(tuned.trained) == 2
    for options in ({"freeze": ["mid*"]}, {"freeze_until": "middle"}):
        with pytest.raises(UsageError) as refusal:
            transfer(model, data, Tuning(epochs=1), outputs=5, **options)
        assert refusal.value.code == "unknown-freeze"


def test_frozen_batch_normalisation_keeps_its_statistics() -> None:
    text = """c = Conv(x, w) n = BatchNormalization<momentum = 0.5>(c, g, h, m, v) p = GlobalAveragePool(n)
        f = Flatten(p) y = Gemm(f, k)"""
    shapes = {"w": (4, 3, 3, 3), "g": (4,), "h": (4,), "m": (4,), "k": (4, 5)}
    proto = ending(text.replace(", m, v)", ", m, g)"), shapes).to_proto()
    model = load_proto(proto)
    node = next(each for each in model.graph if each.op_type == "BatchNormalization")
    x = np.random.default_rng(0).standard_normal((32, 3, 8, 8)).astype(np.float32)
    data = Data({model.graph.inputs[0].name: x}, np.arange(32) % 5)

    def mean(freeze: list[str]) -> np.ndarray:
        tuned = fine_tune(model, data, Tuning(epochs=1, learning_rate=1e-4), freeze=freeze)
        return weight(tuned.model.graph.initializers[node.inputs[3].name])

    before = weight(node.inputs[3])
    assert not np.array_equal(mean([]), before)
    np.testing.assert_array_equal(mean([node.name]), before)
