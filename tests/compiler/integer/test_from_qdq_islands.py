"""What stays in floating point: every reason, how float nodes are grouped, and what islands compute."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from qdq import Qdq, feed

from prunus.compiler.errors import UnsupportedError
from prunus.compiler.executor import run_model
from prunus.compiler.integer import from_qdq, ops
from prunus.compiler.integer import graph as ir
from prunus.compiler.integer.check import check_graph
from prunus.compiler.integer.from_qdq import read_qdq
from prunus.compiler.integer.from_qdq.reasons import REASONS
from prunus.compiler.integer.text import describe
from prunus.compiler.model.model import Model
from prunus.compiler.target import Formats

STEP = 0.021137
SOURCE = Path(from_qdq.__file__).parent
ISLAND_TOLERANCE = 1e-5  # absolute, of the integer contract


def read(model: Model, **formats) -> ir.Graph:
    graph = read_qdq(model, Formats(**formats))
    check_graph(graph)
    return graph


def islands(graph: ir.Graph) -> list[ir.Island]:
    return [op for op in graph.ops if isinstance(op, ir.Island)]


def start(*shape: int) -> tuple[Qdq, str]:
    net = Qdq(shape)
    return net, net.quantized(net.input, STEP, 120)


def out(net: Qdq, y: str) -> Model:
    return net.model(net.quantized(y, 0.0173, 128))


def node(op_type: str, *constants, **attributes) -> Callable[[Qdq, str], str]:
    return lambda net, x: net.node(op_type, [x, *(net.constant(c) for c in constants)], **attributes)


def weights(net: Qdq, integers: np.ndarray, scale: float = 0.01, zero: int = 0, **attributes) -> str:
    parameters = [net.constant(np.float32(scale)), net.constant(integers.dtype.type(zero))]
    return net.node("DequantizeLinear", [net.constant(integers), *parameters], **attributes)


def overflowing(net: Qdq, x: str) -> str:
    weight, scale = net.weight((4, 40))
    bias = net.constant(np.full(4, 2**31 - 1000, np.int32))
    step = net.constant((np.float32(STEP) * scale).astype(np.float32))
    return net.node("Gemm", [x, weight, net.node("DequantizeLinear", [bias, step], axis=0)], transB=1)


def per_input_channel(net: Qdq, x: str) -> str:
    scale = net.constant(np.linspace(0.01, 0.02, 40, dtype=np.float32))
    zero = net.constant(np.zeros(40, np.int8))
    weight = net.node("DequantizeLinear", [net.constant(np.ones((40, 3), np.int8)), scale, zero], axis=0)
    return net.node("MatMul", [x, weight])


def softmax_then_gemm(net: Qdq, x: str) -> str:
    y = net.quantized(net.node("Softmax", [x]), 1 / 255)
    return net.gemm(y, 40, 3)


f32, i8, i64 = np.float32, np.int8, np.int64
ones = np.ones
CASES: dict[str, tuple[tuple[int, ...], Callable[[Qdq, str], str]]] = {
    "no-integer-form": ((3, 6, 6), node("InstanceNormalization", ones(3, f32), ones(3, f32))),
    "no-input-q": ((40,), lambda n, x: n.node("MatMul", [n.input, n.weight((40, 3), 1)[0]])),
    "acc-overflow": ((40,), overflowing),
    "inner-softmax": ((40,), softmax_then_gemm),
    "weight-not-constant": ((3, 6, 6), lambda n, x: n.node("Conv", [x, x])),
    "weight-type": ((40,), node("MatMul", ones((40, 3), f32))),
    "weight-zero-point": ((40,), lambda n, x: n.node("MatMul", [x, weights(n, np.full((40, 3), -100, i8), zero=90)])),
    "weight-range": ((40,), lambda n, x: n.node("MatMul", [x, weights(n, np.full((40, 3), -128, i8))])),
    "weight-axis": ((40,), per_input_channel),
    "bias-range": (
        (40,),
        lambda n, x: n.node("Gemm", [x, n.weight((4, 40))[0], n.constant(np.full(4, 1e9, f32))], transB=1),
    ),
    "bias-shape": (
        (5, 24),
        lambda n, x: node("Add", ones((5, 1), f32))(n, n.node("MatMul", [x, n.weight((24, 10), 1)[0]])),
    ),
    "constant-operand": ((3, 6, 6), node("Mul", ones((3, 1, 1), f32))),
    "clip-after-pad": (
        (3, 6, 6),
        lambda n, x: n.relu(node("Pad", np.array([0, 0, 1, 1, 0, 0, 1, 1]))(n, n.conv(x, 3, 4))),
    ),
    "conv-rank": ((3, 4, 4, 4), lambda n, x: n.conv(x, 3, 2, (2, 2, 2))),
    "conv-transpose": ((3, 6, 6), lambda n, x: n.node("ConvTranspose", [x, n.weight((3, 4, 2, 2), 1)[0]])),
    "gemm-attributes": ((40,), lambda n, x: n.node("Gemm", [x, n.weight((4, 40))[0]], transB=1, alpha=0.5)),
    "dynamic-matmul": ((6, 6), lambda n, x: n.node("MatMul", [x, x])),
    "broadcast-rank": ((6, 6), lambda n, x: n.node("Add", [x, node("Gather", np.array(0), axis=1)(n, x)])),
    "axis-batch": ((4,), node("Slice", np.array([0]), np.array([99]), np.array([0]))),
    "reduce-axes": ((3, 4, 5), node("ReduceMean", np.array([1, 3]))),
    "pool-attributes": ((3, 6, 6), lambda n, x: n.node("MaxPool", [x], 2, kernel_shape=[2, 2])[0]),
    "pad-mode": ((3, 6, 6), node("Pad", np.array([0, 0, 1, 1, 0, 0, 1, 1]), mode="reflect")),
    "pad-value": ((3, 6, 6), node("Pad", np.array([0, 0, 1, 1, 0, 0, 1, 1]), f32(0.5 * STEP))),
    "resize-mode": (
        (3, 6, 6),
        lambda n, x: n.node("Resize", [x, "", n.constant(np.array([1, 1, 2, 2], f32))], mode="linear"),
    ),
    "slice-step": ((3, 6, 6), node("Slice", np.array([5]), np.array([-9]), np.array([2]), np.array([-1]))),
}


ONE_SAMPLE = ("broadcast-rank", "weight-not-constant")  # cases that work for a batch of one only


@pytest.mark.parametrize("code", CASES)
def test_reasons(code):
    shape, function = CASES[code]
    net = Qdq(shape, batch=1 if code in ONE_SAMPLE else "N")
    x = net.quantized(net.input, STEP, 120)
    y = function(net, x)
    if code == "pool-attributes":  # the indices of the maxima are an output too
        indices = net.node("Cast", [y.replace("_0", "_1")], to=onnx.TensorProto.FLOAT)
        model = net.model(net.quantized(y, STEP, 120), indices)
    else:
        model = out(net, y)
    graph = read(model)
    (island,) = islands(graph)
    assert island.reason == code
    assert REASONS[code] in island.hint
    check_island_results(model, graph, net)


def check_island_results(model: Model, graph: ir.Graph, net: Qdq) -> None:
    """Feeds each island with what onnxruntime feeds the same nodes, and compares every output."""
    data = feed(model, net.data())
    values = ops.run(graph, data.inputs, keep=True)
    known = {str(v.name) for n in model.graph for v in n.outputs} | {str(v.name) for v in model.graph.inputs}
    for island in islands(graph):
        assert set(island.inputs) <= known
        fetch = [*island.inputs, *island.outputs]
        theirs = run_model(model, data.inputs, [n for n in fetch if n not in graph.inputs], optimise=False)
        for name in island.outputs:
            assert np.allclose(values[name], theirs[name], atol=ISLAND_TOLERANCE, rtol=1e-5)


def test_every_reason_in_the_code_has_a_hint_and_every_hint_a_reason():
    text = "\n".join(path.read_text() for path in sorted(SOURCE.glob("*.py")) if path.name != "reasons.py")
    used = set(re.findall(r'"([a-z][a-z0-9]*(?:-[a-z0-9]+)+)"', text))
    assert set(REASONS) - used == set()
    refused = set(re.findall(r'NotIntegerError\(\s*"([^"]+)"', text))
    assert refused - set(REASONS) == set()


def test_a_scale_out_of_proportion_makes_an_island():
    net, x = start(12)
    graph = read(net.model(net.quantized(net.gemm(x, 12, 3), 1e-15, 128)), scheme="fixed")
    assert [island.reason for island in islands(graph)] == ["requant-range"]


def test_a_16_bit_activation_makes_an_island():
    net, x = start(12)
    y = net.quantized(net.gemm(x, 12, 3), 0.001, 30000, "u16")
    assert [island.reason for island in islands(read(net.model(y)))] == ["q-type"]


def test_quantizer_and_dequantizer_that_differ_make_an_island():
    net, x = start(12)
    y = net.dequantize(net.quantize(net.gemm(x, 12, 3), 0.02, 128), 0.03, 100)
    graph = read(net.model(y))
    assert [island.reason for island in islands(graph)] == ["q-dq-mismatch"]
    assert graph.quant(graph.ops[-1].inputs[0]) == ir.QType("u8", float(np.float32(0.03)), 100)


def test_softmax_scale():
    net, x = start(12)
    graph = read(net.model(net.quantized(net.node("Softmax", [x]), 0.0038)), softmax="integer")
    assert [island.reason for island in islands(graph)] == ["softmax-scale"]


def test_a_terminal_softmax_is_an_island_of_its_own():
    net, x = start(12)
    logits = net.quantized(net.gemm(x, 12, 5), 0.02, 128)
    graph = read(net.model(net.node("Softmax", [logits])))
    (island,) = islands(graph)
    assert (island.reason, len(island.origin)) == ("terminal-softmax", 1)
    assert isinstance(graph.producers[island.inputs[0]], ir.Dequantize)


def test_an_unquantized_logit_layer_gives_the_reason_not_the_softmax_behind_it():
    net, x = start(12)
    graph = read(net.model(net.node("Softmax", [net.gemm(x, 12, 5)])))
    (island,) = islands(graph)
    assert (island.reason, len(island.origin)) == ("no-output-q", 2)


def test_float_neighbours_share_an_island():
    net, x = start(3, 6, 6)
    norm = node("InstanceNormalization", ones(3, f32), ones(3, f32))
    y = norm(net, net.relu(norm(net, x)))
    graph = read(out(net, y))
    (island,) = islands(graph)
    assert len(island.origin) == 3
    assert island.reason == "no-integer-form"


def test_islands_never_enclose_an_integer_operator():
    """x -> float A -> B, and A -> integer Conv -> B: in one island A and B would wait for each other."""
    net, x = start(3, 6, 6)
    norm = node("InstanceNormalization", ones(3, f32), ones(3, f32))
    a = norm(net, x)
    c = net.quantized(net.conv(net.quantized(a, 0.03, 128), 3, 3, (1, 1)), 0.03, 128)
    model = out(net, norm(net, net.node("Atan", [net.node("Add", [a, c])])))
    graph = read(model)
    assert [len(island.origin) for island in islands(graph)] == [1, 3]
    check_island_results(model, graph, net)


def test_two_readers_of_one_float_value():
    """A Conv whose float result is used next to its quantized one: integer where it can be, and again in the island."""
    net, x = start(3, 6, 6)
    y = net.conv(x, 3, 4)
    model = net.model(net.quantized(y, 0.03, 128), net.node("Atan", [y]))
    graph = read(model)
    assert [op.kind for op in graph.ops] == ["quantize", "conv", "dequantize", "dequantize", "island"]
    (island,) = islands(graph)
    assert island.reason == "no-integer-form"
    check_island_results(model, graph, net)


def test_an_island_with_two_outputs():
    net, x = start(3, 6, 6)
    y = net.node("Atan", [x])
    z = net.node("Atan", [y])
    model = net.model(net.quantized(z, 0.01, 128), y)
    graph = read(model)
    (island,) = islands(graph)
    assert len(island.outputs) == 2
    check_island_results(model, graph, net)


def test_dead_branches_disappear():
    net, x = start(12)
    net.quantized(net.gemm(x, 12, 9), 0.02, 128)
    graph = read(net.model(net.quantized(net.gemm(x, 12, 3), 0.02, 128)))
    assert [op.kind for op in graph.ops] == ["quantize", "gemm", "dequantize"]
    assert set(graph.tensors) == {name for op in graph.ops for name in (*op.inputs, *op.outputs)}


def test_reading_is_deterministic():
    def once() -> str:
        net, x = start(3, 6, 6)
        norm = node("InstanceNormalization", ones(3, f32), ones(3, f32))
        model = net.model(net.quantized(norm(net, net.relu(net.conv(x, 3, 3))), 0.02, 128))
        graph = read(model)
        return describe(graph) + "".join(island.model.hex() for island in islands(graph))

    assert once() == once()


def test_the_model_is_left_as_it_was():
    net, x = start(3, 6, 6)
    model = out(net, net.relu(net.conv(x, 3, 3)))
    before = model.to_bytes()
    read(model)
    assert model.to_bytes() == before


def branching(net: Qdq, x: str) -> str:
    info = onnx.helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, None)
    body = onnx.helper.make_graph([onnx.helper.make_node("Abs", [x], ["b"])], "body", [], [info])
    condition = net.node("Greater", [largest(net), net.constant(np.float32(0))])
    return net.node("If", [condition], then_branch=body, else_branch=body)


def largest(net: Qdq) -> str:
    return net.node("ReduceMax", [net.input], keepdims=0)


@pytest.mark.parametrize("code", ["control-flow", "integer-operator", "batch-not-leading", "constant-output"])
def test_refused_models(code):
    net, x = start(4, 4)
    if code == "integer-operator":
        y = net.node("MatMulInteger", [net.quantize(net.input, STEP), net.constant(np.ones((4, 4), i8))])
        y = net.node("Cast", [y], to=onnx.TensorProto.FLOAT)
    elif code == "control-flow":
        y = branching(net, x)
    elif code == "batch-not-leading":  # the batch is summed away inside a float part that quantized parts surround
        y = net.node("ReduceSum", [x, net.constant([0])], keepdims=0)
    else:
        y = net.node("Identity", [net.constant(np.ones((1, 4), f32))])
        net.batch = 1
    model = net.model(net.quantized(net.relu(x), STEP, 120), y)
    with pytest.raises(UnsupportedError) as caught:
        read(model)
    assert caught.value.code == code
