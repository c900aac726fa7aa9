"""Models that others quantized: QONNX and onnxruntime's QOperator format become QDQ, and mean the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from float_nets import FloatNet
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from real_tasks import load_task

from prunus.compiler.executor import run_model
from prunus.compiler.integer import ops
from prunus.compiler.integer.from_qdq import read_qdq
from prunus.compiler.model.load import load, load_proto
from prunus.compiler.model.model import Model
from prunus.compiler.passes.base import Context
from prunus.compiler.pipeline import Pipeline
from prunus.compiler.target import Formats

QONNX = "qonnx.custom_op.general"
Arrays = dict[str, np.ndarray]


def fake_quantize(x: Any, scale: Any, zero: Any, bits: Any, signed: int = 1, narrow: int = 0) -> np.ndarray:
    """QONNX's own definition, in float64."""
    low = -(2.0 ** (bits - 1)) + narrow if signed else 0.0
    high = 2.0 ** (bits - 1) - 1 if signed else 2.0**bits - 1 - narrow
    steps = np.clip(np.round(x / np.float64(scale) + zero), low, high)
    return ((steps - zero) * scale).astype(np.float32)


def _evaluator(domain: str) -> type[OpRun]:
    class Quant(OpRun):
        op_domain = domain

        def _run(self, x: Any, scale: Any, zero: Any, bits: Any, signed=1, narrow=0, rounding_mode="ROUND") -> tuple:
            return (fake_quantize(x, scale, zero, bits, signed, narrow),)

    return Quant


class BatchNormalization(OpRun):
    """onnx's own evaluator takes old versions of this operator to be training."""

    op_domain = ""

    def _run(self, x: Any, scale: Any, bias: Any, mean: Any, var: Any, epsilon=1e-5, **_: Any) -> tuple:
        wide = (-1, *[1] * (x.ndim - 2))
        scale, bias, mean, var = (each.reshape(wide) for each in (scale, bias, mean, var))
        return (((x - mean) / np.sqrt(var + epsilon) * scale + bias).astype(np.float32),)


def _by_definition(path: Path, x: np.ndarray) -> np.ndarray:
    """The file's output, every Quant evaluated with numpy."""
    proto = onnx.load(path)
    for domain in {node.domain for node in proto.graph.node} - {opset.domain for opset in proto.opset_import}:
        proto.opset_import.append(helper.make_opsetid(domain, 1))
    evaluators = [_evaluator(domain) for domain in (QONNX, "finn.custom_op.general", "onnx.brevitas")]
    name = next(value.name for value in proto.graph.input)
    evaluators.append(BatchNormalization)
    return ReferenceEvaluator(proto, new_ops=evaluators).run(None, {name: x})[0]


def _output(model: Model, x: np.ndarray) -> np.ndarray:
    return next(iter(run_model(model, {str(model.graph.inputs[0].name): x}, optimise=False).values()))


def _kinds(model: Model) -> set[str]:
    """Kinds of operators of the integer graph after the project's passes."""
    return {op.kind for op in read_qdq(Pipeline.default().run(model, Context()).model, Formats()).ops}


QONNX_FILES: dict[str, tuple[tuple[int, ...], Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]]] = {
    "jet_qkeras_6bit_qonnx.onnx": ((1, 16), lambda rng, shape: rng.normal(size=shape)),
    "mnist_tfc_2w2a_qonnx.onnx": ((1, 1, 28, 28), lambda rng, shape: rng.uniform(size=shape)),
    "sr_espcn_x2_qonnx.onnx": ((1, 3, 128, 128), lambda rng, shape: rng.uniform(size=shape)),
}


@pytest.mark.parametrize("name", QONNX_FILES)
def test_qonnx_files_mean_what_their_definition_says(models: Path, name: str) -> None:
    shape, draw = QONNX_FILES[name]
    rng = np.random.default_rng(0)
    model = load(models / name)
    assert {node.domain for node in model.graph} == {""}
    for _ in range(1 if "espcn" in name else 5):
        x = draw(rng, shape).astype(np.float32)
        expected, found = _by_definition(models / name, x), _output(model, x)
        # sums in another order reach another side of a rounding now and then
        assert np.quantile(np.abs(expected - found), 0.999) <= 1e-5 * np.abs(expected).max()
        assert np.abs(expected - found).max() <= 0.05 * np.abs(expected).max()
    assert _kinds(model) >= ({"conv", "resize"} if "espcn" in name else {"gemm"})


def test_batch_normalisation_goes_into_the_scales_of_integers(models: Path) -> None:
    """Every convolution of the super-resolution net becomes integer, though the file keeps its batch normalisations."""
    model = load(models / "sr_espcn_x2_qonnx.onnx")
    assert any(node.op_type == "BatchNormalization" for node in model.graph)
    assert _kinds(model) == {"quantize", "conv", "resize", "dequantize"}
    x = np.random.default_rng(1).uniform(size=(1, 3, 128, 128)).astype(np.float32)
    folded = Pipeline.default().run(model, Context()).model
    before, after = _output(model, x), _output(folded, x)
    assert np.mean(before != after) < 0.02 and np.abs(before - after).max() < 0.05


def _quant_net(weight: np.ndarray, **attributes: Any) -> onnx.ModelProto:
    """x -> Quant -> MatMul by quantized weights of QONNX, opset 9."""
    arrays = {"w": weight, "s": np.float32(0.25), "ws": np.float32(0.125), "z": np.float32(0), "b": np.float32(4)}
    nodes = [
        helper.make_node("Quant", ["x", "s", "z", "b"], ["q"], "activation", domain=QONNX, **attributes),
        helper.make_node("Quant", ["w", "ws", "z", "b"], ["v"], "weight", domain=QONNX, narrow=1),
        helper.make_node("MatMul", ["q", "v"], ["y"], "product"),
    ]
    return _proto(nodes, arrays, weight.shape[0], 9)


