"""Random operators and larger layers through the kernels, against the integer reference."""

from __future__ import annotations

import graphs
import integer_strategies
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prunus import kernels
from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops


def assert_equal(run_kernels, graph: ir.Graph, feeds: dict[str, np.ndarray]) -> None:
    values, expected = run_kernels(graph, feeds), ops.run(graph, feeds, keep=True)
    for name in graph.integer_tensors():
        np.testing.assert_array_equal(values[name], expected[name], err_msg=graph.producers[name].kind)


@pytest.mark.parametrize("kind", integer_strategies.EVERY_OPERATOR)
@settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_random_operators(kind, data, run_kernels):
    assert_equal(run_kernels, *data.draw(integer_strategies.EVERY_OPERATOR[kind]))


LAYERS = {  # (batch, in, height, width), (out, in / group, kh, kw), group, stride, padding
    "first": ((1, 3, 33, 31), (32, 3, 3, 3), 1, 2, 1),
    "3x3": ((2, 33, 17, 9), (70, 33, 3, 3), 1, 1, 1),
    "pointwise": ((1, 130, 13, 7), (200, 130, 1, 1), 1, 1, 0),
    "very deep": ((1, 1030, 3, 3), (9, 1030, 1, 1), 1, 1, 0),
    "many channels": ((1, 70, 1, 1), (300, 70, 1, 1), 1, 1, 0),
    "grouped": ((1, 48, 9, 9), (96, 12, 3, 3), 4, 2, 1),
    "5x5": ((1, 21, 15, 12), (19, 21, 5, 5), 1, 1, 2),
    "depthwise": ((1, 37, 19, 71), (37, 1, 3, 3), 37, 1, 1),
    "depthwise stride": ((2, 19, 20, 133), (38, 1, 5, 5), 19, 2, 2),
    "depthwise stride 3": ((1, 5, 11, 211), (5, 1, 3, 4), 5, 3, 1),
    "depthwise shorter stretch": ((1, 3, 5, 300), (3, 1, 1, 150), 3, 1, 0),
    "depthwise beyond a stretch": ((1, 2, 5, 300), (4, 1, 2, 250), 2, 2, 1),
}


@pytest.mark.parametrize("scheme", ["f32", "fixed", "pow2"])
@pytest.mark.parametrize("layer", LAYERS)
def test_real_layers(layer, scheme, run_kernels):
    """Sizes beyond one tile in every direction."""
    x_shape, w_shape, group, stride, pad = LAYERS[layer]
    rng = np.random.default_rng(len(layer))
    quant = ir.QType("u8", 1.0, 0 if scheme == "pow2" else 119)
    out = ir.QType("s8", 1.0, 0 if scheme == "pow2" else -11)
    size, depth = w_shape[0], int(np.prod(w_shape[1:]))
    ratio = 1 / (np.sqrt(depth) * 73 * rng.uniform(1, 3, size))
    if scheme == "f32":
        requant = ir.Requant("f32", ratio.astype(np.float32), np.zeros(size, np.int32))
    elif scheme == "fixed":
        requant = ir.Requant("fixed", (ratio * 2.0**44).astype(np.int64) % 2**31 | 2**30, np.full(size, 42, np.int32))
    else:
        requant = ir.Requant("pow2", np.ones(size, np.int64), np.ceil(-np.log2(ratio)).astype(np.int32))
    kind = ir.QDepthwise if "depthwise" in layer else ir.QConv
    fields = {} if kind is ir.QDepthwise else {"group": group}
    op = kind(
        name="op",
        inputs=("x",),
        output="y",
        weight=rng.integers(-127, 128, w_shape).astype(np.int8),
        bias=rng.integers(-9000, 9000, size).astype(np.int32),
        weight_scale=np.ones(1, np.float32),
        requant=requant,
        window=ir.Window(kernel=w_shape[2:], strides=(stride, stride), pads=(pad,) * 4),
        qmin=-128,
        qmax=127,
        **fields,
    )
    tensors = {"x": ir.Tensor("x", x_shape[1:], quant), "y": ir.Tensor("y", (), out)}
    graph = ir.Graph("g", ("x",), ("y",), tensors, (op,), scheme)
    assert_equal(run_kernels, graph, {"x": rng.integers(0, 256, x_shape).astype(np.uint8)})


@pytest.mark.parametrize("scheme", ["f32", "fixed", "pow2"])
def test_a_residual_network(scheme, run_kernels):
    graph, feeds = graphs.residual_cnn(scheme, seed=3)
    if any(isinstance(op, ir.Island) for op in graph.ops):
        pytest.skip("the network holds a float island, which is not the kernels' business")
    assert_equal(run_kernels, graph, feeds)


def test_every_value_rounds_as_numpy_rounds():
    """All of s8 against a spread of multipliers, among them those with many exact ties."""
    x = np.arange(-128, 128, dtype=np.int8)
    rng = np.random.default_rng(0)
    powers = 2.0 ** np.arange(-12, 3)
    for m in np.concatenate([powers, powers * 3, powers * 5, rng.uniform(0.001, 1.5, 300)]).astype(np.float32):
        y = kernels.requantize(x, kernels.Requant.f32(np.array([m])), kernels.Output("s8", 3))
        expected = np.clip(np.rint(x.astype(np.float32) * m).astype(np.int64) + 3, -128, 127)
        np.testing.assert_array_equal(y, expected)


def test_many_random_accumulators():
    """A million accumulators over all of int32, through a convolution of bias alone."""
    rng = np.random.default_rng(1)
    size = 1 << 20
    bias = rng.integers(-(2**31) + 1, 2**31, size, dtype=np.int64)
    bias >>= rng.integers(0, 24, size)
    x, w = np.zeros((1, 1, 1, 1), np.uint8), np.zeros((size, 1, 1, 1), np.int8)
    m = (rng.uniform(50, 200, size) / np.maximum(np.abs(bias), 1)).astype(np.float32)
    y = kernels.conv2d(x, w, bias.astype(np.int32), kernels.Requant.f32(m), kernels.Output("s8", -3))
    expected = np.clip(np.rint(np.clip(bias.astype(np.float32) * m, -(2**15), 2**15)).astype(np.int64) - 3, -128, 127)
    np.testing.assert_array_equal(y.ravel(), expected)
