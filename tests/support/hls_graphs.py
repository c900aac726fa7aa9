"""Integer graphs without zero points that hold every operator the HLS backend lowers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from graphs import Builder, Feeds

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import requant


class SymmetricBuilder(Builder):
    """A Builder whose types are symmetric under every scheme, with the rarer operators."""

    def _type(self, real: np.ndarray, relu: bool) -> ir.QType:
        high = max(float(np.quantile(np.abs(real), 0.995)), 1e-3)
        return ir.QType("u8", self._scale(high / 255)) if relu else ir.QType("s8", self._scale(high / 127))

    def _product(self, factors: list[float], divisor: float) -> ir.Requant:
        return requant.product(factors, divisor, self.scheme, self.bits)

    def narrowed(self, x: str, *, qmin: int | None = None, qmax: int | None = None, bits: int = 8) -> str:
        """The producer of x with another range (a fused Clip) or another width."""
        op, tensor = self.ops.pop(), self.tensors[x]
        assert isinstance(op, ir.Fused) and op.output == x
        quant = replace(self._quant(x), bits=bits)
        low = max(op.qmin, quant.qmin) if qmin is None else qmin
        high = min(op.qmax, quant.qmax) if qmax is None else qmax
        return self._append(replace(op, qmin=low, qmax=high), tensor.shape, quant)

    def mul(self, a: str, b: str, relu: bool = False) -> str:
        real = self._real(a) * self._real(b)
        quant = self._type(real, relu)
        m = self._product([self._quant(a).scale, self._quant(b).scale], quant.scale)
        op = ir.QMul(**self._names(a, b), requant=m, qmin=0 if relu else quant.qmin, qmax=quant.qmax)
        return self._append(op, real.shape[1:], quant)

    def requant(self, x: str, ratio: float, relu: bool) -> str:
        """A change of scale by `ratio`, clipped at zero with `relu`."""
        source = self._quant(x)
        quant = ir.QType("u8" if relu else "s8", self._scale(source.scale * ratio))
        m = self._product([source.scale], quant.scale)
        op = ir.QRequant(**self._names(x), requant=m, qmin=quant.qmin, qmax=quant.qmax)
        return self._append(op, self.tensors[x].shape, quant)

    def concat(self, *xs: str, axis: int = 0) -> str:
        quants = [self._quant(x) for x in xs]
        quant = max(quants, key=lambda q: q.scale)
        scales = np.array([q.scale for q in quants], np.float32)
        m = requant.product([scales], quant.scale, self.scheme, self.bits)
        shape = list(self.tensors[xs[0]].shape)
        shape[axis] = sum(self.tensors[x].shape[axis] for x in xs)
        op = ir.QConcat(**self._names(*xs), requant=m, qmin=quant.qmin, qmax=quant.qmax, axis=axis)
        return self._append(op, tuple(shape), quant)

    def average(self, x: str, kernel: tuple[int, int], strides: tuple[int, int] | None = None) -> str:
        channels, height, width = self.tensors[x].shape
        source = self._quant(x)
        window = ir.Window(kernel=kernel, strides=strides or kernel)
        shape = (channels, *window.output_size(height, width))
        quant = ir.QType(source.dtype, self._scale(source.scale * 0.7))
        m = requant.average(source.scale, quant.scale, [kernel[0] * kernel[1]], self.scheme, self.bits)
        index = np.zeros(shape[1:], np.int32)
        names = self._names(x)
        op = ir.QAvgPool(**names, window=window, count_index=index, requant=m, qmin=quant.qmin, qmax=quant.qmax)
        return self._append(op, shape, quant)

    def pad(self, x: str, top: int, left: int, bottom: int, right: int) -> str:
        channels, height, width = self.tensors[x].shape
        op = ir.QPad(**self._names(x), before=(0, top, left), after=(0, bottom, right))
        return self._append(op, (channels, height + top + bottom, width + left + right), self._quant(x))

    def upsample(self, x: str, down: int, right: int) -> str:
        channels, height, width = self.tensors[x].shape
        rows, columns = (np.arange(n, dtype=np.int32).repeat(f) for n, f in ((height, down), (width, right)))
        op = ir.QResize(**self._names(x), rows=rows, columns=columns)
        return self._append(op, (channels, height * down, width * right), self._quant(x))

    def lut(self, x: str) -> str:
        table = self.rng.integers(-128, 128, 256)
        return self._append(ir.QLut(**self._names(x), table=table), self.tensors[x].shape, self._quant(x))

    def transpose(self, x: str, *perm: int) -> str:
        shape = tuple(self.tensors[x].shape[axis] for axis in perm)
        return self._append(ir.QTranspose(**self._names(x), perm=perm), shape, self._quant(x))

    def reshape(self, x: str, *shape: int) -> str:
        return self._append(ir.QReshape(**self._names(x)), shape, self._quant(x))


def mlp(scheme: ir.Scheme, seed: int = 0) -> tuple[ir.Graph, Feeds]:
    """Fully connected layers with 4-bit and clipped activations, a product, a sum, a cast and a concatenation."""
    build = SymmetricBuilder((12,), scheme, seed, bits=18)
    x = build.quantize()
    a = build.narrowed(build.gemm(x, 10), bits=4)
    b = build.narrowed(build.gemm(x, 10), qmax=192)
    c = build.requant(build.mul(a, b), 2.0, relu=False)
    d = build.add(c, build.gemm(b, 10, relu=False), relu=False)
    e = build.narrowed(build.gemm(build.concat(c, d, a), 7, relu=False), qmin=-127)
    return build.finish("mlp", build.dequantize(build.gemm(build.requant(e, 1.0, relu=True), 5, relu=False)))


def cnn(scheme: ir.Scheme, seed: int = 0) -> tuple[ir.Graph, Feeds]:
    """An image stored channels last, a grouped convolution, pads, all three forms of average pooling, a
    concatenation, and a fully connected layer that sees more than one pixel."""
    build = SymmetricBuilder((9, 8, 3), scheme, seed, bits=18)
    x = build.transpose(build.quantize(), 2, 0, 1)
    x = build.narrowed(build.conv(build.pad(x, 1, 0, 0, 1), 6), qmax=192)  # 6 x 10 x 9
    a = build.conv(x, 6, kernel=3, group=3, relu=False)
    b = build.depthwise(x, relu=False)
    x = build.requant(build.concat(a, b), 1.0, relu=True)  # 12 x 10 x 9
    x = build.concat(build.conv(x, 12, kernel=1), x, axis=1)  # 12 x 20 x 9
    x = build.maxpool(x, 4, 4)  # 12 x 5 x 2
    x = build.upsample(x, 2, 2)  # 12 x 10 x 4
    tiled, over = build.average(x, (2, 3)), build.average(x, (4, 3), (2, 1))  # 12 x 5 x 1, 12 x 4 x 2
    x = build.add(build.conv(build.maxpool(tiled, 1, 1), 8, kernel=1), build.conv(tiled, 8))
    top = build.gemm(build.flatten(x), 6, relu=False)
    mean = build.gemm(build.flatten(build.global_average(over)), 6, relu=False)
    return build.finish("cnn", build.dequantize(build.add(top, mean, relu=False)))


def sequence(scheme: ir.Scheme, seed: int = 0) -> tuple[ir.Graph, Feeds]:
    """Rows of features: a table that the host looks up, fully connected layers on each row, then a 1-D convolution
    over the rows."""
    build = SymmetricBuilder((7, 4), scheme, seed, bits=18)
    x = build.gemm(build.lut(build.quantize()), 6)  # 7 x 6
    x = build.reshape(build.transpose(x, 1, 0), 6, 1, 7)
    x = build.conv(x, 5, kernel=1)
    return build.finish("sequence", build.dequantize(build.gemm(build.flatten(x), 3, relu=False)))


def two_ended(scheme: ir.Scheme, seed: int = 0) -> tuple[ir.Graph, Feeds]:
    """Two outputs, one of which is read on: as an image, and as the vector that a further layer makes of it."""
    build = SymmetricBuilder((2, 5, 6), scheme, seed, bits=18)
    x = build.conv(build.quantize(), 4, stride=2)
    y = build.gemm(build.flatten(x), 3, relu=False)
    first, second = build.dequantize(x), build.dequantize(y)
    graph, feeds = build.finish("two_ended", second)
    return replace_outputs(graph, first, second), feeds


def replace_outputs(graph: ir.Graph, *outputs: str) -> ir.Graph:
    return ir.Graph(graph.name, graph.inputs, outputs, graph.tensors, graph.ops, graph.scheme)
