"""Random integer networks of many operators, with inputs: what single operators cannot show is how they meet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops

Array = np.ndarray


class RandomNet:
    """Grows a graph operator by operator; every tensor's values are known, so that shapes and scales stay useful."""

    def __init__(self, seed: int, scheme: ir.Scheme | None = None) -> None:
        self.rng = np.random.default_rng(seed)
        self.scheme: ir.Scheme = scheme or self.rng.choice(["f32", "fixed", "pow2"])
        self.tensors: dict[str, ir.Tensor] = {}
        self.values: dict[str, Array] = {}
        self.inputs: list[str] = []
        self.ops: list[ir.Op] = []

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high, endpoint=True))

    def maybe(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def quant(self) -> ir.QType:
        dtype: ir.IntType = "u8" if self.maybe(0.5) else "s8"
        low = 0 if dtype == "u8" else -128
        return ir.QType(dtype, 1.0, 0 if self.scheme == "pow2" else self.integer(low, low + 255))

    def requant(self, size: int, ratio: float, one_shift: bool = False) -> ir.Requant:
        """Multipliers around `ratio`, so that results use the range and rarely saturate."""
        real = ratio * self.rng.uniform(0.5, 2, size)
        if self.scheme == "f32":
            return ir.Requant("f32", real.astype(np.float32), np.zeros(size, np.int32))
        exponent = np.floor(np.log2(real)).astype(np.int32)
        exponent = np.full(size, exponent.max()) if one_shift else exponent
        if self.scheme == "pow2":
            return ir.Requant("pow2", np.ones(size, np.int64), -exponent)
        multiplier = np.clip(real / np.exp2(exponent) * 2.0**29, 1, 2**31 - 1).astype(np.int64)
        return ir.Requant("fixed", multiplier, (29 - exponent).astype(np.int32))

    def input(self, *shape: int) -> str:
        name, quant = f"x{len(self.inputs)}", self.quant()
        self.tensors[name] = ir.Tensor(name, shape[1:], quant)
        self.values[name] = self.rng.integers(quant.qmin, quant.qmax, shape, endpoint=True).astype(
            ir.NUMPY_TYPE[quant.dtype]
        )
        self.inputs.append(name)
        return name

    def apply(self, kind: type[ir.Op], *inputs: str, quant: ir.QType | None = None, **fields: Any) -> str:
        """Adds one operator and its output, whose shape the reference tells."""
        name, quant = f"t{len(self.ops)}", quant or self.quant()
        if issubclass(kind, ir.Fused):
            low = self.integer(quant.qmin, quant.qmin + 90) if self.maybe(0.3) else quant.qmin
            fields |= {"qmin": low, "qmax": quant.qmax}
        shape = fields.pop("shape", ())
        op = kind(name=f"op{len(self.ops)}", inputs=inputs, output=name, **fields)
        self.tensors[name] = ir.Tensor(name, shape, quant)
        self.ops.append(op)
        (value,) = ops.evaluate(self.graph([name]), op, tuple(self.values[x] for x in inputs))
        self.tensors[name] = ir.Tensor(name, value.shape[1:], quant)
        self.values[name] = value
        return name

    def graph(self, outputs: list[str]) -> ir.Graph:
        return ir.Graph("g", tuple(self.inputs), tuple(outputs), dict(self.tensors), tuple(self.ops), self.scheme)

    # -- operators ----------------------------------------------------------------------------------------------

    def window(self, height: int, width: int) -> ir.Window:
        kernel = min(self.integer(1, 4), height), min(self.integer(1, 4), width)
        if self.maybe(0.4):
            kernel = (1, 1)
        dilations = tuple(2 if k > 1 and self.maybe(0.2) else 1 for k in kernel)
        reach = [(k - 1) * d for k, d in zip(kernel, dilations, strict=True)]
        pads = tuple(self.integer(0, r if self.maybe(0.9) else r + 3) for r in (*reach, *reach))
        lacking = [
            max(0, r + 1 - size - pads[i] - pads[i + 2])
            for i, (r, size) in enumerate(zip(reach, (height, width), strict=True))
        ]
        pads = (pads[0] + lacking[0], pads[1] + lacking[1], pads[2], pads[3])
        strides = (1, 1) if self.maybe(0.6) else (self.integer(1, 3), self.integer(1, 3))
        return ir.Window(kernel=kernel, strides=strides, pads=pads, dilations=dilations)  # type: ignore[arg-type]

    def sparse(self, shape: tuple[int, ...]) -> Array:
        """Weights with any share of zeros, in blocks or not."""
        weight = self.rng.integers(-127, 127, shape, endpoint=True)
        density = self.rng.choice([1.0, 0.5, 0.1])
        rows, columns = self.rng.choice([[1, 1], [4, 4], [16, 4], [32, 4]])
        grid = -(-shape[0] // rows), -(-shape[1] // columns)
        mask = np.kron(self.rng.random(grid) < density, np.ones((rows, columns)))[: shape[0], : shape[1]]
        return (weight * mask.reshape(mask.shape + (1,) * (weight.ndim - 2))).astype(np.int8)

    def linear(self, kind: type[ir.Linear], x: str, shape: tuple[int, ...], **fields: Any) -> str:
        depth = float(np.prod(shape[1:]))
        size = shape[0] if self.maybe(0.8) else 1
        fields["weight"] = self.sparse(shape)
        fields["bias"] = self.rng.integers(-9000, 9000, shape[0]).astype(np.int32)
        fields["requant"] = self.requant(size, 1 / (70 * np.sqrt(depth)))
        return self.apply(kind, x, weight_scale=np.ones(1, np.float32), **fields)

    def conv(self, x: str) -> str:
        _, channels, height, width = self.values[x].shape
        window = self.window(height, width)
        group = int(self.rng.choice([g for g in (1, 1, 1, 2, 3, channels) if channels % g == 0]))
        out = group * self.integer(1, max(1, 70 // group))
        return self.linear(ir.QConv, x, (out, channels // group, *window.kernel), window=window, group=group)

    def depthwise(self, x: str) -> str:
        _, channels, height, width = self.values[x].shape
        window = self.window(height, width)
        multiplier = 2 if channels < 20 and self.maybe(0.2) else 1
        return self.linear(ir.QDepthwise, x, (channels * multiplier, 1, *window.kernel), window=window)

    def gemm(self, x: str) -> str:
        return self.linear(ir.QGemm, x, (self.integer(1, 90), self.values[x].shape[-1]))

    def flatten(self, x: str) -> str:
        shape = (int(np.prod(self.values[x].shape[1:])),)
        return self.apply(ir.QReshape, x, quant=self.tensors[x].quant, shape=shape)

    def binary(self, x: str) -> str:
        """With a tensor of the same shape, one element per channel, or itself."""
        alike = [n for n, v in self.values.items() if v.shape == self.values[x].shape]
        other = str(self.rng.choice(alike))
        if self.values[x].ndim == 4 and self.maybe(0.3):
            other = self.global_average(x)
        pair = (x, other) if self.maybe(0.5) else (other, x)
        if self.maybe(0.5):
            return self.apply(ir.QAdd, *pair, requant=self.requant(2, 0.5, one_shift=True))
        return self.apply(ir.QMul, *pair, requant=self.requant(1, 0.01))

    def residual(self, x: str) -> str:
        """A convolution of the same shape, added to its own input."""
        _, channels, height, width = self.values[x].shape
        taps = 3 if min(height, width) > 2 else 1
        window = ir.Window(kernel=(taps, taps), pads=(taps // 2,) * 4)
        y = self.linear(ir.QConv, x, (channels, channels, taps, taps), window=window)
        pair = (x, y) if self.maybe(0.5) else (y, x)
        if self.maybe(0.7):
            return self.apply(ir.QAdd, *pair, requant=self.requant(2, 0.5, one_shift=True))
        return self.apply(ir.QMul, *pair, requant=self.requant(1, 0.01))

    def concat(self, x: str) -> str:
        shape = self.values[x].shape
        axis = 1 if len(shape) == 4 else len(shape) - 1
        fitting = [
            n
            for n, v in self.values.items()
            if v.ndim == len(shape)
            and v.size
            and (*v.shape[:axis], *v.shape[axis + 1 :]) == (*shape[:axis], *shape[axis + 1 :])
        ]
        parts = [x, *(str(n) for n in self.rng.choice(fitting, self.integer(1, 3)))]
        quant = self.tensors[parts[-1]].quant if self.maybe(0.6) else None
        return self.apply(ir.QConcat, *parts, quant=quant, axis=axis - 1, requant=self.requant(len(parts), 1.0))

    def maxpool(self, x: str) -> str:
        _, _, height, width = self.values[x].shape
        return self.apply(ir.QMaxPool, x, quant=self.tensors[x].quant, window=self.window(height, width))

    def average(self, x: str) -> str:
        _, _, height, width = self.values[x].shape
        window = self.window(height, width)
        rows, columns = window.output_size(height, width)
        count = int(np.prod(window.kernel))
        if self.maybe(0.5):
            requant, index = self.requant(1, 1 / count), np.zeros((rows, columns), np.int32)
        else:
            requant, index = self.requant(3, 1 / count), self.rng.integers(0, 3, (rows, columns)).astype(np.int32)
        return self.apply(ir.QAvgPool, x, window=window, requant=requant, count_index=index)

    def global_average(self, x: str) -> str:
        kernel = self.values[x].shape[2:]
        index = np.zeros((1, 1), np.int32)
        requant = self.requant(1, 1 / float(np.prod(kernel)))
        return self.apply(ir.QAvgPool, x, window=ir.Window(kernel=kernel), requant=requant, count_index=index)

    def lut(self, x: str) -> str:
        quant = self.quant()
        table = self.rng.integers(quant.qmin, quant.qmax, 256, endpoint=True)
        return self.apply(ir.QLut, x, quant=quant, table=table)

    def requantize(self, x: str) -> str:
        return self.apply(ir.QRequant, x, requant=self.requant(1, 1.0))

    def cut(self, x: str) -> str:
        shape = self.values[x].shape[1:]
        starts = tuple(
            self.integer(0, size - 1) // (4 if i == 0 and size > 4 else 1) * (4 if i == 0 and size > 4 else 1)
            for i, size in enumerate(shape)
        )
        steps = tuple(1 if i == 0 else self.integer(1, 2) for i in range(len(shape)))
        return self.apply(ir.QSlice, x, quant=self.tensors[x].quant, starts=starts, stops=shape, steps=steps)

    def pad(self, x: str) -> str:
        quant = self.tensors[x].quant
        assert quant is not None
        rank = self.values[x].ndim - 1
        before, after = (tuple(0 if i == 0 else self.integer(0, 2) for i in range(rank)) for _ in range(2))
        return self.apply(
            ir.QPad, x, quant=quant, before=before, after=after, value=self.integer(quant.qmin, quant.qmax)
        )

    def resize(self, x: str) -> str:
        _, _, height, width = self.values[x].shape
        rows, columns = (
            np.sort(self.rng.integers(0, size, self.integer(1, 2 * size))).astype(np.int32) for size in (height, width)
        )
        return self.apply(ir.QResize, x, quant=self.tensors[x].quant, rows=rows, columns=columns)

    def transpose(self, x: str) -> str:
        perm = tuple(int(i) for i in self.rng.permutation(self.values[x].ndim - 1))
        return self.apply(ir.QTranspose, x, quant=self.tensors[x].quant, perm=perm)


IMAGES: dict[Callable[[RandomNet, str], str], int] = {  # operators on [n, c, h, w], and how often they come
    RandomNet.conv: 6, RandomNet.residual: 4, RandomNet.depthwise: 3, RandomNet.binary: 4, RandomNet.concat: 3,
    RandomNet.maxpool: 2, RandomNet.average: 2, RandomNet.lut: 1, RandomNet.requantize: 1, RandomNet.cut: 1,
    RandomNet.pad: 1, RandomNet.resize: 1, RandomNet.transpose: 1, RandomNet.global_average: 1, RandomNet.flatten: 1,
}  # fmt: skip
MATRICES: dict[Callable[[RandomNet, str], str], int] = {  # on any other rank
    RandomNet.gemm: 5, RandomNet.binary: 3, RandomNet.concat: 2, RandomNet.lut: 1, RandomNet.requantize: 1,
}  # fmt: skip


def random_net(
    seed: int, length: int = 8, scheme: ir.Scheme | None = None
) -> tuple[ir.Graph, dict[str, Array], dict[str, Array]]:
    """(graph, inputs, every tensor's values). Some tensors inside are outputs, too."""
    net = RandomNet(seed, scheme)
    if net.maybe(0.8):
        x = net.input(net.integer(1, 3), net.integer(1, 40), net.integer(1, 12), net.integer(1, 12))
    else:
        x = net.input(net.integer(1, 20), *([net.integer(1, 5)] if net.maybe(0.3) else []), net.integer(1, 80))
    for _ in range(length):
        values = [name for name in net.values if net.values[name].size < 60_000]
        x = values[-1] if net.maybe(0.8) else str(net.rng.choice(values))
        table = IMAGES if net.values[x].ndim == 4 else MATRICES
        share = np.array(list(table.values())) / sum(table.values())
        list(table)[int(net.rng.choice(len(table), p=share))](net, x)
    names = [op.output for op in net.ops]
    outputs = [names[-1], *(name for name in names[:-1] if net.maybe(0.3))]
    return net.graph(outputs), {name: net.values[name] for name in net.inputs}, net.values
