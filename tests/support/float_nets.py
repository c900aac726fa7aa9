"""Small float networks with random weights, written node by node: what quantization is tested on.

net = FloatNet((3, 8, 8), seed=1)
y = net.relu(net.conv(net.input, 16))
model = net.model(y)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper, numpy_helper

from prunus.compiler.data import Data
from prunus.compiler.model.edit import infer_shapes
from prunus.compiler.model.model import Model


class FloatNet:
    """Collects nodes and weights; every method returns the name of the new value."""

    def __init__(
        self, shape: tuple[int, ...], seed: int = 0, *, batch: int | str = "batch", dtype: int = onnx.TensorProto.FLOAT
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.shape, self.dtype = shape, dtype
        self.input = "t0001"
        self.inputs = [helper.make_tensor_value_info(self.input, dtype, [batch, *shape])]
        self.channels = {self.input: shape[0]}
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._next = 2

    def _name(self, prefix: str = "t") -> str:
        self._next += 1
        return f"{prefix}{self._next - 1:04d}"

    def constant(self, array: Any, dtype: Any = np.float32) -> str:
        name = self._name()
        self.weights.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def op(self, op_type: str, *inputs: str, channels: int | None = None, **attributes: Any) -> str:
        """Any node with one output; its channel count is that of the first input unless given."""
        output = self._name()
        self.nodes.append(helper.make_node(op_type, list(inputs), [output], self._name("n"), **attributes))
        self.channels[output] = self.channels.get(inputs[0], 0) if channels is None else channels
        return output

    def conv(self, x: str, out: int, kernel: int = 3, *, group: int = 1, bias: bool = True, scale: Any = 1.0) -> str:
        inside = self.channels[x] // group
        weight = self.rng.normal(size=(out, inside, kernel, kernel)) * np.sqrt(2 / (inside * kernel * kernel))
        inputs = [x, self.constant(weight * np.broadcast_to(scale, out).reshape(-1, 1, 1, 1))]
        if bias:
            inputs.append(self.constant(self.rng.normal(size=out) * 0.1))
        pads = [kernel // 2] * 4
        return self.op("Conv", *inputs, channels=out, kernel_shape=[kernel] * 2, pads=pads, group=group)

    def gemm(self, x: str, inside: int, out: int, **attributes: Any) -> str:
        shape = (out, inside) if attributes.setdefault("transB", 1) else (inside, out)
        weight = self.constant(self.rng.normal(size=shape) / np.sqrt(inside))
        return self.op("Gemm", x, weight, self.constant(self.rng.normal(size=out) * 0.1), channels=out, **attributes)

    def relu(self, x: str) -> str:
        return self.op("Relu", x)

    def flat(self, x: str) -> str:
        return self.op("Flatten", x, axis=1)

    def model(self, *outputs: str) -> Model:
        """The network with the given outputs, types and shapes inferred."""
        infos = [onnx.ValueInfoProto(name=name) for name in outputs]
        graph = helper.make_graph(self.nodes, "net", self.inputs, infos, self.weights)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        model = Model(ir.from_proto(proto))
        infer_shapes(model)
        return model

    def data(self, count: int = 32, seed: int = 1) -> Data:
        """Normal samples for the input (0..255 for integer inputs)."""
        rng = np.random.default_rng(seed)
        if self.dtype == onnx.TensorProto.UINT8:
            return Data({self.input: rng.integers(0, 256, (count, *self.shape)).astype(np.uint8)})
        return Data({self.input: rng.normal(size=(count, *self.shape)).astype(np.float32)})


def residual_net(seed: int = 0, channels: int = 8, classes: int = 5) -> FloatNet:
    """Convolution, residual block, max and average pooling, fully connected layer, Softmax; output in `net.output`."""
    net = FloatNet((3, 8, 8), seed)
    x = net.relu(net.conv(net.input, channels))
    y = net.conv(net.relu(net.conv(x, channels)), channels)
    x = net.relu(net.op("Add", x, y))
    x = net.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = net.op("GlobalAveragePool", x)
    net.logits = net.gemm(net.flat(x), channels, classes)  # type: ignore[attr-defined]
    net.output = net.op("Softmax", net.logits, axis=1)  # type: ignore[attr-defined]
    return net
