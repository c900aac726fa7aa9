"""Small integer graphs built straight from the types: what targets and kernels test against without the compiler.

    graph, feeds = residual_cnn("pow2", seed=3)
    expected = ops.run(graph, feeds, keep=True)

Weights are random, scales are chosen from the values that really occur, so that every tensor uses its range and
saturates now and then. `f32` and `fixed` graphs are u8 with zero points; `pow2` ones have zero point 0 and scales 2^k.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops, requant

Feeds = dict[str, np.ndarray]


class Builder:
    """Appends operators one by one and evaluates each on `samples` random inputs to choose its output's scale."""

    def __init__(
        self,
        shape: tuple[int, ...],
        scheme: ir.Scheme,
        seed: int,
        *,
        samples: int = 4,
        bits: int = 31,
        per_channel: bool = True,
        density: float = 1.0,
        block: tuple[int, int] = (1, 1),
    ) -> None:
        self.rng = np.random.default_rng(seed)
        self.scheme, self.bits, self.per_channel = scheme, bits, per_channel
        self.density, self.block = density, block
        self.tensors: dict[str, ir.Tensor] = {}
        self.ops: list[ir.Op] = []
        data = self.rng.normal(size=(samples, *shape)).astype(np.float32)
        self.values: Feeds = {"t0000": data}
        self.tensors["t0000"] = ir.Tensor("t0000", shape)

    # -- names, types, weights --------------------------------------------------------------------------------

    def _scale(self, scale: float) -> float:
        if self.scheme == "pow2":
            scale = 2.0 ** np.ceil(np.log2(scale))
        return float(np.float32(scale))

    def _type(self, real: np.ndarray, relu: bool) -> ir.QType:
        """A type for real values that clips the outermost 0.5 %."""
        low, high = np.quantile(real, 0.005), np.quantile(real, 0.995)
        if relu:
            return ir.QType("u8", self._scale(max(high, 1e-3) / 255))
        if self.scheme == "pow2":
            return ir.QType("s8", self._scale(max(-low, high, 1e-3) / 127))
        low, high = min(low, 0.0), max(high, 1e-3)
        scale = self._scale((high - low) / 255)
        return ir.QType("u8", scale, int(np.clip(np.rint(-low / scale), 0, 255)))

    def _weight(self, shape: tuple[int, ...], mask: bool = True) -> tuple[np.ndarray, np.ndarray]:
        """(int8 weights, scales), some blocks zero where a density below 1 was asked for."""
        real = self.rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
        if mask and self.density < 1:
            rows, columns = -(-shape[0] // self.block[0]), -(-shape[1] // self.block[1])
            kept = self.rng.random((rows, columns, *shape[2:])) < self.density
            real *= kept.repeat(self.block[0], 0).repeat(self.block[1], 1)[: shape[0], : shape[1]]
        peak = np.abs(real).reshape(shape[0], -1).max(axis=1)
        peak = np.where(peak == 0, np.median(peak[peak > 0], axis=0) if peak.any() else 1.0, peak)
        if not self.per_channel:
            peak = peak.max(keepdims=True)
        scale = np.array([self._scale(p / 127) for p in peak], np.float32)
        steps = real / scale.astype(np.float64).reshape(-1, *[1] * (len(shape) - 1))
        return np.clip(np.rint(steps), -127, 127).astype(np.int8), scale

    def _append(self, op: ir.Op, shape: tuple[int, ...], quant: ir.QType | None, dtype: str = "float32") -> str:
        self.tensors[op.output] = ir.Tensor(op.output, shape, quant, dtype)
        self.ops.append(op)
        graph = ir.Graph("partial", (), (), self.tensors, (op,), self.scheme)
        self.values[op.output] = ops.evaluate(graph, op, tuple(self.values[name] for name in op.inputs))[0]
        assert self.values[op.output].shape[1:] == shape
        return op.output

    def _names(self, *inputs: str) -> dict[str, Any]:
        number = len(self.ops) + 1
        return {"name": f"n{number:04d}", "inputs": inputs, "output": f"t{number:04d}"}

    def _quant(self, name: str) -> ir.QType:
        quant = self.tensors[name].quant
        assert quant is not None
        return quant

    def _real(self, name: str) -> np.ndarray:
        quant = self._quant(name)
        return (self.values[name].astype(np.float64) - quant.zero_point) * quant.scale

    # -- operators --------------------------------------------------------------------------------------------

    def quantize(self, x: str = "t0000") -> str:
        quant = self._type(self.values[x], relu=False)
        op = ir.Quantize(**self._names(x), scale=quant.scale, zero_point=quant.zero_point)
        return self._append(op, self.tensors[x].shape, quant)

    def dequantize(self, x: str) -> str:
        return self._append(ir.Dequantize(**self._names(x)), self.tensors[x].shape, None)

    def _linear(self, cls: type[ir.Linear], x: str, weight: Any, relu: bool, **extra: Any) -> str:
        source, (q, scale) = self._quant(x), weight
        bias = np.rint(self.rng.normal(size=len(q)) * 0.1 / (source.scale * scale)).astype(np.int32)
        wide = ir.Requant("f32", np.ones(1, np.float32), np.zeros(1, np.int32))
        fields = {**self._names(x), "weight": q, "bias": bias, "weight_scale": scale, **extra}
        probe = cls(**fields, requant=wide, qmin=0, qmax=0)
        acc = accumulate(probe, source, self.values[x])
        axis = -1 if cls is ir.QGemm else 1
        shape = [-1 if i == axis % acc.ndim else 1 for i in range(acc.ndim)]
        quant = self._type(
            acc * (source.scale * scale.astype(np.float64)).reshape(shape if scale.size > 1 else -1), relu
        )
        op = cls(
            **fields,
            requant=requant.product([source.scale, scale], quant.scale, self.scheme, self.bits),
            qmin=quant.zero_point if relu else quant.qmin,
            qmax=quant.qmax,
        )
        assert ops.accumulator_bound(op, source) <= ops.INT32_MAX
        return self._append(op, acc.shape[1:], quant)

    def conv(self, x: str, out: int, kernel: int = 3, stride: int = 1, group: int = 1, relu: bool = True) -> str:
        window = ir.Window(kernel=(kernel, kernel), strides=(stride, stride), pads=(kernel // 2,) * 4)
        weight = self._weight((out, self.tensors[x].shape[0] // group, kernel, kernel))
        return self._linear(ir.QConv, x, weight, relu, window=window, group=group)

    def depthwise(self, x: str, kernel: int = 3, stride: int = 1, multiplier: int = 1, relu: bool = True) -> str:
        window = ir.Window(kernel=(kernel, kernel), strides=(stride, stride), pads=(kernel // 2,) * 4)
        weight = self._weight((self.tensors[x].shape[0] * multiplier, 1, kernel, kernel), mask=False)
        return self._linear(ir.QDepthwise, x, weight, relu, window=window)

    def gemm(self, x: str, out: int, relu: bool = True) -> str:
        return self._linear(ir.QGemm, x, self._weight((out, self.tensors[x].shape[-1])), relu)

    def add(self, a: str, b: str, relu: bool = True) -> str:
        real = sum(
            (self.values[n].astype(np.float64) - self._quant(n).zero_point) * self._quant(n).scale for n in (a, b)
        )
        quant = self._type(real, relu)
        scales = [self._quant(a).scale, self._quant(b).scale]
        m = requant.inputs_of_sum(scales, quant.scale, self.scheme, self.bits)
        qmin = quant.zero_point if relu else quant.qmin
        return self._append(ir.QAdd(**self._names(a, b), requant=m, qmin=qmin, qmax=quant.qmax), real.shape[1:], quant)

    def maxpool(self, x: str, kernel: int = 2, stride: int = 2) -> str:
        channels, height, width = self.tensors[x].shape
        window = ir.Window(kernel=(kernel, kernel), strides=(stride, stride))
        shape = (channels, *window.output_size(height, width))
        return self._append(ir.QMaxPool(**self._names(x), window=window), shape, self._quant(x))

    def global_average(self, x: str) -> str:
        channels, height, width = self.tensors[x].shape
        source = self._quant(x)
        quant = self._type(self._real(x).mean(axis=(2, 3)), relu=source.zero_point == 0 and source.dtype == "u8")
        op = ir.QAvgPool(
            **self._names(x),
            window=ir.Window(kernel=(height, width)),
            count_index=np.zeros((1, 1), np.int32),
            requant=requant.average(source.scale, quant.scale, [height * width], self.scheme, self.bits),
            qmin=quant.qmin,
            qmax=quant.qmax,
        )
        return self._append(op, (channels, 1, 1), quant)

    def flatten(self, x: str) -> str:
        return self._append(ir.QReshape(**self._names(x)), (self.tensors[x].size,), self._quant(x))

    def softmax(self, x: str) -> str:
        """A terminal Softmax: a float island over the last dimension."""
        size, names = self.tensors[x].shape[-1], self._names(x)
        value = onnx.helper.make_tensor_value_info
        body = onnx.helper.make_graph(
            [onnx.helper.make_node("Softmax", [x], [names["output"]], axis=-1)],
            names["name"],
            [value(x, onnx.TensorProto.FLOAT, ["N", size])],
            [value(names["output"], onnx.TensorProto.FLOAT, ["N", size])],
        )
        model = onnx.helper.make_model(body, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 21)])
        op = ir.Island(**names, model=model.SerializeToString(deterministic=True), reason="terminal-softmax")
        return self._append(op, (size,), None)

    def finish(self, name: str, output: str) -> tuple[ir.Graph, Feeds]:
        graph = ir.Graph(name, ("t0000",), (output,), self.tensors, tuple(self.ops), self.scheme)
        return graph, {"t0000": self.values["t0000"]}


def accumulate(op: ir.Linear, source: ir.QType, data: np.ndarray) -> np.ndarray:
    """The int64 accumulators of a linear operator."""
    if isinstance(op, ir.QConv):
        return ops.conv_accumulate(op, source, data)
    if isinstance(op, ir.QDepthwise):
        return ops.depthwise_accumulate(op, source, data)
    return (data.astype(np.int64) - source.zero_point) @ op.weight.T.astype(np.int64) + op.bias


def mlp(
    scheme: ir.Scheme = "f32", seed: int = 0, *, features: tuple[int, ...] = (16, 32, 16, 5), **options: Any
) -> tuple[ir.Graph, Feeds]:
    """Quantize, three fully connected layers (Relu but on the last), dequantize, softmax. Returns (graph, feeds)."""
    build = Builder(features[:1], scheme, seed, **options)
    x = build.quantize()
    for out in features[1:]:
        x = build.gemm(x, out, relu=out != features[-1])
    return build.finish("mlp", build.softmax(build.dequantize(x)))


def residual_cnn(
    scheme: ir.Scheme = "f32",
    seed: int = 0,
    *,
    shape: tuple[int, int, int] = (3, 12, 12),
    width: int = 8,
    **options: Any,
) -> tuple[ir.Graph, Feeds]:
    """Two residual blocks, the second strided with a 1x1 shortcut, max and global average pooling, a linear head."""
    build = Builder(shape, scheme, seed, **options)
    x = build.conv(build.quantize(), width)
    x = build.add(x, build.conv(build.conv(x, width), width, relu=False))
    branch = build.conv(build.conv(x, 2 * width, stride=2), 2 * width, relu=False)
    x = build.add(branch, build.conv(x, 2 * width, kernel=1, stride=2, relu=False))
    x = build.flatten(build.global_average(build.maxpool(x)))
    return build.finish("residual_cnn", build.dequantize(build.gemm(x, 10, relu=False)))


def depthwise_cnn(
    scheme: ir.Scheme = "f32",
    seed: int = 0,
    *,
    shape: tuple[int, int, int] = (3, 13, 9),
    width: int = 8,
    **options: Any,
) -> tuple[ir.Graph, Feeds]:
    """A strided convolution and three depthwise-separable blocks (the last with multiplier 2), a linear head."""
    build = Builder(shape, scheme, seed, **options)
    x = build.conv(build.quantize(), width, stride=2)
    for stride, multiplier in ((1, 1), (2, 1), (1, 2)):
        x = build.conv(build.depthwise(x, stride=stride, multiplier=multiplier), 2 * width, kernel=1)
    x = build.flatten(build.global_average(x))
    return build.finish("depthwise_cnn", build.dequantize(build.gemm(x, 12, relu=False)))