def _proto(nodes: list[onnx.NodeProto], arrays: dict[str, Any], inputs: int, opset: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", inputs])],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize("attributes", [{"signed": 1}, {"signed": 0}, {"signed": 1, "narrow": 1}])
def test_quantizers_round_half_to_even_and_clip(attributes: dict[str, int]) -> None:
    weight = np.random.default_rng(0).normal(size=(64, 3)).astype(np.float32)
    model = load_proto(_quant_net(weight, **attributes))
    x = (np.arange(128, dtype=np.float32).reshape(2, 64) - 64) / 8  # every other one is a tie
    expected = fake_quantize(x, 0.25, 0, 4, **attributes) @ fake_quantize(weight, 0.125, 0, 4, 1, 1)
    assert np.array_equal(_output(model, x), expected)
    codes = [value.const_value.numpy() for value in model.graph.initializers.values() if value.const_value is not None]
    assert [array.dtype for array in codes if array.shape == (64, 3)] == [np.int8]


def test_bipolar_weights_are_plus_and_minus_one() -> None:
    weight = np.array([[0.3, -0.2], [0.0, -0.0]], np.float32)
    nodes = [
        helper.make_node("BipolarQuant", ["w", "s"], ["v"], domain=QONNX),
        helper.make_node("MatMul", ["x", "v"], ["y"]),
    ]
    model = load_proto(_proto(nodes, {"w": weight, "s": np.float32(0.5)}, 2, 13))
    assert np.array_equal(_output(model, np.eye(2, dtype=np.float32)), [[0.5, -0.5], [0.5, 0.5]])


class _Samples(CalibrationDataReader):
    def __init__(self, name: str, x: np.ndarray) -> None:
        self._feeds = iter([{name: sample[None]} for sample in x])

    def get_next(self) -> Arrays | None:
        return next(self._feeds, None)


def _qoperator(path: Path, out: Path, name: str, x: np.ndarray, per_channel: bool) -> onnx.ModelProto:
    quantize_static(
        str(path),
        str(out),
        _Samples(name, x),
        quant_format=QuantFormat.QOperator,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=per_channel,
    )
    return onnx.load(out)


def _branchy_net() -> FloatNet:
    net = FloatNet((3, 8, 8), seed=3)
    x = net.relu(net.conv(net.input, 8))
    left, right = net.op("Sigmoid", net.conv(x, 8)), net.op("LeakyRelu", net.conv(x, 8, group=8), alpha=0.1)
    x = net.op("Mul", net.op("Add", left, right), x)
    x = net.op("Concat", x, net.conv(x, 4, 1), axis=1, channels=12)
    x = net.op("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.flat(net.op("GlobalAveragePool", x))
    net.channels[x] = 12
    net.output = net.op("Softmax", net.gemm(x, 12, 5), axis=1)  # type: ignore[attr-defined]
    return net


@pytest.mark.parametrize("per_channel", [False, True])
def test_qoperator_models_are_read(tmp_path: Path, per_channel: bool) -> None:
    net = _branchy_net()
    path = tmp_path / "float.onnx"
    onnx.save(net.model(net.output).to_proto(), path)  # type: ignore[attr-defined]
    x = net.data(32).inputs[net.input]
    proto = _qoperator(path, tmp_path / "q.onnx", net.input, x, per_channel)
    types = {node.op_type for node in proto.graph.node}
    assert types >= {"QLinearConv", "QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearConcat", "QGemm"}
    model = load_proto(proto)
    assert not any(node.op_type.startswith(("QLinear", "QGemm")) for node in model.graph)
    expected = ort.InferenceSession(proto.SerializeToString()).run(None, {net.input: x})[0]
    folded = Pipeline.default().run(model, Context()).model
    for found in (_output(model, x), _output(folded, x)):
        assert np.abs(found - expected).max() <= 2 / 256  # its Softmax has steps of 1/256
    graph = read_qdq(folded, Formats())
    assert {op.kind for op in graph.ops} >= {"conv", "depthwise", "add", "mul", "concat", "gemm"}
    integer = ops.run(graph, {graph.inputs[0]: x})[graph.outputs[0]]
    assert np.abs(integer - expected).max() <= 3 / 256


def test_a_trained_qoperator_model_decides_alike(models: Path, tmp_path: Path) -> None:
    task = load_task("resnet8", models)
    name = onnx.load(task.model).graph.input[0].name
    proto = _qoperator(task.model, tmp_path / "q.onnx", name, task.calibration[:64], True)
    expected = ort.InferenceSession(proto.SerializeToString()).run(None, {name: task.x})[0]
    graph = read_qdq(Pipeline.default().run(load_proto(proto), Context()).model, Formats())
    assert [op.kind for op in graph.ops].count("conv") == 9
    found = ops.run(graph, {graph.inputs[0]: task.x})[graph.outputs[0]]
    assert np.mean(found.argmax(axis=1) == expected.argmax(axis=1)) >= 0.99
    assert np.abs(found - expected).max() < 0.1


def test_a_wrong_scale_would_be_noticed(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prunus.compiler.model.loading.qonnx import FakeQuantizer

    good = FakeQuantizer.integers
    monkeypatch.setattr(FakeQuantizer, "integers", lambda self, x: -good(self, x))
    with pytest.raises(AssertionError):
        test_qonnx_files_mean_what_their_definition_says(models, "jet_qkeras_6bit_qonnx.onnx")
