"""The blocks that well-known networks are made of, as exporters write them: what the networks of zoo.py are built from.

    net = Net((3, 16, 16))
    y = net.head(net.inverted_residual(net.conv(net.input, 8), 8, expand=3), 10)
    model = net.model(y)

Images are [batch, channels, height, width], sequences [batch, positions, width]. Weights are random and seeded.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from float_nets import FloatNet
from onnx import helper


class Net(FloatNet):
    """A `FloatNet` with whole blocks. Every method takes and returns names of values."""

    def ints(self, *numbers: int) -> str:
        return self.constant(numbers, np.int64)

    def normal(self, *shape: int, scale: float = 1.0, around: float = 0.0) -> str:
        return self.constant(around + scale * self.rng.normal(size=shape))

    def linear(self, x: str, inside: int, out: int, bias: bool = True) -> str:
        """MatMul on the last axis, as exporters write a linear layer on sequences."""
        y = self.op("MatMul", x, self.normal(inside, out, scale=inside**-0.5), channels=out)
        return self.op("Add", y, self.normal(out, scale=0.1)) if bias else y

    def parts(self, x: str, sizes: tuple[int, ...], axis: int = 1) -> list[str]:
        """Split into parts of these sizes."""
        names = [self._name() for _ in sizes]
        inputs = [x, self.ints(*sizes)]
        self.nodes.append(helper.make_node("Split", inputs, names, self._name("n"), axis=axis))
        self.channels.update(zip(names, sizes, strict=True))
        return names

    def reshape(self, x: str, *shape: int, channels: int | None = None) -> str:
        return self.op("Reshape", x, self.ints(*shape), channels=channels)

    def permute(self, x: str, *order: int) -> str:
        return self.op("Transpose", x, perm=list(order))

    def concat(self, *values: str, axis: int = 1) -> str:
        return self.op("Concat", *values, axis=axis, channels=sum(self.channels[value] for value in values))

    def window(self, x: str, out: int, kernel: tuple[int, ...], *, group: int = 1, **attributes: Any) -> str:
        """A convolution with a window of any rank, strides and dilations; padded to keep the size at stride one."""
        shape = (out, self.channels[x] // group, *kernel)
        weight = self.normal(*shape, scale=float(np.sqrt(2 / np.prod(shape[1:]))))
        dilations = attributes.get("dilations", [1] * len(kernel))
        half = [(k - 1) * d // 2 for k, d in zip(kernel, dilations, strict=True)]
        attributes.setdefault("pads", [*half, *half])
        bias = self.normal(out, scale=0.1)
        return self.op("Conv", x, weight, bias, channels=out, kernel_shape=list(kernel), group=group, **attributes)

    def down(self, x: str, out: int, kernel: int = 3) -> str:
        """A convolution with stride two."""
        return self.window(x, out, (kernel, kernel), strides=[2, 2])

    def up(self, x: str, out: int) -> str:
        """A transposed convolution with stride two."""
        weight = self.normal(self.channels[x], out, 2, 2, scale=self.channels[x] ** -0.5)
        return self.op("ConvTranspose", x, weight, self.normal(out, scale=0.1), channels=out, strides=[2, 2])

    def double(self, x: str, mode: str = "nearest") -> str:
        """A Resize to twice the height and width."""
        return self.op("Resize", x, "", self.constant([1, 1, 2, 2]), mode=mode)

    def norm(self, x: str) -> str:
        """A batch normalisation."""
        count = self.channels[x]
        scale, variance = self.normal(count, scale=0.2, around=1), self.constant(self.rng.uniform(0.5, 2, count))
        return self.op("BatchNormalization", x, scale, self.normal(count), self.normal(count), variance)

    def swish(self, x: str) -> str:
        return self.op("Mul", x, self.op("Sigmoid", x))

    def pooled(self, x: str) -> str:
        return self.op("GlobalAveragePool", x)

    def head(self, x: str, classes: int = 5) -> str:
        return self.gemm(self.flat(self.pooled(x)), self.channels[x], classes)

    # -- images ------------------------------------------------------------------------------------------------------

    def gated(self, x: str, gate: str = "Sigmoid", ratio: int = 2) -> str:
        """Squeeze-and-excite (Hu et al., 2018)."""
        count = self.channels[x]
        squeezed = self.relu(self.conv(self.pooled(x), count // ratio, 1))
        return self.op("Mul", x, self.op(gate, self.conv(squeezed, count, 1)))

    def bottleneck(self, x: str, inner: int, group: int = 1) -> str:
        """1x1, 3x3 (in groups), 1x1 and a shortcut (He et al., 2016; Xie et al., 2017)."""
        y = self.relu(self.norm(self.conv(x, inner, 1, bias=False)))
        y = self.relu(self.norm(self.conv(y, inner, 3, group=group, bias=False)))
        return self.relu(self.op("Add", self.norm(self.conv(y, self.channels[x], 1, bias=False)), x))

    def inverted_residual(self, x: str, out: int, expand: int = 2, act: str = "Relu", gate: str = "") -> str:
        """Expansion, depthwise, projection, and a shortcut where the widths allow it (Sandler et al., 2018)."""
        inner = self.channels[x] * expand
        y = self.activation(self.conv(x, inner, 1), act)
        y = self.activation(self.conv(y, inner, 3, group=inner), act)
        y = self.conv(self.gated(y, gate) if gate else y, out, 1)
        return self.op("Add", x, y) if out == self.channels[x] else y

    def activation(self, x: str, kind: str) -> str:
        if kind == "Swish":
            return self.swish(x)
        bounds = [self.constant(0.0), self.constant(6.0)] if kind == "Clip" else []
        return self.op(kind, x, *bounds)

    def shuffled(self, x: str, groups: int, size: int) -> str:
        """Channel shuffle (Zhang et al., 2018)."""
        count = self.channels[x]
        y = self.reshape(x, -1, groups, count // groups, size, size)
        return self.reshape(self.permute(y, 0, 2, 1, 3, 4), -1, count, size, size, channels=count)

    # -- sequences ---------------------------------------------------------------------------------------------------

    def layer_norm(self, x: str, width: int, decomposed: bool = False) -> str:
        """Over the last axis; decomposed as in exports before opset 17."""
        scale, bias = self.normal(width, scale=0.2, around=1), self.normal(width, scale=0.1)
        if not decomposed:
            return self.op("LayerNormalization", x, scale, bias, axis=-1)
        last = self.ints(-1)
        centred = self.op("Sub", x, self.op("ReduceMean", x, last))
        variance = self.op("ReduceMean", self.op("Pow", centred, self.constant(2.0)), last)
        deviation = self.op("Sqrt", self.op("Add", variance, self.constant(1e-5)))
        return self.op("Add", self.op("Mul", self.op("Div", centred, deviation), scale), bias)

    def heads(self, x: str, length: int, heads: int, size: int, order: tuple[int, ...] = (0, 2, 1, 3)) -> str:
        """[batch, length, heads * size] -> [batch, heads, length, size], or in another order."""
        return self.permute(self.reshape(x, -1, length, heads, size), *order)

    def attend(self, q: str, k: str, v: str, length: int, width: int, mask: str = "") -> str:
        """softmax(q k / sqrt(size) + mask) v for q and v [batch, heads, length, size] and k with its last axes swapped;
        back to [batch, length, width]."""
        scores = self.op("Mul", self.op("MatMul", q, k), self.constant(0.5))
        if mask:
            scores = self.op("Add", scores, mask)
        mixed = self.permute(self.op("MatMul", self.op("Softmax", scores, axis=-1), v), 0, 2, 1, 3)
        return self.reshape(mixed, -1, length, width)

    def attention(self, x: str, length: int, width: int, heads: int = 2, form: str = "separate", mask: str = "") -> str:
        """Multi-head self-attention; `form` is how queries, keys and values come about:

        separate: three products. split: one product, then Split. stacked: one product, reshaped to
        [batch, length, 3, heads, size], transposed and picked by Gather, as in timm's exports.
        """
        size = width // heads
        if form == "stacked":
            qkv = self.reshape(self.linear(x, width, 3 * width), -1, length, 3, heads, size)
            qkv = self.permute(qkv, 2, 0, 3, 1, 4)
            q, k, v = (self.op("Gather", qkv, self.constant(index, np.int64), axis=0) for index in range(3))
            k = self.permute(k, 0, 1, 3, 2)
        else:
            if form == "split":
                q, k, v = self.parts(self.linear(x, width, 3 * width), (width,) * 3, axis=-1)
            else:
                q, k, v = (self.linear(x, width, width) for _ in range(3))
            q, v = (self.heads(value, length, heads, size) for value in (q, v))
            k = self.heads(k, length, heads, size, (0, 2, 3, 1))
        return self.linear(self.attend(q, k, v, length, width, mask), width, width)

    def mlp(self, x: str, width: int, inner: int, act: str = "Gelu") -> str:
        return self.linear(self.op(act, self.linear(x, width, inner)), inner, width)

    def encoder_block(self, x: str, length: int, width: int, form: str = "separate", decomposed: bool = False) -> str:
        """Attention and a perceptron, each behind a layer normalisation and beside a shortcut."""
        x = self.op("Add", x, self.attention(self.layer_norm(x, width, decomposed), length, width, form=form))
        return self.op("Add", x, self.mlp(self.layer_norm(x, width, decomposed), width, 2 * width))

    def recurrent(self, op_type: str, x: str, inside: int, hidden: int, both: bool = False) -> tuple[str, str]:
        """(all states [steps, directions, batch, hidden], the last ones [directions, batch, hidden])."""
        gates, directions = {"LSTM": 4, "GRU": 3, "RNN": 1}[op_type], 1 + both
        weights = [self.normal(directions, gates * hidden, count, scale=0.3) for count in (inside, hidden)]
        bias = self.normal(directions, 2 * gates * hidden, scale=0.1)
        names = [self._name() for _ in range(2)]
        direction = "bidirectional" if both else "forward"
        self.nodes.append(
            helper.make_node(
                op_type, [x, *weights, bias], names, self._name("n"), hidden_size=hidden, direction=direction
            )
        )
        return names[0], names[1]
