"""Golden texts: what the reader makes of four small models, field by field."""

from __future__ import annotations

import numpy as np
import pytest
from qdq import Qdq

from prunus.compiler.integer.check import check_graph
from prunus.compiler.integer.from_qdq import read_qdq
from prunus.compiler.integer.text import describe
from prunus.compiler.model.model import Model
from prunus.compiler.target import Formats


def residual() -> Model:
    """Convolutions, a strided shortcut, an addition, both kinds of pooling, a linear head with a Softmax."""
    net = Qdq((3, 12, 12), seed=1)
    x = net.quantized(net.node("Transpose", [net.input], perm=[0, 1, 3, 2]), 0.021, 120)
    x = net.quantized(net.relu(net.conv(x, 3, 8, pads=[1] * 4)), 0.0173)
    left = net.quantized(net.conv(x, 8, 16, pads=[1] * 4, strides=[2, 2]), 0.0219, 128)
    right = net.quantized(net.conv(x, 8, 16, (1, 1), strides=[2, 2]), 0.0257, 131)
    x = net.quantized(net.relu(net.node("Add", [left, right])), 0.0231)
    x = net.quantized(net.node("MaxPool", [x], kernel_shape=[2, 2], strides=[2, 2]), 0.0231)
    x = net.quantized(net.node("GlobalAveragePool", [x]), 0.0119)
    flat = net.node("Flatten", [x])
    net.scales[flat] = net.scales[x]
    return net.model(net.node("Softmax", [net.quantized(net.gemm(flat, 16, 5), 0.0331, 127)]))


def sequence() -> Model:
    """1-D and depthwise convolutions, a table, a concatenation, narrow weights and activations."""
    net = Qdq((4, 20), seed=2)
    x = net.quantized(net.input, 0.021, 5, "s8")
    a = net.quantized(net.conv(x, 4, 4, (3,), group=4, pads=[2, 0]), 0.017, -3, "s8")
    b = net.quantized(net.clip(net.conv(x, 4, 6, (3,), pads=[1, 1], limit=7), -1.0, 0.875), 0.125, 0, "s8")
    a = net.quantized(net.node("Mul", [a, net.node("Sigmoid", [a])]), 0.011, -100, "s8")
    y = net.node("Concat", [a, b], axis=1)
    return net.model(net.quantized(y, 0.013, 4, "s8"))


def islands() -> Model:
    """Two float regions with an integer operator between them, and one float value used twice."""
    net = Qdq((3, 6, 6), seed=3)
    x = net.quantized(net.input, 0.021, 120)
    norm = [net.constant(np.ones(3, np.float32)), net.constant(np.zeros(3, np.float32))]
    y = net.node("Atan", [net.node("InstanceNormalization", [x, *norm])])
    y = net.quantized(net.conv(net.quantized(y, 0.013, 128), 3, 4, (1, 1)), 0.0317, 128)
    return net.model(net.node("LpNormalization", [y], axis=1))


def pow2() -> Model:
    """Powers of two: an average that needs multipliers all the same, a left shift, an integer Softmax."""
    net = Qdq((3, 7, 7), seed=4)
    x = net.quantized(net.input, 2.0**-5, 0, "s8")
    x = net.quantized(net.relu(net.conv(x, 3, 4, pow2=True)), 2.0**-4)
    x = net.quantized(net.node("AveragePool", [x], kernel_shape=[3, 3], pads=[1] * 4), 2.0**-5)
    x = net.quantized(net.node("Mul", [x, x]), 2.0**-14)
    return net.model(net.quantized(net.node("Softmax", [x], axis=1), 2.0**-8))


NETS = {
    "residual": (residual, "f32"),
    "sequence": (sequence, "fixed"),
    "islands": (islands, "f32"),
    "pow2": (pow2, "pow2"),
}


@pytest.mark.parametrize("name", NETS)
def test_golden(name, golden):
    make, scheme = NETS[name]
    graph = read_qdq(make(), Formats(scheme=scheme, softmax="integer" if scheme == "pow2" else "float"))
    check_graph(graph)
    golden(f"integer/{name}.txt", describe(graph))
