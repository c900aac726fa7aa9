"""Which tensors become integers, and which share a type."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from float_nets import FloatNet, residual_net

from prunus.compiler.model.model import Model
from prunus.compiler.quantization.plan import Group, Plan, plan
from prunus.compiler.target import Formats


def _plan(model: Model, formats: Formats | None = None) -> Plan:
    return plan(model.graph, formats or Formats())


def _points(found: Plan) -> set[str]:
    return {str(point.value.name) for group in found.groups for point in group.points}


def _group(found: Plan, value: str) -> Group:
    return next(group for group in found.groups if value in {point.value.name for point in group.points})


def _codes(found: Plan) -> dict[str, str]:
    return {node.op_type: refusal.code for node, refusal in found.refused}


def test_one_point_behind_each_activation() -> None:
    net = FloatNet((3, 8, 8))
    conv = net.conv(net.input, 4)
    relu = net.relu(conv)
    clip = net.op("Clip", net.conv(relu, 4), net.constant(0.0), net.constant(6.0))
    found = _plan(net.model(clip))
    assert _points(found) == {net.input, relu, clip}
    assert _group(found, relu).nonnegative and _group(found, clip).nonnegative
    assert not _group(found, net.input).nonnegative


def test_an_activation_with_a_second_reader_before_it_is_not_fused() -> None:
    net = FloatNet((3, 8, 8))
    conv = net.conv(net.input, 3)
    found = _plan(net.model(net.op("Add", net.relu(conv), conv)))
    group = _group(found, conv)
    assert {point.value.name for point in group.points} == {conv, net.nodes[1].output[0]}
    assert [root.name for root in group.roots] == [conv]


def test_residual_blocks_and_terminal_softmax() -> None:
    net = residual_net()
    found = _plan(net.model(net.output))
    assert _codes(found) == {"Softmax": "softmax-terminal"}
    assert net.output not in _points(found) and net.logits in _points(found)
    pool = next(group for group in found.groups if len(group.points) == 2 and len(group.roots) == 1)
    assert pool.nonnegative
    assert len(found.linears) == 4


def test_a_softmax_before_a_reshape_is_terminal_too() -> None:
    net = FloatNet((4, 6, 6))
    x = net.op("Softmax", net.op("GlobalAveragePool", net.conv(net.input, 4)), axis=1)
    found = _plan(net.model(net.flat(x)))
    assert _codes(found) == {"Softmax": "softmax-terminal"}


def test_data_movement_shares_one_type() -> None:
    net = FloatNet((4, 6, 6))
    x = net.relu(net.conv(net.input, 4))
    moved = [x]
    for op, attributes in (("MaxPool", {"kernel_shape": [2, 2]}), ("Transpose", {"perm": [0, 2, 3, 1]})):
        moved.append(net.op(op, moved[-1], **attributes))
    moved.append(net.op("Reshape", moved[-1], net.constant([-1, 100], np.int64)))
    found = _plan(net.model(net.gemm(moved[-1], 100, 3)))
    group = _group(found, x)
    assert [point.value.name for point in group.points] == moved
    assert [root.name for root in group.roots] == [x]


def test_concat_inputs_share_a_type_where_that_is_free() -> None:
    net = FloatNet((3, 8, 8))
    stem = net.relu(net.conv(net.input, 4))
    left, right = net.relu(net.conv(stem, 4)), net.op("MaxPool", net.conv(stem, 4), kernel_shape=[1, 1])
    joined = net.op("Concat", left, right, stem, axis=1)
    found = _plan(net.model(net.op("GlobalAveragePool", joined)))
    group = _group(found, joined)
    names = {point.value.name for point in group.points}
    assert {left, right, joined} <= names
    assert stem not in names  # the convolutions read it too: they keep its own scale
    assert not group.nonnegative
    assert joined in {root.name for root in group.roots}


def test_float_operators_stay_islands() -> None:
    net = FloatNet((4, 8, 8))
    x = net.relu(net.conv(net.input, 4))
    island = net.op("LRN", x, size=3)
    y = net.conv(island, 2)
    found = _plan(net.model(y))
    assert _codes(found) == {"LRN": "no-integer-form"}
    sources = {point.value.name: point.source for group in found.groups for point in group.points}
    assert sources == {net.input: "input", x: "integer", island: "float", y: "integer"}


def test_movement_between_float_operators_stays_float() -> None:
    net = FloatNet((4, 8, 8))
    x = net.op("LRN", net.op("Transpose", net.op("LRN", net.input, size=3), perm=[0, 1, 3, 2]), size=3)
    assert _plan(net.model(x)).groups == ()
    net = FloatNet((4, 8, 8))
    moved = net.op("Transpose", net.op("LRN", net.input, size=3), perm=[0, 1, 3, 2])
    found = _plan(net.model(net.conv(moved, 2)))
    assert moved in _points(found)  # read by a convolution: moved as integers


@pytest.mark.parametrize("softmax", ["float", "integer"])
def test_inner_softmax_follows_the_device(softmax: str) -> None:
    net = FloatNet((4, 6, 6))
    x = net.op("Softmax", net.conv(net.input, 4), axis=1)
    found = _plan(net.model(net.conv(x, 2)), Formats(softmax=softmax))  # type: ignore[arg-type]
    assert _group(found, x).softmax is (softmax == "integer")
    assert _group(found, x).nonnegative
    assert _codes(found) == ({} if softmax == "integer" else {"Softmax": "softmax-float"})


@pytest.mark.parametrize(
    ("build", "code"),
    [
        (lambda net, x: net.op("Sub", x, net.conv(x, 4)), "no-integer-form"),
        (lambda net, x: net.op("MatMul", x, x), "dynamic-weight"),
        (lambda net, x: net.op("Mul", x, net.constant(np.ones((4, 1, 1)))), "constant-operand"),
        (lambda net, x: net.op("Pad", x, net.constant([0, 0, 1, 1] * 2, np.int64), net.constant(1.0)), "pad-value"),
        (lambda net, x: net.op("ReduceMean", x, net.constant([1], np.int64)), "reduce-axes"),
        (lambda net, x: net.op("ConvTranspose", x, net.constant(np.ones((4, 2, 2, 2))), channels=2), "no-integer-form"),
    ],
)
def test_refusals_say_why(build: object, code: str) -> None:
    net = FloatNet((4, 6, 6))
    x = net.relu(net.conv(net.input, 4))
    found = _plan(net.model(net.conv(build(net, x), 2)))  # type: ignore[operator]
    assert code in _codes(found).values()
    assert all(refusal.hint for _, refusal in found.refused)


def test_scalar_arithmetic_is_a_function_of_one_number() -> None:
    net = FloatNet((4, 6, 6))
    x = net.conv(net.input, 4)
    y = net.op("Mul", x, net.constant(0.5))
    found = _plan(net.model(net.conv(y, 2)))
    assert y in _points(found) and _codes(found) == {}


def test_only_float32_is_quantized() -> None:
    net = FloatNet((4, 6, 6), dtype=onnx.TensorProto.FLOAT16)
    model = net.model(net.op("Relu", net.op("GlobalAveragePool", net.input)))
    found = _plan(model)
    assert found.groups == ()
    assert set(_codes(found).values()) == {"not-float32"}
