"""Small QDQ models made node by node, for tests of what reads them.

    net = Qdq((3, 8, 8))
    x = net.quantized(net.input, 1 / 32, 128)
    y = net.quantized(net.relu(net.conv(x, 8, 3, pads=[1] * 4)), 1 / 64, 0)
    model = net.model(y)

Every method takes and gives names of float values; `quantized` is a QuantizeLinear and its DequantizeLinear.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from prunus.compiler.data import Data
from prunus.compiler.model.load import load_proto
from prunus.compiler.model.model import Model

ZERO_TYPES = {"u8": np.uint8, "s8": np.int8, "u16": np.uint16}


class Qdq:
    """A model under construction. `types` remembers the (scale, zero point) of every dequantized value."""

    def __init__(
        self, shape: tuple[int, ...], seed: int = 0, *, batch: int | str = "N", dtype: int = TensorProto.FLOAT
    ):
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self.scales: dict[str, float] = {}
        self.shape, self.batch, self.dtype = shape, batch, dtype
        self.input = "x"

    def constant(self, array: Any, name: str | None = None) -> str:
        name = name or f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(array), name))
        return name

    def node(self, op_type: str, inputs: list[str], outputs: int = 1, **attributes: Any) -> Any:
        names = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op_type, inputs, names, name=f"{op_type}_{len(self.nodes)}", **attributes))
        return names[0] if outputs == 1 else names

    # -- quantization -------------------------------------------------------------------------------------------

    def quantize(self, x: str, scale: float, zero_point: int = 0, dtype: str = "u8") -> str:
        parameters = [self.constant(np.float32(scale)), self.constant(ZERO_TYPES[dtype](zero_point))]
        return self.node("QuantizeLinear", [x, *parameters])

    def dequantize(self, q: str, scale: float, zero_point: int = 0, dtype: str = "u8") -> str:
        parameters = [self.constant(np.float32(scale)), self.constant(ZERO_TYPES[dtype](zero_point))]
        name = self.node("DequantizeLinear", [q, *parameters])
        self.scales[name] = float(np.float32(scale))
        return name

    def quantized(self, x: str, scale: float, zero_point: int = 0, dtype: str = "u8") -> str:
        return self.dequantize(self.quantize(x, scale, zero_point, dtype), scale, zero_point, dtype)

    def weight(
        self, shape: tuple[int, ...], axis: int = 0, *, per_channel: bool = True, pow2: bool = False, limit: int = 127
    ) -> tuple[str, np.ndarray]:
        """(dequantized weight, its scales); random int8 values in [-limit, limit], channels of different scales."""
        channels = shape[axis] if per_channel else 1
        fan_in = max(int(np.prod(shape)) // shape[axis], 1)
        scale = self.rng.uniform(0.5, 1.5, channels) * 3 / (limit * np.sqrt(fan_in))
        scale = (2.0 ** np.round(np.log2(scale)) if pow2 else scale).astype(np.float32)
        integers = np.clip(np.rint(self.rng.normal(0, limit / 3, shape)), -limit, limit).astype(np.int8)
        parameters = [self.constant(scale if per_channel else scale[0])]
        parameters.append(self.constant(np.zeros(scale.shape if per_channel else (), np.int8)))
        attributes = {"axis": axis} if per_channel else {}
        return self.node("DequantizeLinear", [self.constant(integers), *parameters], **attributes), scale

    def bias(self, x: str, scale: np.ndarray, channels: int) -> str:
        """An int32 bias of order one behind a DequantizeLinear of scale s_x * s_w."""
        step = (np.float32(self.scales[x]) * scale).astype(np.float32)
        integers = np.rint(self.rng.normal(0, 0.5, channels) / step).astype(np.int32)
        attributes = {"axis": 0} if scale.size > 1 else {}
        step = step if scale.size > 1 else step[0]
        return self.node("DequantizeLinear", [self.constant(integers), self.constant(step)], **attributes)

    # -- layers -------------------------------------------------------------------------------------------------

    def conv(
        self,
        x: str,
        channels_in: int,
        out: int,
        kernel: tuple[int, ...] = (3, 3),
        *,
        bias: bool = True,
        **attributes: Any,
    ) -> str:
        options = {key: attributes.pop(key) for key in ("per_channel", "pow2", "limit") if key in attributes}
        weight, scale = self.weight((out, channels_in // attributes.get("group", 1), *kernel), **options)
        inputs = [x, weight, self.bias(x, scale, out)] if bias else [x, weight]
        return self.node("Conv", inputs, **attributes)

    def gemm(self, x: str, features: int, out: int, *, transposed: bool = True, **options: Any) -> str:
        shape, axis = ((out, features), 0) if transposed else ((features, out), 1)
        weight, scale = self.weight(shape, axis, **options)
        return self.node("Gemm", [x, weight, self.bias(x, scale, out)], transB=int(transposed))

    def relu(self, x: str) -> str:
        return self.node("Relu", [x])

    def clip(self, x: str, low: float, high: float) -> str:
        return self.node("Clip", [x, self.constant(np.float32(low)), self.constant(np.float32(high))])

    # -- the model ----------------------------------------------------------------------------------------------

    def proto(self, *outputs: str, opset: int = 21) -> onnx.ModelProto:
        info = helper.make_tensor_value_info(self.input, self.dtype, [self.batch, *self.shape])
        produced = {name: onnx.ValueInfoProto(name=name) for name in outputs}
        graph = helper.make_graph(self.nodes, "net", [info], list(produced.values()), self.constants)
        model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", opset)])
        return onnx.shape_inference.infer_shapes(model, data_prop=True)

    def model(self, *outputs: str, opset: int = 21) -> Model:
        return load_proto(self.proto(*outputs, opset=opset))

    def data(self, samples: int = 8, spread: float = 1.2) -> np.ndarray:
        shape = (samples if isinstance(self.batch, str) else self.batch, *self.shape)
        if self.dtype == TensorProto.FLOAT:
            return self.rng.normal(0, spread, shape).astype(np.float32)
        return self.rng.integers(0, 256, shape).astype(helper.tensor_dtype_to_np_dtype(self.dtype))


def feed(model: Model, array: np.ndarray) -> Data:
    """The samples under the plain name of the model's only input."""
    return Data({str(model.graph.inputs[0].name): array})
