"""Graphs with float islands in the middle, and the real networks, as integer graphs with samples."""

from __future__ import annotations

import numpy as np
import onnx
import qdq

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer.from_qdq import read_qdq
from prunus.compiler.target import Formats

Feeds = dict[str, np.ndarray]


def with_islands(seed: int = 0) -> tuple[ir.Graph, Feeds]:
    """Two islands one after the other and one at the end; a branch passes by each of them."""
    net = qdq.Qdq((4, 6, 6), seed)
    x = net.quantized(net.input, 1 / 32, 128)
    first = net.quantized(net.relu(net.conv(x, 4, 8, pads=[1] * 4)), 1 / 64)
    local = net.quantized(net.node("LRN", [first], size=3), 1 / 127, 128)
    second = net.quantized(net.conv(local, 8, 8, (1, 1)), 1 / 32, 128)
    joined = net.quantized(net.node("Add", [first, second]), 1 / 24, 100)
    wider = net.quantized(net.node("LRN", [joined], size=5), 1 / 127, 128)
    third = net.quantized(net.node("Add", [wider, first]), 1 / 48, 90)
    pooled = net.quantized(net.node("GlobalAveragePool", [third]), 1 / 100, 100)
    logits = net.node("Flatten", [net.quantized(net.conv(pooled, 8, 5, (1, 1)), 1 / 48, 128)])
    model = net.model(net.node("Softmax", [logits]), joined)
    graph = read_qdq(model, Formats())
    return graph, {graph.inputs[0]: net.data(6)}


def with_subgraph() -> ir.Island:
    """An island whose node holds a subgraph that refers to the island's own values."""
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    island (float[n, 3] t1) => (float[n, 3] t2)
    <float one = {1.0}>
    {
      total = ReduceSum (t1)
      flag = Greater (total, one)
      t2 = If (flag) <
        then_branch = yes () => (float[n, 3] y) { y = Add (t1, one) },
        else_branch = no () => (float[n, 3] y) { h = Neg (t1)  y = Mul (h, one) }
      >
    }
    """
    data = onnx.parser.parse_model(text).SerializeToString()
    return ir.Island(name="op", inputs=("a",), output="b", model=data, reason="float")
