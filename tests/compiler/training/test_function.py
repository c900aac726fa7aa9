"""Whole graphs as torch functions: equal to onnxruntime, differentiable, written back into the same initializers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from light import LIGHT_NAMES, SMALL_LIGHT_NAMES, random_light_model

torch = pytest.importorskip("torch")

from prunus.compiler import training  # noqa: E402
from prunus.compiler.data import load_data  # noqa: E402
from prunus.compiler.errors import ToolError, UsageError  # noqa: E402
from prunus.compiler.executor import run_model  # noqa: E402
from prunus.compiler.model.edit import weight  # noqa: E402
from prunus.compiler.model.load import load, load_proto  # noqa: E402
from prunus.compiler.model.model import Model  # noqa: E402
from prunus.compiler.training import TorchGraph  # noqa: E402
from prunus.compiler.training.parameters import trainable  # noqa: E402

torch.set_num_threads(1)

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"
QUICK = ("squeezenet", "shufflenet")
LIGHT = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in LIGHT_NAMES]


def with_batch_norm() -> Model:
    """Conv, BatchNormalization, Relu, global pooling, Gemm; a symbolic batch."""
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    net (float[batch, 2, 5, 5] x) => (float[batch, 3] y) <
      float[4, 2, 3, 3] w, float[4] scale, float[4] bias, float[4] mean, float[4] variance, float[3, 4] head,
      float[3] offset> {
      c = Conv (x, w)
      n = BatchNormalization <momentum: float = 0.8> (c, scale, bias, mean, variance)
      r = Relu (n)
      p = GlobalAveragePool (r)
      f = Flatten (p)
      y = Gemm <transB: int = 1> (f, head, offset)
    }
    """
    proto = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    shapes = {"w": (4, 2, 3, 3), "scale": 4, "bias": 4, "mean": 4, "variance": 4, "head": (3, 4), "offset": 3}
    del proto.graph.initializer[:], proto.graph.value_info[:]
    for name, shape in shapes.items():
        data = rng.uniform(0.5, 1.5, shape) if name in ("scale", "variance") else rng.normal(size=shape)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(data.astype(np.float32), name))
    return load_proto(proto)


@pytest.mark.parametrize("name", ["cnn", "mlp"])
def test_the_examples_equal_onnxruntime(name: str) -> None:
    model = load(DIGITS / f"{name}.onnx")
    data = load_data(DIGITS / ("digits.npz" if name == "cnn" else "digits_flat.npz"), model).first(32)
    graph = TorchGraph(model)
    found = graph({key: torch.from_numpy(array) for key, array in data.inputs.items()})
    for key, theirs in run_model(model, data.inputs).items():
        np.testing.assert_allclose(found[key].detach().numpy(), theirs, rtol=1e-4, atol=1e-4)
    sum(value.sum() for value in found.values()).backward()
    for key in trainable(model):
        assert graph.parameters[key].grad is not None
        assert graph.parameters[key].grad.abs().sum() > 0


@pytest.mark.parametrize("name", LIGHT)
def test_light_models_differentiate(name: str) -> None:
    """Values equal onnxruntime's; along the gradient the loss rises as steeply as the gradient says."""
    model = load_proto(random_light_model(name))
    x = np.random.default_rng(1).standard_normal((1, 3, 224, 224)).astype(np.float32)
    key, (output,) = model.graph.inputs[0].name, model.graph.outputs
    (theirs,) = run_model(model, {key: x}).values()
    graph = TorchGraph(model)
    ours = graph({key: torch.from_numpy(x)})[output.name]
    np.testing.assert_allclose(ours.detach().numpy(), theirs, rtol=1e-3, atol=1e-4)

    precise = name in SMALL_LIGHT_NAMES  # the others would take gigabytes in float64
    graph = TorchGraph(model, real=torch.float64) if precise else graph
    feed = {key: torch.from_numpy(x).to(graph.real)}
    weights = [graph.parameters[each] for each in trainable(model)]
    target = torch.from_numpy(np.random.default_rng(2).standard_normal(theirs.shape)).to(graph.real)

    def loss() -> torch.Tensor:
        return (graph(feed)[output.name] * target).sum()

    gradients = torch.autograd.grad(loss(), weights)
    assert all(torch.isfinite(each).all() for each in gradients)
    assert sum(bool((each != 0).any()) for each in gradients) >= 0.99 * len(gradients)
    if not precise:
        return
    length = torch.sqrt(sum((each**2).sum() for each in gradients))
    step = 1e-5 / length  # no farther: the loss has a kink for every Relu
    with torch.no_grad():
        found = []
        for sign in (1, -2):
            for value, gradient in zip(weights, gradients, strict=True):
                value.add_(gradient / length, alpha=float(sign * step))
            found.append(loss())
    assert float((found[0] - found[1]) / (2 * step)) == pytest.approx(float(length), rel=1e-3)


