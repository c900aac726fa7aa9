"""Every operator that the reader knows: what it becomes, and that it computes what onnxruntime computes.

Tolerances: data movement and requantized sums of products are equal to the last bit (u8, exact kernels); where
onnxruntime computes in float32 what the contract does in integers or float64 (averages, sums, tables), a result that
lies within float32's rounding of a tie may differ by one, in at most 0.5 % of the elements.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from qdq import Qdq, feed

from prunus.compiler.analysis.witness import Witness, witness
from prunus.compiler.errors import UnsupportedError
from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops
from prunus.compiler.integer.check import check_graph
from prunus.compiler.integer.from_qdq import read_qdq
from prunus.compiler.model.model import Model
from prunus.compiler.target import Formats

FLOAT_NOISE = 0.005  # share of elements that may differ by one where onnxruntime computes in float32
STEP = 0.021137  # of most inputs; no simple ratio to the other scales, so that few results are ties


def read(model: Model, **formats) -> ir.Graph:
    graph = read_qdq(model, Formats(**formats))
    check_graph(graph)
    return graph


def kinds(graph: ir.Graph) -> list[str]:
    return [op.kind for op in graph.ops]


def seen(net: Qdq, output: str, **formats) -> tuple[ir.Graph, Witness]:
    model = net.model(output)
    graph = read(model, **formats)
    return graph, witness(model, graph, feed(model, net.data()))


def start(*shape: int, seed: int = 0) -> tuple[Qdq, str]:
    """A net and its quantized input (u8, zero point 120)."""
    net = Qdq(shape, seed)
    return net, net.quantized(net.input, STEP, 120)


# -- linear operators -------------------------------------------------------------------------------------------------

CONVS: dict[str, tuple[tuple[int, ...], Callable[[Qdq, str], str], list[str]]] = {
    "plain": ((3, 9, 8), lambda n, x: n.conv(x, 3, 8, pads=[1, 1, 1, 1]), ["conv"]),
    "no bias": ((3, 9, 8), lambda n, x: n.conv(x, 3, 8, bias=False), ["conv"]),
    "per tensor": ((3, 9, 8), lambda n, x: n.conv(x, 3, 8, per_channel=False), ["conv"]),
    "strides, pads": ((3, 9, 8), lambda n, x: n.conv(x, 3, 5, pads=[0, 1, 2, 0], strides=[2, 3]), ["conv"]),
    "dilated": ((3, 9, 8), lambda n, x: n.conv(x, 3, 5, dilations=[2, 1]), ["conv"]),
    "same upper": ((3, 9, 8), lambda n, x: n.conv(x, 3, 5, (2, 3), strides=[2, 2], auto_pad="SAME_UPPER"), ["conv"]),
    "same lower": ((3, 9, 8), lambda n, x: n.conv(x, 3, 5, (2, 3), strides=[2, 2], auto_pad="SAME_LOWER"), ["conv"]),
    "valid": ((3, 9, 8), lambda n, x: n.conv(x, 3, 5, auto_pad="VALID"), ["conv"]),
    "grouped": ((4, 9, 8), lambda n, x: n.conv(x, 4, 6, group=2), ["conv"]),
    "depthwise": ((4, 9, 8), lambda n, x: n.conv(x, 4, 4, group=4, pads=[1, 1, 1, 1]), ["depthwise"]),
    "multiplier": ((4, 9, 8), lambda n, x: n.conv(x, 4, 8, group=4), ["depthwise"]),
    "one channel": ((1, 9, 8), lambda n, x: n.conv(x, 1, 4), ["conv"]),
    "1-D": ((3, 12), lambda n, x: n.conv(x, 3, 5, (3,), pads=[2, 1]), ["reshape", "conv", "reshape"]),
    "1-D depthwise": ((4, 12), lambda n, x: n.conv(x, 4, 4, (3,), group=4), ["reshape", "depthwise", "reshape"]),
    "gemm": ((24,), lambda n, x: n.gemm(x, 24, 10), ["gemm"]),
    "gemm, weight as [in, out]": ((24,), lambda n, x: n.gemm(x, 24, 10, transposed=False), ["gemm"]),
    "matmul": ((24,), lambda n, x: n.node("MatMul", [x, n.weight((24, 10), 1)[0]]), ["gemm"]),
    "matmul of a sequence": ((5, 24), lambda n, x: n.node("MatMul", [x, n.weight((24, 10), 1)[0]]), ["gemm"]),
}


@pytest.mark.parametrize("case", CONVS)
def test_linear_operators_equal_onnxruntime(case):
    shape, layer, expected = CONVS[case]
    net, x = start(*shape)
    graph, found = seen(net, net.quantized(layer(net, x), 0.02573, 131))
    assert kinds(graph) == ["quantize", *expected, "dequantize"]
    assert found.worst_equal == 1.0


def test_matmul_takes_a_following_bias():
    net, x = start(24)
    weight, scale = net.weight((24, 10), 1)
    y = net.node("Add", [net.node("MatMul", [x, weight]), net.bias(x, scale, 10)])
    model = net.model(net.quantized(net.relu(y), 0.01571))
    graph = read(model)
    (gemm,) = [op for op in graph.ops if isinstance(op, ir.QGemm)]
    assert gemm.bias.any()
    assert [model.original(name).split("_")[0] for name in gemm.origin] == ["MatMul", "Add", "Relu"]
    found = witness(model, graph, feed(model, net.data()))
    assert found.max_difference <= 1
    assert found.worst_equal > 1 - FLOAT_NOISE


def test_a_float_bias_is_rounded_to_accumulator_steps():
    net, x = start(3, 6, 6)
    weight, scale = net.weight((4, 3, 1, 1))
    bias = np.array([0.31, -0.7, 0.0, 2.0], np.float32)
    y = net.quantized(net.node("Conv", [x, weight, net.constant(bias)]), 1 / 32, 128)
    (conv,) = [op for op in read(net.model(y)).ops if isinstance(op, ir.QConv)]
    steps = bias.astype(np.float64) / (np.float64(np.float32(STEP)) * scale)
    assert conv.bias.tolist() == np.rint(steps).tolist()


def test_weights_with_the_middle_as_zero_point_are_symmetric():
    net, x = start(3, 6, 6)
    integers = net.rng.integers(1, 256, (4, 3, 1, 1)).astype(np.uint8)
    weight = net.node(
        "DequantizeLinear", [net.constant(integers), net.constant(np.float32(0.01)), net.constant(np.uint8(128))]
    )
    (conv,) = [
        op for op in read(net.model(net.quantized(net.node("Conv", [x, weight]), 0.05, 128))).ops if op.kind == "conv"
    ]
    assert (conv.weight == integers.astype(int) - 128).all()


@pytest.mark.parametrize(("limit", "bits"), [(127, 8), (63, 7), (7, 4), (1, 2)])
def test_narrow_weights_are_recognised(limit, bits):
    net, x = start(8, 6, 6)
    graph = read(net.model(net.quantized(net.conv(x, 8, 8, limit=limit), 1 / 32, 128)))
    assert [op.weight_bits for op in graph.ops if isinstance(op, ir.Linear)] == [bits]


# -- clips ------------------------------------------------------------------------------------------------------------


def test_relu_and_clip_narrow_the_range_of_the_operator_before():
    net, x = start(3, 8, 8)
    y = net.quantized(net.clip(net.relu(net.conv(x, 3, 8)), -1, 1.5), 0.02573, 30)
    graph, found = seen(net, y)
    conv = graph.ops[1]
    assert isinstance(conv, ir.QConv)
    assert (conv.qmin, conv.qmax) == (30, 88)  # 0 and 1.5 in steps of 0.02573 above 30
    assert graph.quant(conv.output).bits == 7
    assert found.worst_equal == 1.0


def test_relu_of_a_tensor_is_a_narrower_requantization():
    net, x = start(3, 8, 8)
    graph, found = seen(net, net.quantized(net.relu(x), 0.03319, 7))
    assert kinds(graph) == ["quantize", "requant", "dequantize"]
    assert graph.ops[1].qmin == 7
    assert found.worst_equal > 1 - FLOAT_NOISE


@pytest.mark.parametrize(("dtype", "bits", "zero"), [("u8", 4, 0), ("u8", 6, 13), ("s8", 4, 0), ("s8", 7, -3)])
def test_a_clip_before_the_quantizer_gives_fewer_bits(dtype, bits, zero):
    net, x = start(3, 8, 8)
    narrow = ir.QType(dtype, 0.25, zero, bits)
    low, high = ((end - zero) * 0.25 for end in (narrow.qmin, narrow.qmax))
    y = net.quantized(net.clip(net.conv(x, 3, 8), low, high), 0.25, zero, dtype)
    graph, found = seen(net, net.quantized(net.node("MaxPool", [y], kernel_shape=[2, 2]), 0.25, zero, dtype))
    assert [graph.quant(op.output) for op in graph.ops if op.kind in ("conv", "maxpool")] == [narrow, narrow]
    assert found.worst_equal == 1.0


def test_the_clip_of_a_float_input_becomes_its_width():
    net = Qdq((6,))
    x = net.quantized(net.clip(net.input, 0, 15 / 8), 1 / 8)
    graph, found = seen(net, net.quantized(net.gemm(x, 6, 4), 1 / 16, 99))
    assert graph.quant(graph.ops[0].output).bits == 4
    assert found.worst_equal == 1.0


# -- elementwise ------------------------------------------------------------------------------------------------------


def two(net: Qdq, x: str) -> tuple[str, str]:
    """Two tensors of different scales from one."""
    return net.quantized(net.conv(x, 3, 4), 0.01937, 120), net.quantized(net.conv(x, 3, 4), 0.01431, 140)


BINARY: dict[str, tuple[Callable[[Qdq, str, str], str], list[str]]] = {
    "add": (lambda n, a, b: n.node("Add", [a, b]), ["add"]),
    "sum": (lambda n, a, b: n.node("Sum", [a, b]), ["add"]),
    "add and relu": (lambda n, a, b: n.relu(n.node("Add", [a, b])), ["add"]),
    "mul": (lambda n, a, b: n.node("Mul", [a, b]), ["mul"]),
    "add to itself": (lambda n, a, b: n.node("Add", [a, a]), ["add"]),
    "broadcast": (lambda n, a, b: n.node("Add", [a, n.node("GlobalMaxPool", [b])]), ["maxpool", "add"]),
    "concat": (lambda n, a, b: n.node("Concat", [a, b], axis=1), ["concat"]),
    "concat of rows": (lambda n, a, b: n.node("Concat", [a, b, a], axis=-2), ["concat"]),
}


@pytest.mark.parametrize("scheme", ["f32", "fixed"])
@pytest.mark.parametrize("case", BINARY)
def test_operators_of_two_tensors(case, scheme):
    function, expected = BINARY[case]
    net, x = start(3, 7, 7)
    a, b = two(net, x)
    graph, found = seen(net, net.quantized(function(net, a, b), 0.02239, 128), scheme=scheme)
    assert [kind for kind in kinds(graph)[1:-1] if kind != "conv"] == expected
    assert found.max_difference <= 1
    assert found.worst_equal > 1 - FLOAT_NOISE


def test_concat_of_equal_types_copies():
    net, x = start(3, 7, 7)
    a, b = (net.quantized(net.conv(x, 3, 4), 0.01937, 120) for _ in range(2))
    y = net.node("Concat", [a, b], axis=1)
    net.scales[y] = net.scales[a]
    graph, found = seen(net, net.quantized(net.conv(y, 8, 2), 0.03319, 128))  # no quantizer behind the Concat
    assert kinds(graph) == ["quantize", "conv", "conv", "concat", "conv", "dequantize"]
    assert found.worst_equal == 1.0


SLOPE = ("Celu", "Elu", "LeakyRelu", "ThresholdedRelu")
UNARY = (
    *("Abs", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Mish", "Neg"),
    *("Selu", "Sigmoid", "Sin", "Softplus", "Softsign", "Tanh"),
    *SLOPE,
)


@pytest.mark.parametrize("dtype", ["u8", "s8"])
@pytest.mark.parametrize("op_type", UNARY)
def test_unary_functions_are_tables(op_type, dtype):
    net = Qdq((40,))
    x = net.quantized(net.input, STEP, 100 if dtype == "u8" else -9, dtype)
    attributes = {"alpha": 0.7} if op_type in SLOPE else {}
    y = net.quantized(net.node(op_type, [x], **attributes), 0.01673, 60 if dtype == "u8" else 4, dtype)
    graph, found = seen(net, y)
    assert kinds(graph) == ["quantize", "lut", "dequantize"]
    assert found.max_difference <= 1
    assert found.worst_equal > 1 - FLOAT_NOISE


CHAINS: dict[str, Callable[[Qdq, str], str]] = {
    "silu": lambda n, x: n.node("Mul", [x, n.node("Sigmoid", [x])]),
    "hard swish": lambda n, x: n.node("Mul", [x, n.clip(n.node("Add", [x, n.constant(np.float32(3))]), 0, 6)]),
    "affine": lambda n, x: n.node(
        "Div", [n.node("Sub", [x, n.constant(np.float32(0.3))]), n.constant([np.float32(2)])]
    ),
    "square": lambda n, x: n.node("Pow", [x, n.constant(np.float32(2))]),
    "prelu": lambda n, x: n.node("PRelu", [x, n.constant(np.float32(0.1))]),
    "maximum": lambda n, x: n.node("Max", [n.constant(np.float32(-0.5)), x]),
}


@pytest.mark.parametrize("case", CHAINS)
def test_chains_of_functions_of_one_tensor_are_one_table(case):
    net, x = start(50)
    graph, found = seen(net, net.quantized(CHAINS[case](net, x), 0.01431, 60))
    assert kinds(graph) == ["quantize", "lut", "dequantize"]
    assert found.max_difference <= 1
    assert found.worst_equal > 1 - FLOAT_NOISE


def test_integer_softmax_where_the_target_wants_it():
    net, x = start(5, 12)
    y = net.node(
        "Reshape", [net.quantized(net.node("Softmax", [x], axis=-1), 1 / 256), net.constant(np.array([-1, 60]))]
    )
    net.scales[y] = 1 / 256
    graph, found = seen(net, net.quantized(net.gemm(y, 60, 3), 0.01673, 99), softmax="integer")
    assert kinds(graph) == ["quantize", "softmax", "reshape", "gemm", "dequantize"]
    assert found.max_difference <= 1


# -- pooling ----------------------------------------------------------------------------------------------------------

POOLS: dict[str, tuple[tuple[int, ...], str, dict]] = {
    "average": ((3, 8, 8), "AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    "padding counted": (
        (3, 8, 8),
        "AveragePool",
        {"kernel_shape": [3, 3], "pads": [1, 0, 1, 2], "count_include_pad": 1},
    ),
    "average, ceiling": ((3, 8, 8), "AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    "average, 1-D": ((3, 11), "AveragePool", {"kernel_shape": [4], "strides": [2], "pads": [1, 1]}),
    "global average": ((3, 8, 5), "GlobalAveragePool", {}),
    "global average, 1-D": ((3, 8), "GlobalAveragePool", {}),
}


@pytest.mark.parametrize("scheme", ["f32", "fixed"])
@pytest.mark.parametrize("case", POOLS)
def test_averages(case, scheme):
    shape, op_type, attributes = POOLS[case]
    net, x = start(*shape)
    graph, found = seen(net, net.quantized(net.node(op_type, [x], **attributes), 0.01673, 125), scheme=scheme)
    assert [kind for kind in kinds(graph) if kind != "reshape"] == ["quantize", "avgpool", "dequantize"]
    assert found.max_difference <= 1
    assert found.worst_equal > 1 - FLOAT_NOISE


@pytest.mark.parametrize(
    ("shape", "axes", "keepdims"),
    [
        ((3, 6, 5), [2, 3], 0),
        ((3, 6, 5), [-1, -2], 1),
        ((3, 6, 5), [3], 1),
        ((6, 8), [1], 0),
        ((3, 6, 5), [1], 0),
        ((6, 8), [2], 1),
    ],
)
def test_means_over_dimensions(shape, axes, keepdims):
    net, x = start(*shape)
    y = net.node("ReduceMean", [x, net.constant(np.array(axes))], keepdims=keepdims)
    graph, found = seen(net, net.quantized(y, 0.01113, 125))
    assert "avgpool" in kinds(graph)
    assert found.max_difference <= 1
    assert found.worst_equal > 1 - FLOAT_NOISE


MAX_POOLS: dict[str, tuple[tuple[int, ...], str, dict]] = {
    "plain": ((3, 8, 8), "MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "padded": ((3, 8, 8), "MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    "ceiling": ((3, 8, 7), "MaxPool", {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1}),
    "ceiling, last window in the padding": (
        (3, 7, 7),
        "MaxPool",
        {"kernel_shape": [2, 2], "strides": [3, 3], "pads": [0, 0, 1, 1], "ceil_mode": 1},
    ),
    "dilated": ((3, 8, 8), "MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 3]}),
    "1-D": ((3, 9), "MaxPool", {"kernel_shape": [3], "strides": [2]}),
    "global": ((3, 8, 5), "GlobalMaxPool", {}),
}


@pytest.mark.parametrize("case", MAX_POOLS)
def test_max_pooling_is_exact(case):
    shape, op_type, attributes = MAX_POOLS[case]
    net, x = start(*shape)
    graph, found = seen(net, net.quantized(net.node(op_type, [x], **attributes), STEP, 120))
    assert [kind for kind in kinds(graph) if kind != "reshape"] == ["quantize", "maxpool", "dequantize"]
    assert found.worst_equal == 1.0


# -- data movement ----------------------------------------------------------------------------------------------------


def moved(op_type: str, *constants, **attributes) -> Callable[[Qdq, str], str]:
    return lambda net, x: net.node(
        op_type, [x, *("" if c is None else net.constant(c) for c in constants)], **attributes
    )


i64 = np.int64
RESIZES = [
    ("half_pixel", "round_prefer_floor"),
    ("half_pixel", "floor"),
    ("asymmetric", "floor"),
    ("asymmetric", "ceil"),
    ("pytorch_half_pixel", "round_prefer_ceil"),
    ("align_corners", "round_prefer_floor"),
]
FIRST = moved("Slice", np.array([0], i64), np.array([1], i64), np.array([1], i64))
MOVES: dict[str, tuple[Callable[[Qdq, str], str], list[str]]] = {
    "reshape": (moved("Reshape", np.array([0, -1], i64)), ["reshape"]),
    "reshape to the same": (moved("Reshape", np.array([-1, 4, 6, 6], i64)), []),
    "flatten": (moved("Flatten"), ["reshape"]),
    "unsqueeze": (moved("Unsqueeze", np.array([2], i64)), ["reshape"]),
    "identity": (moved("Identity"), []),
    "transpose": (moved("Transpose", perm=[0, 2, 3, 1]), ["transpose"]),
    "slice": (moved("Slice", np.array([1, -3], i64), np.array([4, 99], i64), np.array([1, -1], i64)), ["slice"]),
    "strided slice": (
        moved("Slice", np.array([1], i64), np.array([6], i64), np.array([3], i64), np.array([2], i64)),
        ["slice"],
    ),
    "gather one": (moved("Gather", np.array(2, i64), axis=1), ["slice", "reshape"]),
    "gather evenly": (moved("Gather", np.array([0, 2, 4], i64), axis=2), ["slice"]),
    "pad": (moved("Pad", np.array([0, 0, 1, 2, 0, 0, 3, 0], i64)), ["pad"]),
    "pad one axis": (moved("Pad", np.array([1, 2], i64), None, np.array([3], i64)), ["pad"]),
    "depth to space": (moved("DepthToSpace", blocksize=2), ["reshape", "transpose", "reshape"]),
    "depth to space, columns first": (
        moved("DepthToSpace", blocksize=2, mode="CRD"),
        ["reshape", "transpose", "reshape"],
    ),
    "tile": (moved("Tile", np.array([1, 2, 1, 3], i64)), ["concat", "concat"]),
    "expand": (lambda net, x: moved("Expand", np.array([1, 4, 1, 1], i64))(net, FIRST(net, x)), ["slice", "concat"]),
    "space to depth": (moved("SpaceToDepth", blocksize=3), ["reshape", "transpose", "reshape"]),
    **{
        f"resize {mode} {rounding}": (
            moved(
                "Resize",
                None,
                np.array([1, 1, 2, 1.5], np.float32),
                mode="nearest",
                coordinate_transformation_mode=mode,
                nearest_mode=rounding,
            ),
            ["resize"],
        )
        for mode, rounding in RESIZES
    },
}


@pytest.mark.parametrize("place", ["between", "after", "before", "integer"])
@pytest.mark.parametrize("case", MOVES)
def test_data_movement_is_exact_wherever_it_stands(case, place):
    function, expected = MOVES[case]
    net = Qdq((4, 6, 6))
    if place == "before":  # on floats, before the first quantizer
        y = net.quantized(function(net, net.input), STEP, 120)
    elif place == "integer":  # between QuantizeLinear and DequantizeLinear
        y = net.dequantize(function(net, net.quantize(net.input, STEP, 120)), STEP, 120)
    else:
        y = function(net, net.quantized(net.input, STEP, 120))
        y = net.quantized(y, STEP, 120) if place == "between" else y
    model = net.model(y)
    graph = read(model)
    assert kinds(graph) == ["quantize", *expected, "dequantize"]
    data = feed(model, net.data())
    ours = ops.run(graph, data.inputs)[graph.outputs[0]]
    theirs = onnx_outputs(model, data)
    assert np.array_equal(ours, theirs)


def onnx_outputs(model: Model, data) -> np.ndarray:
    from prunus.compiler.executor import run_model

    return next(iter(run_model(model, data.inputs, optimise=False).values()))


def test_split_gives_one_slice_per_output():
    net, x = start(6, 4)
    a, b = net.node("Split", [x, net.constant(np.array([2, 4]))], 2, axis=1)
    y = net.node("Concat", [net.quantized(b, STEP, 120), net.quantized(a, STEP, 120)], axis=1)
    graph, found = seen(net, net.quantized(y, STEP, 120))
    assert kinds(graph) == ["quantize", "slice", "slice", "concat", "dequantize"]
    assert found.equal_outputs == 1.0


def test_movement_behind_an_operator_waits_for_its_quantizer():
    net, x = start(3, 8, 8)
    y = net.node("MaxPool", [net.relu(net.conv(x, 3, 8))], kernel_shape=[2, 2], strides=[2, 2])
    graph, found = seen(net, net.quantized(net.node("Flatten", [y]), 0.01571))
    assert kinds(graph) == ["quantize", "conv", "maxpool", "reshape", "dequantize"]
    assert found.equal_outputs == 1.0


# -- borders ----------------------------------------------------------------------------------------------------------


def test_an_integer_input_behind_a_cast_is_quantized_itself():
    net = Qdq((12,), dtype=onnx.TensorProto.UINT8)
    x = net.quantized(net.node("Cast", [net.input], to=onnx.TensorProto.FLOAT), 1.0)
    graph, found = seen(net, net.quantized(net.gemm(x, 12, 5), 2.0, 128))
    assert kinds(graph) == ["quantize", "gemm", "dequantize"]
    assert graph.tensors[graph.inputs[0]].dtype == "uint8"
    assert found.worst_equal == 1.0


def test_folded_preprocessing_quantizes_with_other_parameters():
    net = Qdq((12,))
    x = net.dequantize(net.quantize(net.input, 0.02, 10), 0.5, 90)
    graph, found = seen(net, net.quantized(net.gemm(x, 12, 5), 0.25, 128))
    quantize = graph.ops[0]
    assert isinstance(quantize, ir.Quantize)
    assert (quantize.scale, quantize.zero_point) == (float(np.float32(0.02)), 10)
    assert graph.quant(quantize.output) == ir.QType("u8", 0.5, 90)
    assert found.worst_equal == 1.0


def test_a_model_that_takes_and_gives_integers():
    net = Qdq((12,), dtype=onnx.TensorProto.UINT8)
    x = net.dequantize(net.input, STEP, 120)
    model = net.model(net.quantize(net.gemm(x, 12, 5), 0.02573, 128))
    graph = read(model)
    assert kinds(graph) == ["gemm"]
    assert graph.quant(graph.inputs[0]) == ir.QType("u8", float(np.float32(STEP)), 120)
    data = feed(model, net.data())
    assert np.array_equal(ops.run(graph, data.inputs)[graph.outputs[0]], onnx_outputs(model, data))


def test_outputs_keep_their_order():
    net, x = start(12)
    first, second = (net.quantized(net.gemm(x, 12, n), 0.02573, 128) for n in (3, 7))
    graph = read(net.model(second, first))
    assert [graph.tensors[name].shape for name in graph.outputs] == [(7,), (3,)]


def test_a_model_with_a_fixed_batch_gets_a_free_one():
    net = Qdq((3, 6, 6), batch=1)
    x = net.quantized(net.input, STEP, 120)
    y = net.node("Reshape", [net.node("Softplus", [x]), net.constant(np.array([1, 2, 54], i64))])
    graph = read(net.model(net.node("Softmax", [y])))
    assert kinds(graph) == ["quantize", "dequantize", "island"]
    batch = np.random.default_rng(0).normal(size=(5, 3, 6, 6)).astype(np.float32)
    assert ops.run(graph, {graph.inputs[0]: batch})[graph.outputs[0]].shape == (5, 2, 54)


def test_pow2_wants_powers_of_two_and_no_zero_points():
    net = Qdq((12,))
    x = net.quantized(net.input, 1 / 32, 0, "s8")
    y = net.quantized(net.gemm(x, 12, 5, pow2=True), 1 / 16, 0, "s8")
    graph, found = seen(net, y, scheme="pow2")
    assert graph.ops[1].requant.scheme == "pow2"
    assert found.worst_equal == 1.0
    for scale, zero, code in ((0.03, 0, "scale-not-pow2"), (1 / 32, 3, "zero-point-not-zero")):
        net = Qdq((12,))
        model = net.model(net.quantized(net.gemm(net.quantized(net.input, scale, zero, "s8"), 12, 5), 1 / 16, 0, "s8"))
        with pytest.raises(UnsupportedError) as caught:
            read(model, scheme="pow2")
        assert caught.value.code == code
