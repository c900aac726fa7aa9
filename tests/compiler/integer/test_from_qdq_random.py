"""Random small networks: the integer reference against onnxruntime layer by layer, and against exact rationals."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdq import Qdq, feed

from prunus.compiler.analysis.witness import witness
from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops
from prunus.compiler.integer.check import check_graph
from prunus.compiler.integer.from_qdq import read_qdq
from prunus.compiler.target import Formats

# odd numbers in the last place: no simple ratios between scales, hence few ties for float32 to break its own way
SCALES = (0.011713, 0.017331, 0.021137, 0.029171, 0.037579)
EQUAL = 0.9999  # share of equal elements in sums of products; averages and additions tie more often


@st.composite
def nets(draw) -> tuple[Qdq, str]:
    """Two to six layers of convolutions, additions, poolings and concatenations on 4 to 8 channels."""
    net = Qdq((4, draw(st.integers(6, 9)), draw(st.integers(6, 9))), seed=draw(st.integers(0, 10**6)))
    dtype = draw(st.sampled_from(["u8", "s8"]))
    types: dict[str, tuple[float, int, str]] = {}

    def quantized(x: str, relu: bool) -> str:
        scale = draw(st.sampled_from(SCALES))
        low, high = (0, 255) if dtype == "u8" else (-128, 127)
        zero = low if relu else draw(st.integers(low + 64, high - 64))
        y = net.quantized(net.relu(x) if relu else x, scale, zero, dtype)
        types[y] = (scale, zero, dtype)
        return y

    tensors = [(quantized(net.input, False), 4)]
    for _ in range(draw(st.integers(2, 6))):
        kind = draw(st.sampled_from(["conv", "conv", "depthwise", "add", "concat", "maxpool", "avgpool"]))
        x, channels = tensors[-1]
        other, other_channels = draw(st.sampled_from(tensors))
        relu = draw(st.booleans())
        if kind == "conv":
            out = draw(st.sampled_from([4, 8]))
            per_channel = draw(st.booleans())
            y = quantized(net.conv(x, channels, out, pads=[1] * 4, per_channel=per_channel), relu)
            tensors.append((y, out))
        elif kind == "depthwise":
            y = quantized(net.conv(x, channels, channels, group=channels, pads=[1] * 4), relu)
            tensors.append((y, channels))
        elif kind == "add" and channels == other_channels:
            tensors.append((quantized(net.node("Add", [x, other]), relu), channels))
        elif kind == "concat" and channels + other_channels <= 16:
            tensors.append((quantized(net.node("Concat", [x, other], axis=1), False), channels + other_channels))
        elif kind == "maxpool":
            y = net.node("MaxPool", [x], kernel_shape=[3, 3], pads=[1] * 4)
            tensors.append((net.quantized(y, *types[x]), channels))  # the same type before and after
            types[tensors[-1][0]] = types[x]
        else:
            pool = net.node("AveragePool", [x], kernel_shape=[3, 3], pads=[1] * 4)
            tensors.append((quantized(pool, False), channels))
    return net, quantized(tensors[-1][0], False)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
@given(nets(), st.sampled_from(["f32", "fixed"]))
def test_every_layer_is_within_one_of_onnxruntime(built, scheme):
    net, output = built
    model = net.model(output)
    graph = read_qdq(model, Formats(scheme=scheme))
    check_graph(graph)
    assert not any(isinstance(op, ir.Island) for op in graph.ops)
    found = witness(model, graph, feed(model, net.data(4)))
    assert found.max_difference <= 1
    linear = [layer for layer in found.layers if layer.kind in ("quantize", "conv", "depthwise", "maxpool")]
    assert sum(layer.equal * layer.elements for layer in linear) >= EQUAL * sum(layer.elements for layer in linear)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(nets())
def test_fixed_point_is_the_exact_rational_rounded_once(built):
    """An independent evaluation with Python's integers and fractions, on some elements of every convolution."""
    net, output = built
    model = net.model(output)
    graph = read_qdq(model, Formats(scheme="fixed"))
    data = feed(model, net.data(1))
    values = ops.run(graph, data.inputs, keep=True)
    for op in graph.ops:
        if isinstance(op, ir.QConv):
            x, y = values[op.inputs[0]][0], values[op.output][0]
            for place in ((0, 0, 0), (op.weight.shape[0] - 1, 2, 3), (1, y.shape[1] - 1, y.shape[2] - 1)):
                assert int(y[place]) == slow_conv(graph, op, x, place)


def slow_conv(graph: ir.Graph, op: ir.QConv, x: np.ndarray, place: tuple[int, int, int]) -> int:
    """One output of a convolution of group 1, loop by loop; `round` of a Fraction is half to even."""
    out, row, column = place
    zero, target = graph.quant(op.inputs[0]).zero_point, graph.quant(op.output)
    (top, left, _, _), (sh, sw), (dh, dw) = op.window.pads, op.window.strides, op.window.dilations
    acc = int(op.bias[out])
    for channel in range(x.shape[0]):
        for i in range(op.window.kernel[0]):
            for j in range(op.window.kernel[1]):
                r, c = row * sh - top + i * dh, column * sw - left + j * dw
                if 0 <= r < x.shape[1] and 0 <= c < x.shape[2]:
                    acc += (int(x[channel, r, c]) - zero) * int(op.weight[out, channel, i, j])
    entry = out if op.requant.size > 1 else 0
    ratio = Fraction(int(op.requant.multiplier[entry]), 2 ** int(op.requant.shift[entry]))
    return min(max(round(acc * ratio) + target.zero_point, op.qmin), op.qmax)