REAL = (
    "face_ultraface_rfb320", "jet_mlp3", "mlperf_ad_autoencoder", "mlperf_ic_resnet8", "mlperf_kws_dscnn",
    "mlperf_sww_1dconv", "mlperf_vww_mobilenetv1_025_96", "sr_espcn_x2",
)  # fmt: skip


@pytest.mark.parametrize("name", REAL)
def test_real_models_differentiate(name: str, models: Path) -> None:
    files = sorted(models.rglob(f"{name}_fp32.onnx"))
    if not files:
        pytest.skip(f"{name} is not there")
    model = load(files[0])
    rng = np.random.default_rng(0)
    feeds = {
        value.name: rng.normal(size=[dim if isinstance(dim, int) else 2 for dim in value.shape]).astype(np.float32)
        for value in model.graph.inputs
    }
    graph = TorchGraph(model)
    found = graph({key: torch.from_numpy(array) for key, array in feeds.items()})
    for key, theirs in run_model(model, feeds).items():
        scale = np.abs(theirs).max()
        np.testing.assert_allclose(found[key].detach().numpy(), theirs, rtol=0, atol=1e-5 * scale + 1e-12)
    sum(value.square().sum() for value in found.values()).backward()
    assert all(graph.parameters[each].grad is not None for each in trainable(model))


def test_write_back_changes_the_weights_alone() -> None:
    model = with_batch_norm()
    graph = TorchGraph(model)
    assert graph.write_back(model).to_bytes() == model.to_bytes()
    name = next(name for name in graph.parameters if graph.parameters[name].ndim == 4)
    with torch.no_grad():
        graph.parameters[name].add_(1)
    changed = graph.write_back(model)
    assert np.array_equal(weight(changed.graph.initializers[name]), weight(model.graph.initializers[name]) + 1)
    x = np.ones((2, 2, 5, 5), np.float32)
    key = model.graph.inputs[0].name
    ours = next(iter(graph({key: torch.from_numpy(x)}).values())).detach().numpy()
    np.testing.assert_allclose(ours, next(iter(run_model(changed, {key: x}).values())), rtol=1e-5, atol=1e-5)


def test_learning_tracks_the_statistics_of_the_batch() -> None:
    model = with_batch_norm()
    graph = TorchGraph(model)
    statistics = {name: value.clone() for name, value in graph.constants.items() if value.is_floating_point()}
    assert len(statistics) == 2
    feed = {model.graph.inputs[0].name: torch.randn(8, 2, 5, 5, generator=torch.Generator().manual_seed(0))}
    graph(feed)
    assert all(torch.equal(graph.constants[name], value) for name, value in statistics.items())
    node = next(node for node in model.graph if node.op_type == "BatchNormalization")
    before, mean = graph(feed, fetch=[node.inputs[0].name])[node.inputs[0].name], node.inputs[3].name
    graph(feed, learning=True)
    expected = 0.8 * statistics[mean] + 0.2 * before.mean(dim=(0, 2, 3))
    assert torch.allclose(graph.constants[mean], expected.detach(), atol=1e-6)


def test_settings_and_single_numbers_are_not_trained() -> None:
    proto = onnx.parser.parse_model("""
    <ir_version: 10, opset_import: ["" : 21]>
    net (float[2, 3] x) => (float[2, 3] y) <float low = {0.0}, float high = {6.0}, float half = {0.5},
                                            float[3] gain = {1.0, 2.0, 3.0}> {
      c = Clip (x, low, high)
      h = Mul (c, half)
      y = Mul (h, gain)
    }
    """)
    model = load_proto(proto)
    assert [model.original(name) for name in trainable(model)] == ["gain"]
    assert trainable(model, freeze=["gain"]) == ()
    with pytest.raises(UsageError) as refusal:
        trainable(model, freeze=["no such thing"])
    assert refusal.value.code == "unknown-freeze"


def test_a_missing_input_is_named() -> None:
    with pytest.raises(UsageError) as refusal:
        TorchGraph(with_batch_norm())({})
    assert refusal.value.code == "missing-input"


def test_without_torch_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ToolError) as refusal:
        training.__getattr__("fine_tune")
    assert refusal.value.code == "missing-extra"
    assert "prunus[train]" in str(refusal.value)
