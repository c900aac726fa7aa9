"""The quantization pass: its dialect, its fidelity, its refusals; and that a fault in any of them is noticed."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from dialect import qtype, violations
from float_nets import FloatNet, residual_net
from light import SMALL_LIGHT_NAMES, random_light_model

from prunus.compiler.data import Data
from prunus.compiler.errors import UsageError
from prunus.compiler.executor import run_model
from prunus.compiler.integer import ops
from prunus.compiler.integer.from_qdq import read_qdq
from prunus.compiler.integer.graph import Island
from prunus.compiler.model.edit import set_weight, weight
from prunus.compiler.model.load import load_proto
from prunus.compiler.model.model import Model
from prunus.compiler.passes import PASSES
from prunus.compiler.passes.affine_layers import affine_to_depthwise
from prunus.compiler.passes.base import Context, Options, PassResult
from prunus.compiler.passes.properties import PROPERTIES
from prunus.compiler.passes.quantize import Quantize
from prunus.compiler.target import Formats
from prunus.compiler.verify import logits_name

FORMATS = {
    "u8": Formats(),
    "s8": Formats(activation="s8", unsigned_after_relu=False),
    "s8-zero": Formats(activation="s8", zero_point="zero"),
    "per-tensor": Formats(per_channel=False),
    "fixed": Formats(scheme="fixed", requant_bits=18),
    "pow2": Formats(scheme="pow2", activation="s8"),
    "pow2-per-tensor": Formats(scheme="pow2", activation="s8", per_channel=False),
    "6-bit": Formats(activation_bits=6, weight_bits=5),
    "pow2-4-bit": Formats(scheme="pow2", activation="s8", activation_bits=4, weight_bits=4),
}


def quantize(model: Model, data: Data | None, formats: Formats | None = None, **options: object) -> PassResult:
    context = Context(formats or Formats(), Options(**options), data)  # type: ignore[arg-type]
    return Quantize().run(model, context)


def sqnr_db(reference: np.ndarray, found: np.ndarray) -> float:
    """Signal to quantization noise; 300 dB where nothing differs."""
    noise = float(((reference - found) ** 2).sum())
    return 300.0 if noise == 0 else 10 * np.log10(float((reference**2).sum()) / noise)


def branchy_net() -> FloatNet:
    """Depthwise, Concat, a gate by Mul, unary functions, Resize, Pad, AveragePool, MatMul + Add: all at once."""
    net = FloatNet((3, 8, 8), seed=5)
    stem = net.op("HardSwish", net.conv(net.input, 6))
    deep = net.op("Clip", net.conv(stem, 6, group=6), net.constant(0.0), net.constant(6.0))
    gate = net.op("Sigmoid", net.conv(net.op("GlobalAveragePool", deep), 6, 1))
    gated = net.op("Mul", deep, gate)
    pooled = net.op("AveragePool", gated, kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4, dilations=[1, 1])
    large = net.op("Resize", pooled, "", net.constant([1, 1, 2, 2]), mode="nearest")
    joined = net.op("Concat", large, net.relu(net.conv(stem, 2)), axis=1, channels=8)
    padded = net.op("Pad", joined, net.constant([0, 0, 1, 0, 0, 0, 0, 1], np.int64), mode="constant")
    thin = net.op("LeakyRelu", net.conv(padded, 4, 1), alpha=0.2)
    flat = net.flat(net.op("MaxPool", thin, kernel_shape=[3, 3], strides=[3, 3]))
    product = net.op("MatMul", flat, net.constant(net.rng.normal(size=(36, 5)) / 6))
    net.logits = net.op("Add", product, net.constant(net.rng.normal(size=5)))  # type: ignore[attr-defined]
    net.output = net.logits  # type: ignore[attr-defined]
    return net


@pytest.mark.parametrize("formats", FORMATS.values(), ids=FORMATS.keys())
@pytest.mark.parametrize("build", [residual_net, branchy_net])
def test_result_keeps_to_the_dialect_and_close_to_the_float_model(build: object, formats: Formats) -> None:
    net: FloatNet = build()  # type: ignore[operator]
    model = net.model(net.output)  # type: ignore[attr-defined]
    result = quantize(model, net.data(64), formats)
    assert result.changed and result.model.form == "quantized"
    assert violations(result.model) == []
    assert PROPERTIES["valid"](model, result.model) is None
    assert PROPERTIES["interface"](model, result.model) is None
    x = net.data(64, seed=9).inputs
    before, after = (next(iter(run_model(each, x).values())) for each in (model, result.model))
    least = {8: 24.0, 6: 12.0, 4: 4.0}[formats.activation_bits] - (6.0 if formats.scheme == "pow2" else 0.0)
    assert sqnr_db(before, after) > least


@pytest.mark.parametrize("name", ["u8", "s8-zero", "pow2", "6-bit"])
@pytest.mark.parametrize("build", [residual_net, branchy_net])
def test_the_integer_graph_computes_the_same(build: object, name: str) -> None:
    net: FloatNet = build()  # type: ignore[operator]
    result = quantize(net.model(net.output), net.data(64), FORMATS[name])  # type: ignore[attr-defined]
    graph = read_qdq(result.model, FORMATS[name])
    assert {op.kind for op in graph.ops} & {"conv", "gemm"}
    x = net.data(16, seed=9).inputs
    integers = [
        str(node.outputs[0].name)
        for node in result.model.graph
        if node.op_type == "QuantizeLinear" and str(node.outputs[0].name) in graph.tensors
    ]
    expected = ops.run(graph, x, keep=True)
    witness = run_model(result.model, x, integers, optimise=False)
    worst = max(int(np.abs(expected[t].astype(int) - witness[t]).max()) for t in integers)
    equal = np.mean([(expected[t] == witness[t]).mean() for t in integers])
    assert equal > 0.99
    assert worst <= 3


def test_every_fault_in_the_dialect_is_noticed() -> None:
    net = residual_net()
    good = quantize(net.model(net.output), net.data()).model
    assert violations(good) == []
    constants = [node for node in good.graph if weight(node.inputs[0]) is not None]
    bias = next(node for node in constants if weight(node.inputs[0]).dtype == np.int32)  # type: ignore[union-attr]
    real = next(node for node in constants if weight(node.inputs[0]).dtype == np.int8)  # type: ignore[union-attr]
    pool = next(node for node in good.graph if node.op_type == "MaxPool")
    after = next(user for user, _ in pool.outputs[0].uses())
    for value, change in (
        (bias.inputs[1], lambda array: array * np.float32(1.0001)),
        (real.inputs[2], lambda array: array + 1),
        (real.inputs[0], lambda array: np.full_like(array, -128)),
        (after.inputs[1], lambda array: array * np.float32(2)),
        (bias.inputs[0], lambda array: np.full_like(array, 2**31 - 1)),
    ):
        assert value is not None
        original = weight(value)
        assert original is not None
        set_weight(value, change(original))
        assert violations(good) != []
        set_weight(value, original)
    assert violations(good) == []


def test_same_input_gives_the_same_bytes() -> None:
    net = branchy_net()
    first, second = (
        quantize(net.model(net.output), net.data(), ranges=method).model.to_bytes()  # type: ignore[attr-defined]
        for method in ("mse", "mse")
    )
    assert first == second
    other = quantize(net.model(net.output), net.data(), ranges="minmax").model.to_bytes()  # type: ignore[attr-defined]
    assert first != other


def test_the_given_model_stays_as_it_was() -> None:
    net = residual_net()
    model = net.model(net.output)
    before = model.to_bytes()
    quantize(model, net.data())
    assert model.to_bytes() == before


def test_pow2_has_no_zero_points_and_only_powers_of_two() -> None:
    net = branchy_net()
    result = quantize(net.model(net.output), net.data(), FORMATS["pow2"])  # type: ignore[attr-defined]
    for node in result.model.graph:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            scale = weight(node.inputs[1])
            assert scale is not None and (np.frexp(scale)[0] == 0.5).all()
        if node.op_type == "QuantizeLinear":
            assert qtype(node).zero_point == 0


def test_narrow_activations_take_few_values() -> None:
    net = residual_net()
    result = quantize(net.model(net.output), net.data(), FORMATS["6-bit"])
    names = [str(node.outputs[0].name) for node in result.model.graph if node.op_type == "QuantizeLinear"]
    values = run_model(result.model, {net.input: net.data(16).inputs[net.input] * 5}, names)
    assert max(array.max() for array in values.values()) == 63
    graph = read_qdq(result.model, FORMATS["6-bit"])
    assert {graph.quant(name).bits for name in graph.integer_tensors()} == {6}


def test_a_clip_bound_becomes_the_end_of_the_range() -> None:
    net = FloatNet((3, 8, 8))
    clipped = net.op("Clip", net.conv(net.input, 4, scale=20.0), net.constant(0.0), net.constant(6.0))
    result = quantize(net.model(net.conv(clipped, 2)), net.data())
    scales = [qtype(node).scale for node in result.model.graph if node.op_type == "QuantizeLinear"]
    assert any(scale == pytest.approx(6 / 255, rel=1e-6) for scale in scales)


@pytest.mark.parametrize(("name", "zero_point"), [("u8", 0), ("s8", -128), ("pow2", -128)])
def test_image_preprocessing_moves_into_the_first_quantizer(name: str, zero_point: int) -> None:
    net = FloatNet((3, 8, 8), dtype=onnx.TensorProto.UINT8)
    x = net.op("Cast", net.input, to=onnx.TensorProto.FLOAT)
    x = net.op("Mul", net.op("Sub", x, net.constant(128.0)), net.constant(1 / 128))
    net.channels[x] = 3
    model = net.model(net.relu(net.conv(x, 4)))
    result = quantize(model, net.data(), FORMATS[name])
    assert violations(result.model) == []
    assert [node.op_type for node in result.model.graph][:3] == ["Cast", "QuantizeLinear", "DequantizeLinear"]
    assert not any(node.op_type in ("Sub", "Mul") for node in result.model.graph)
    assert {note.code for note in result.notes} == {"quantized"}
    first = next(node for node in result.model.graph if node.op_type == "QuantizeLinear")
    assert (qtype(first).scale, qtype(first).zero_point) == (1.0, zero_point)
    x_test = net.data(8, seed=3).inputs
    before, after = (next(iter(run_model(each, x_test).values())) for each in (model, result.model))
    assert sqnr_db(before, after) > 35
    graph = read_qdq(result.model, FORMATS[name])
    assert [op.kind for op in graph.ops] == ["quantize", "conv", "dequantize"]
    assert (
        np.abs(next(iter(ops.run(graph, x_test).values())) - after).max()
        <= 1.001 * graph.quant(graph.ops[1].output).scale
    )


def test_preprocessing_that_cannot_be_exact_stays_and_says_so() -> None:
    net = FloatNet((3, 8, 8))
    x = net.op("Add", net.op("Mul", net.input, net.constant(0.7)), net.constant(0.123))
    net.channels[x] = 3
    result = quantize(net.model(net.conv(x, 4)), net.data(), FORMATS["pow2"])
    assert "preprocessing-float" in {note.code for note in result.notes}
    assert [node.op_type for node in result.model.graph][:2] == ["Mul", "Add"]
    assert violations(result.model) == []


def test_inner_softmax_has_the_integer_softmax_scale() -> None:
    net = FloatNet((4, 6, 6))
    model = net.model(net.conv(net.op("Softmax", net.conv(net.input, 4), axis=1), 2))
    result = quantize(model, net.data(), Formats(softmax="integer"))
    softmax = next(node for node in result.model.graph if node.op_type == "Softmax")
    quantizer = next(user for user, _ in softmax.outputs[0].uses())
    assert (qtype(quantizer).scale, qtype(quantizer).zero_point) == (1 / 256, 0)


def test_a_value_that_is_both_output_and_inner_tensor() -> None:
    net = FloatNet((3, 8, 8))
    inner = net.relu(net.conv(net.input, 4))
    model = net.model(inner, net.conv(inner, 2))
    result = quantize(model, net.data())
    assert violations(result.model) == []
    assert PROPERTIES["interface"](model, result.model) is None
    x = net.data(8).inputs
    before, after = run_model(model, x), run_model(result.model, x)
    assert all(sqnr_db(before[name], after[name]) > 30 for name in before)


def test_a_weight_shared_by_two_layers_is_quantized_for_each() -> None:
    net = FloatNet((4, 6, 6))
    w = net.constant(net.rng.normal(size=(4, 4, 1, 1)))
    x = net.relu(net.op("Conv", net.input, w, kernel_shape=[1, 1]))
    model = net.model(net.op("Conv", x, w, kernel_shape=[1, 1]))
    result = quantize(model, net.data())
    assert violations(result.model) == []
    assert w not in result.model.graph.initializers


def dense_net() -> FloatNet:
    """Batch normalisation, and scales and shifts written out, behind a Concat: nothing can absorb them."""
    net = FloatNet((3, 8, 8), seed=3)
    x = net.op("Concat", net.relu(net.conv(net.input, 4)), net.input, axis=1, channels=7)
    statistics = [net.constant(net.rng.uniform(0.5, 1.5, 7)) for _ in range(4)]
    x = net.relu(net.op("BatchNormalization", x, *statistics, epsilon=1e-3))
    x = net.op("Mul", net.op("MaxPool", x, kernel_shape=[2, 2]), net.constant(net.rng.uniform(0.5, 1.5, (7, 1, 1))))
    x = net.op("Add", x, net.constant(net.rng.normal(size=(1, 7, 1, 1))))
    net.output = net.op("GlobalAveragePool", net.relu(net.conv(x, 4)))  # type: ignore[attr-defined]
    return net


def test_leftover_scales_and_shifts_become_layers() -> None:
    net = dense_net()
    model = net.model(net.output)  # type: ignore[attr-defined]
    layered = model.clone()
    heads = affine_to_depthwise(layered.graph)
    assert len(heads) == 2
    x = net.data(16, seed=4).inputs
    before, after = (next(iter(run_model(each, x).values())) for each in (model, layered))
    assert np.abs(before - after).max() < 1e-5
    result = quantize(model, net.data(64))
    assert violations(result.model) == []
    assert [note.where for note in result.notes if note.code == "affine-layer"] == heads
    assert {note.code for note in result.notes} == {"affine-layer", "quantized"}
    after = next(iter(run_model(result.model, x).values()))
    assert sqnr_db(before, after) > 30
    graph = read_qdq(result.model, Formats())
    assert sum(op.kind == "depthwise" for op in graph.ops) == 2
    assert not any(op.kind == "island" for op in graph.ops)


def test_scalars_are_no_layers() -> None:
    net = FloatNet((3, 8, 8))
    model = net.model(net.conv(net.op("Mul", net.conv(net.input, 3), net.constant(0.5)), 2))
    assert affine_to_depthwise(model.graph) == []


def test_gemm_factors_go_into_the_weights() -> None:
    net = FloatNet((12,))
    model = net.model(net.gemm(net.input, 12, 4, alpha=0.5, beta=2.0, transB=0))
    result = quantize(model, net.data(64))
    x = net.data(16, seed=4).inputs
    before, after = (next(iter(run_model(each, x).values())) for each in (model, result.model))
    assert sqnr_db(before, after) > 30
    assert violations(result.model) == []


def test_dead_tensors_and_channels() -> None:
    net = FloatNet((3, 8, 8))
    x = net.relu(net.conv(net.input, 4, scale=[1.0, 0.0, 1e-30, 1e-8]))
    y = net.op("Mul", x, net.constant(0.0))
    result = quantize(net.model(net.op("Add", net.conv(x, 4), net.conv(y, 4))), net.data())
    assert violations(result.model) == []
    outputs = run_model(result.model, net.data(8).inputs)
    assert all(np.isfinite(array).all() for array in outputs.values())


@pytest.mark.parametrize("method", ["minmax", "extrapolated", "percentile", "mse", "auto"])
def test_every_calibration_method_gives_a_close_model(method: str) -> None:
    net = residual_net()
    model = net.model(net.logits)
    result = quantize(model, net.data(64), ranges=method)
    x = net.data(32, seed=6).inputs
    before, after = (next(iter(run_model(each, x).values())) for each in (model, result.model))
    assert sqnr_db(before, after) > 24
    clipped = {note.where for note in result.notes if note.code == "range-clipped"}
    assert bool(clipped) == (method in ("percentile", "mse"))


def test_notes_name_every_layer_and_every_refusal() -> None:
    net = residual_net()
    model = net.model(net.output)
    notes = quantize(model, net.data()).notes
    layers = [note for note in notes if note.code == "quantized"]
    assert len(layers) == 4 and all("8-bit weights per channel" in note.text for note in layers)
    assert {note.where for note in notes} <= {str(n.name) for n in model.graph} | {
        str(v.name) for n in model.graph for v in n.outputs
    }
    assert [note.code for note in notes if note not in layers] == ["softmax-terminal"]


def test_data_are_needed_unless_random_ones_are_asked_for() -> None:
    net = residual_net()
    model = net.model(net.output)
    with pytest.raises(UsageError) as caught:
        quantize(model, None)
    assert caught.value.code == "needs-data" and caught.value.hint
    result = quantize(model, None, random_calibration=True)
    assert violations(result.model) == []
    assert result.notes[0].code == "random-calibration"
    again = quantize(model, None, random_calibration=True)
    assert result.model.to_bytes() == again.model.to_bytes()


def test_unknown_methods_and_widths_are_refused() -> None:
    net = residual_net()
    model = net.model(net.output)
    with pytest.raises(UsageError) as caught:
        quantize(model, net.data(), ranges="guess")
    assert caught.value.code == "calibration-unknown"
    with pytest.raises(UsageError) as caught:
        quantize(model, net.data(), Formats(weight_bits=1))
    assert caught.value.code == "bits-unsupported"


def test_nothing_to_do_returns_the_very_same_model() -> None:
    net = residual_net()
    model = net.model(net.output)
    assert quantize(model, net.data(), quantize=False).model is model
    quantized = quantize(model, net.data()).model
    again = quantize(quantized, net.data())
    assert again.model is quantized and [note.code for note in again.notes] == ["already-quantized"]
    net = FloatNet((4, 6, 6))
    island = net.model(net.op("LRN", net.input, size=3))
    result = quantize(island, net.data())
    assert result.model is island and not result.changed
    assert [note.code for note in result.notes] == ["nothing-to-quantize", "no-integer-form"]


def test_sequences_with_attention_and_normalisation() -> None:
    """[batch, time, features]: fully connected layers over the last dimension are integer, the rest float islands."""
    net = FloatNet((6, 8), seed=11)

    def dense(x: str, inside: int, out: int) -> str:
        product = net.op("MatMul", x, net.constant(net.rng.normal(size=(inside, out)) / np.sqrt(inside)))
        return net.op("Add", net.constant(net.rng.normal(size=out) * 0.1), product)

    normal = net.op("LayerNormalization", net.input, net.constant(np.ones(8)), net.constant(np.zeros(8)), axis=-1)
    query, key = dense(normal, 8, 8), net.op("Transpose", dense(normal, 8, 8), perm=[0, 2, 1])
    weights = net.op("Softmax", net.op("MatMul", query, key), axis=-1)
    mixed = net.op("Add", net.op("MatMul", weights, dense(normal, 8, 8)), net.input)
    output = dense(net.op("Gelu", dense(mixed, 8, 16)), 16, 4)
    model = net.model(output)
    result = quantize(model, net.data(64))
    assert violations(result.model) == []
    codes = {note.code for note in result.notes}
    assert codes == {"quantized", "no-integer-form", "dynamic-weight", "softmax-float"}
    x = net.data(16, seed=2).inputs
    before, after = (next(iter(run_model(each, x).values())) for each in (model, result.model))
    assert sqnr_db(before, after) > 25
    graph = read_qdq(result.model, Formats())
    assert sum(op.kind == "gemm" for op in graph.ops) == 5
    reference = next(iter(ops.run(graph, x).values()))
    assert sqnr_db(after, reference) > 40


@pytest.mark.parametrize(
    "name",
    ["squeezenet", *(pytest.param(n, marks=pytest.mark.slow) for n in SMALL_LIGHT_NAMES if n != "squeezenet")],
)
def test_well_known_topologies_become_integer(name: str) -> None:
    model = load_proto(random_light_model(name))
    for step in PASSES:
        if step.name not in ("prune_channels", "quantize"):
            model = step().run(model, Context()).model
    samples = np.random.default_rng(0).uniform(0, 1, (4, 3, 224, 224)).astype(np.float32)
    data = Data({str(model.graph.inputs[0].name): samples})
    result = quantize(model, data)
    assert violations(result.model) == []
    reasons = {op.reason for op in read_qdq(result.model, Formats()).ops if isinstance(op, Island)}
    assert reasons <= {"terminal-softmax"} | ({"no-integer-form"} if name == "inception_v1" else set())  # LRN
    logits = [[logits_name(each, str(each.graph.outputs[0].name))] for each in (model, result.model)]
    before, after = (
        run_model(each, data.inputs, names)[names[0]] for each, names in zip((model, result.model), logits, strict=True)
    )
    assert sqnr_db(before, after) > 15
