"""Hypothesis strategies: random integer graphs of one operator, with inputs, over the whole integer contract."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from hypothesis import strategies as st

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops

INT32_MAX = 2**31 - 1
Array = np.ndarray
Drawn = tuple[ir.Graph, dict[str, Array]]
SCHEMES = st.sampled_from(["f32", "fixed", "pow2"])


@st.composite
def types(draw: st.DrawFn, scheme: str, bits: int | None = None) -> ir.QType:
    """Any activation type; `pow2` has no zero point."""
    quant = ir.QType(draw(st.sampled_from(["u8", "s8"])), 1.0, 0, bits or draw(st.integers(2, 8)))
    zero = 0 if scheme == "pow2" else draw(st.integers(quant.qmin, quant.qmax))
    return dataclasses.replace(quant, zero_point=zero)


@st.composite
def requants(draw: st.DrawFn, scheme: str, size: int, one_shift: bool = False) -> ir.Requant:
    """Multipliers from 2^-30 to 2^8; halves and other exact ties are likely."""
    if scheme == "f32":
        floats = st.floats(2.0**-30, 256, width=32) | st.sampled_from([0.5, 0.25, 1.5, 2.0**-20])
        m = np.array(draw(st.lists(floats, min_size=size, max_size=size)), np.float32)
        return ir.Requant("f32", m, np.zeros(size, np.int32))
    if scheme == "pow2":
        shifts = draw(st.lists(st.integers(-8, 30), min_size=size, max_size=size))
        return ir.Requant("pow2", np.ones(size, np.int64), np.array(shifts, np.int32))
    bits = draw(st.sampled_from([8, 16, 18, 31]))
    integers = st.integers(1 << (bits - 1), (1 << bits) - 1) | st.just(1 << (bits - 1))
    multipliers = draw(st.lists(integers, min_size=size, max_size=size))
    shifts = draw(st.lists(st.integers(max(1, bits - 8), min(62, bits + 30)), min_size=size, max_size=size))
    shifts = shifts[:1] * size if one_shift else shifts
    return ir.Requant("fixed", np.array(multipliers, np.int64), np.array(shifts, np.int32), bits)


@st.composite
def windows(draw: st.DrawFn, height: int, width: int) -> ir.Window:
    """Any window that fits at least once."""
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    dilations = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    room = height + pads[0] + pads[2], width + pads[1] + pads[3]
    kernel = tuple(draw(st.integers(1, min(3, (r - 1) // d + 1))) for r, d in zip(room, dilations, strict=True))
    return ir.Window(
        kernel=kernel, strides=(draw(st.integers(1, 3)), draw(st.integers(1, 3))), pads=pads, dilations=dilations
    )


class Draw:
    """Random pieces of one graph, numbers by a seeded generator so that examples stay small."""

    def __init__(self, draw: st.DrawFn, scheme: str) -> None:
        self.draw, self.scheme = draw, scheme
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        self.tensors: dict[str, ir.Tensor] = {}
        self.feeds: dict[str, Array] = {}

    def input(self, shape: tuple[int, ...], quant: ir.QType | None = None) -> ir.QType:
        """One more input; its values often sit at the ends of the range."""
        quant = quant or self.draw(types(self.scheme))
        name = f"x{len(self.feeds)}"
        data = self.rng.integers(quant.qmin, quant.qmax, shape, endpoint=True)
        ends = self.rng.choice([quant.qmin, quant.qmax], shape)
        data = np.where(self.rng.random(shape) < 0.3, ends, data)
        self.tensors[name] = ir.Tensor(name, shape[1:], quant)
        self.feeds[name] = data.astype(ir.NUMPY_TYPE[quant.dtype])
        return quant

    def finish(
        self, kind: type[ir.Op], quant: ir.QType | None = None, shape: tuple[int, ...] = (), **fields: Any
    ) -> Drawn:
        """The graph of one operator; fused ones get a random clip range."""
        quant = quant or self.draw(types(self.scheme))
        if issubclass(kind, ir.Fused):
            ends = sorted(self.draw(st.integers(quant.qmin, quant.qmax)) for _ in range(2))
            fields["qmin"], fields["qmax"] = ends if self.draw(st.booleans()) else (quant.qmin, quant.qmax)
        self.tensors["y"] = ir.Tensor("y", shape, quant)
        op = kind(name="op", inputs=tuple(self.feeds), output="y", **fields)
        graph = ir.Graph("g", tuple(self.feeds), ("y",), self.tensors, (op,), self.scheme)
        if not shape:
            (result,) = ops.evaluate(graph, op, tuple(self.feeds.values()))
            self.tensors["y"] = ir.Tensor("y", result.shape[1:], quant)
        return graph, self.feeds

    def linear(self, kind: type[ir.Linear], x: ir.QType, shape: tuple[int, ...], **fields: Any) -> Drawn:
        """Random weights and biases; some rows are zero, some biases push the accumulator to the edge of int32."""
        bits = self.draw(st.integers(2, 8))
        limit = (1 << (bits - 1)) - 1
        weight = self.rng.integers(-limit, limit, shape, endpoint=True)
        weight[self.rng.random(shape[0]) < 0.2] = 0
        folded = np.abs(weight.reshape(shape[0], -1)).sum(axis=1) * 2 * max(x.max_abs, 255)
        edge = (INT32_MAX - folded) * self.rng.choice([-1, 1], shape[0])
        bias = np.where(self.rng.random(shape[0]) < 0.2, edge, self.rng.integers(-5000, 5000, shape[0]))
        requant = self.draw(requants(self.scheme, self.draw(st.sampled_from([1, shape[0]]))))
        arrays = {"weight": weight.astype(np.int8), "bias": bias.astype(np.int32)}
        return self.finish(
            kind, requant=requant, weight_scale=np.ones(1, np.float32), weight_bits=bits, **arrays, **fields
        )


@st.composite
def convolutions(draw: st.DrawFn) -> Drawn:
    d = Draw(draw, draw(SCHEMES))
    group, ins, outs = (draw(st.integers(1, 3)) for _ in range(3))
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    window = draw(windows(height, width))
    x = d.input((draw(st.integers(1, 2)), group * ins, height, width))
    return d.linear(ir.QConv, x, (group * outs, ins, *window.kernel), window=window, group=group)


@st.composite
def depthwise_convolutions(draw: st.DrawFn) -> Drawn:
    d = Draw(draw, draw(SCHEMES))
    channels, multiplier = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    window = draw(windows(height, width))
    x = d.input((draw(st.integers(1, 2)), channels, height, width))
    return d.linear(ir.QDepthwise, x, (channels * multiplier, 1, *window.kernel), window=window)


@st.composite
def products(draw: st.DrawFn) -> Drawn:
    d = Draw(draw, draw(SCHEMES))
    ins, outs = draw(st.integers(1, 40)), draw(st.integers(1, 4))
    batch = draw(st.sampled_from([(1,), (3,), (2, 2)]))
    return d.linear(ir.QGemm, d.input((*batch, ins)), (outs, ins))


@st.composite
def binaries(draw: st.DrawFn, kind: type[ir.Op]) -> Drawn:
    d = Draw(draw, draw(SCHEMES))
    shape = [draw(st.integers(1, 4)) for _ in range(draw(st.integers(1, 4)))]
    for _ in range(2):
        d.input((2, *(draw(st.sampled_from([1, size])) for size in shape)))
    size = 2 if kind is ir.QAdd else 1
    return d.finish(kind, requant=draw(requants(d.scheme, size, one_shift=kind is ir.QAdd)))


@st.composite
def changes(draw: st.DrawFn) -> Drawn:
    d = Draw(draw, draw(SCHEMES))
    quant = draw(types(d.scheme))
    d.input((1, 64), quant)
    return d.finish(ir.QRequant, requant=draw(requants(d.scheme, 1)))


@st.composite
def concatenations(draw: st.DrawFn) -> Drawn:
    d = Draw(draw, draw(SCHEMES))
    out, shape = draw(types(d.scheme)), [draw(st.integers(1, 3)) for _ in range(3)]
    axis, parts = draw(st.integers(0, 2)), draw(st.integers(1, 3))
    for _ in range(parts):
        shape[axis] = draw(st.integers(1, 4))
        d.input((2, *shape), out if draw(st.booleans()) else None)
    return d.finish(ir.QConcat, out, axis=axis, requant=draw(requants(d.scheme, parts)))


@st.composite
def max_pools(draw: st.DrawFn) -> Drawn:
    d = Draw(draw, draw(SCHEMES))
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    x = d.input((2, 2, height, width))
    return d.finish(ir.QMaxPool, x, window=draw(windows(height, width)))


@st.composite
def average_pools(draw: st.DrawFn) -> Drawn:
    d = Draw(draw, draw(SCHEMES))
    height, width, counts = (draw(st.integers(1, n)) for n in (6, 6, 3))
    d.input((2, 2, height, width))
    window = draw(windows(height, width))
    index = d.rng.integers(0, counts, window.output_size(height, width)).astype(np.int32)
    return d.finish(ir.QAvgPool, window=window, requant=draw(requants(d.scheme, counts)), count_index=index)


@st.composite
def tables(draw: st.DrawFn) -> Drawn:
    d = Draw(draw, "f32")
    d.input((2, 50))
    out = draw(types("f32"))
    return d.finish(ir.QLut, out, table=d.rng.integers(out.qmin, out.qmax, 256, endpoint=True))


@st.composite
def softmaxes(draw: st.DrawFn) -> Drawn:
    d = Draw(draw, "f32")
    d.input(tuple(draw(st.integers(1, 6)) for _ in range(4)))
    falling = np.sort(d.rng.integers(0, 2**20, 255))[::-1]
    table = np.concatenate([[2**20], falling]).astype(np.uint32)
    reciprocal = draw(st.sampled_from([1, 255, 256, 2**15]))
    return d.finish(ir.QSoftmax, table=table, reciprocal=reciprocal, axis=draw(st.integers(-3, 2)))


@st.composite
def movements(draw: st.DrawFn) -> Drawn:
    """Reshape, transpose, slice, pad or resize."""
    d = Draw(draw, "f32")
    shape = tuple(draw(st.integers(1, 5)) for _ in range(3))
    x = d.input((2, *shape))
    ends = [sorted(draw(st.tuples(*[st.integers(0, size - 1)] * 2))) for size in shape]
    pads = st.tuples(*[st.integers(0, 2)] * 3)
    rows, columns = (d.rng.integers(0, size, 4).astype(np.int32) for size in shape[1:])
    kind, fields = draw(
        st.sampled_from(
            [
                (ir.QReshape, {"shape": (shape[0] * shape[1], shape[2])}),
                (ir.QTranspose, {"perm": tuple(draw(st.permutations(range(3))))}),
                (ir.QSlice, {
                    "starts": tuple(a for a, _ in ends),
                    "stops": tuple(b + 1 for _, b in ends),
                    "steps": draw(st.tuples(*[st.integers(1, 3)] * 3)),
                }),
                (ir.QPad, {"before": draw(pads), "after": draw(pads), "value": draw(st.integers(x.qmin, x.qmax))}),
                (ir.QResize, {"rows": rows, "columns": columns}),
            ]
        )
    )  # fmt: skip
    return d.finish(kind, x, **fields)


EVERY_OPERATOR: dict[str, st.SearchStrategy[Drawn]] = {
    "conv": convolutions(),
    "depthwise": depthwise_convolutions(),
    "gemm": products(),
    "add": binaries(ir.QAdd),
    "mul": binaries(ir.QMul),
    "requant": changes(),
    "concat": concatenations(),
    "maxpool": max_pools(),
    "avgpool": average_pools(),
    "lut": tables(),
    "softmax": softmaxes(),
    "movement": movements(),
}
