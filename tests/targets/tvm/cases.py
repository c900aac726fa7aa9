"""One random operator of every kind and requantization scheme, and their union as one graph with one batch.

Graphs start at integer tensors, so that no quantization limits the values that an operator sees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import requant

SCHEMES: tuple[ir.Scheme, ...] = ("f32", "fixed", "pow2")
BATCH = 3
Case = tuple[ir.Graph, dict[str, np.ndarray]]


@dataclass
class Make:
    """Makes graphs of one operator; types have zero points except for `pow2`."""

    scheme: ir.Scheme
    seed: int
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def quant(self, scale: float = 0.125, dtype: ir.IntType = "u8", bits: int = 8) -> ir.QType:
        zero_point = 0 if self.scheme == "pow2" else {"u8": 119, "s8": -7}[dtype]
        return ir.QType(dtype, scale if self.scheme == "pow2" else scale * 0.9, min(zero_point, (1 << bits) - 1), bits)

    def case(self, cls: type[ir.Op], sources: list[ir.Tensor], out: ir.Tensor, **fields: object) -> Case:
        names = tuple(f"x{i}" for i in range(len(sources)))
        tensors = {name: replace(tensor, name=name) for name, tensor in zip(names, sources, strict=True)}
        op = cls(name="op", inputs=names, output="y", **fields)  # type: ignore[call-arg]
        feeds = {}
        for name, tensor in tensors.items():
            shape = (BATCH, *tensor.shape)
            if tensor.quant is None:
                feeds[name] = self.rng.normal(size=shape, scale=20).astype(tensor.dtype)
            else:
                values = self.rng.integers(tensor.quant.qmin, tensor.quant.qmax + 1, shape)
                feeds[name] = values.astype(ir.NUMPY_TYPE[tensor.quant.dtype])
        return ir.Graph("case", names, ("y",), {**tensors, "y": replace(out, name="y")}, (op,), self.scheme), feeds

    def integer(self, shape: tuple[int, ...], quant: ir.QType | None = None) -> ir.Tensor:
        return ir.Tensor("", shape, quant or self.quant())

    def fused(self, requantization: ir.Requant, out: ir.QType, relu: bool = False) -> dict[str, object]:
        return {"requant": requantization, "qmin": out.zero_point if relu else out.qmin, "qmax": out.qmax}

    def linear(self, x: ir.QType, shape: tuple[int, ...], out: ir.QType, relu: bool) -> dict[str, object]:
        """Random weights whose accumulators fill the output's range; one scale per output channel."""
        weight = self.rng.integers(-127, 128, shape).astype(np.int8)
        spread = 60 * np.sqrt(np.prod(shape[1:])) * 73
        scale = 2.0 ** np.round(np.log2(out.scale * 60 / (spread * x.scale * self.rng.uniform(0.5, 2, shape[0]))))
        if self.scheme != "pow2":
            scale = scale * self.rng.uniform(0.9, 1.1, shape[0])
        scale = scale.astype(np.float32)
        bias = self.rng.integers(-int(spread), int(spread), shape[0]).astype(np.int32)
        m = requant.product([x.scale, scale], out.scale, self.scheme, 31)
        return {"weight": weight, "bias": bias, "weight_scale": scale, **self.fused(m, out, relu)}


def _conv(make: Make) -> Case:
    x, y = make.quant(), make.quant(0.25, "s8")
    window = ir.Window(kernel=(3, 2), strides=(2, 1), pads=(1, 0, 2, 1), dilations=(1, 2))
    shape = (4, *window.output_size(9, 7))
    fields = make.linear(x, (4, 3, 3, 2), y, relu=True)
    return make.case(ir.QConv, [make.integer((6, 9, 7), x)], ir.Tensor("", shape, y), window=window, group=2, **fields)


def _depthwise(make: Make) -> Case:
    x, y = make.quant(dtype="s8"), make.quant(0.25)
    window = ir.Window(kernel=(3, 3), strides=(1, 2), pads=(1, 1, 1, 1))
    shape = (10, *window.output_size(6, 7))
    fields = make.linear(x, (10, 1, 3, 3), y, relu=False)
    return make.case(ir.QDepthwise, [make.integer((5, 6, 7), x)], ir.Tensor("", shape, y), window=window, **fields)


def _gemm(make: Make) -> Case:
    x, y = make.quant(), make.quant(0.5)
    fields = make.linear(x, (5, 33), y, relu=False)
    return make.case(ir.QGemm, [make.integer((2, 33), x)], ir.Tensor("", (2, 5), y), **fields)


def _add(make: Make) -> Case:
    a, b, y = make.quant(0.125), make.quant(0.5, "s8"), make.quant(0.5)
    m = requant.inputs_of_sum([a.scale, b.scale], y.scale, make.scheme, 31)
    sources = [make.integer((4, 3, 5), a), make.integer((4, 1, 5), b)]
    return make.case(ir.QAdd, sources, ir.Tensor("", (4, 3, 5), y), **make.fused(m, y, relu=True))


def _mul(make: Make) -> Case:
    a, b, y = make.quant(0.125), make.quant(0.125, "s8"), make.quant(2.0, "s8")
    m = requant.product([a.scale, b.scale], y.scale, make.scheme, 31)
    sources = [make.integer((4, 3, 5), a), make.integer((4, 1, 1), b)]
    return make.case(ir.QMul, sources, ir.Tensor("", (4, 3, 5), y), **make.fused(m, y))


def _concat(make: Make) -> Case:
    y = make.quant(0.25)
    types = [y, make.quant(0.125, "s8"), make.quant(0.5)]
    m = requant.product([np.array([t.scale for t in types], np.float32)], y.scale, make.scheme, 31)
    sources = [make.integer((channels, 3, 2), quant) for channels, quant in zip((2, 1, 3), types, strict=True)]
    return make.case(ir.QConcat, sources, ir.Tensor("", (6, 3, 2), y), axis=0, **make.fused(m, y))


def _requant(make: Make) -> Case:
    x, y = make.quant(0.5, "s8"), make.quant(2.0, "u8", bits=4)
    m = requant.product([x.scale], y.scale, make.scheme, 31)
    return make.case(ir.QRequant, [make.integer((3, 5), x)], ir.Tensor("", (3, 5), y), **make.fused(m, y))


def _maxpool(make: Make) -> Case:
    x = make.quant(dtype="s8", bits=5)
    window = ir.Window(kernel=(3, 2), strides=(2, 2), pads=(1, 1, 0, 0))
    shape = (3, *window.output_size(7, 6))
    return make.case(ir.QMaxPool, [make.integer((3, 7, 6), x)], ir.Tensor("", shape, x), window=window)


def _avgpool(make: Make) -> Case:
    x, y = make.quant(0.25, "s8"), make.quant(0.25)
    window = ir.Window(kernel=(2, 2), strides=(2, 2), pads=(1, 0, 0, 1))
    shape = window.output_size(5, 5)
    index = np.zeros(shape, np.int32)
    index[0, :] = 1
    m = requant.average(x.scale, y.scale, [4, 2], make.scheme, 31)
    out = ir.Tensor("", (3, *shape), y)
    return make.case(ir.QAvgPool, [make.integer((3, 5, 5), x)], out, window=window, count_index=index, **make.fused(m, y))


def _lut(make: Make) -> Case:
    x, y = make.quant(dtype="s8"), make.quant()
    table = make.rng.integers(0, 256, 256).astype(np.uint8)
    return make.case(ir.QLut, [make.integer((4, 3), x)], ir.Tensor("", (4, 3), y), table=table)


def _softmax(make: Make) -> Case:
    x, y = make.quant(0.25), ir.QType("u8", 1 / 256)
    table = np.rint(np.exp(-np.arange(256) * x.scale) * 2**20).astype(np.uint32)
    return make.case(ir.QSoftmax, [make.integer((4, 6), x)], ir.Tensor("", (4, 6), y), table=table, reciprocal=256, axis=0)


def _reshape(make: Make) -> Case:
    return make.case(ir.QReshape, [make.integer((4, 6))], make.integer((2, 3, 4)))


def _transpose(make: Make) -> Case:
    return make.case(ir.QTranspose, [make.integer((4, 6, 3))], make.integer((3, 4, 6)), perm=(2, 0, 1))


def _slice(make: Make) -> Case:
    cuts = {"starts": (1, 0), "stops": (6, 9), "steps": (2, 4)}
    return make.case(ir.QSlice, [make.integer((6, 9))], make.integer((3, 3)), **cuts)


def _pad(make: Make) -> Case:
    return make.case(ir.QPad, [make.integer((2, 4))], make.integer((3, 7)), before=(0, 2), after=(1, 1), value=7)


def _resize(make: Make) -> Case:
    rows, columns = np.array([0, 0, 1, 2, 2], np.int32), np.array([1, 1, 0], np.int32)
    return make.case(ir.QResize, [make.integer((2, 3, 2))], make.integer((2, 5, 3)), rows=rows, columns=columns)


def _quantize(make: Make) -> Case:
    y = make.quant()
    source = ir.Tensor("", (5, 6))
    return make.case(ir.Quantize, [source], ir.Tensor("", (5, 6), y), scale=y.scale, zero_point=y.zero_point)


def _quantize_bytes(make: Make) -> Case:
    y = make.quant(1.0, "s8")
    source = ir.Tensor("", (5, 6), dtype="int16")
    return make.case(ir.Quantize, [source], ir.Tensor("", (5, 6), y), scale=y.scale, zero_point=-12)


def _dequantize(make: Make) -> Case:
    return make.case(ir.Dequantize, [make.integer((5, 6))], ir.Tensor("", (5, 6)))


CASES: tuple[Callable[[Make], Case], ...] = (
    _conv,
    _depthwise,
    _gemm,
    _add,
    _mul,
    _concat,
    _requant,
    _maxpool,
    _avgpool,
    _lut,
    _softmax,
    _reshape,
    _transpose,
    _slice,
    _pad,
    _resize,
    _quantize,
    _quantize_bytes,
    _dequantize,
)


def renamed(case: Case, prefix: str) -> Case:
    """The same graph with every name behind a prefix."""
    graph, feeds = case
    tensors = {prefix + name: replace(tensor, name=prefix + name) for name, tensor in graph.tensors.items()}
    ops = tuple(
        replace(op, name=prefix + op.name, inputs=tuple(prefix + n for n in op.inputs), output=prefix + op.output)
        for op in graph.ops
    )
    inputs, outputs = (tuple(prefix + name for name in names) for names in (graph.inputs, graph.outputs))
    return ir.Graph(graph.name, inputs, outputs, tensors, ops, graph.scheme), {
        prefix + name: array for name, array in feeds.items()
    }


def union(cases: list[Case]) -> Case:
    """All graphs side by side in one: one library is compiled instead of many. Their batches must agree."""
    named = [renamed(case, f"g{index:03d}_") for index, case in enumerate(cases)]
    graphs = [graph for graph, _ in named]
    feeds = {name: array for _, found in named for name, array in found.items()}
    tensors = {name: tensor for graph in graphs for name, tensor in graph.tensors.items()}
    parts = [
        tuple(item for graph in graphs for item in getattr(graph, field)) for field in ("inputs", "outputs", "ops")
    ]
    return ir.Graph("union", parts[0], parts[1], tensors, parts[2]), feeds


def every_operator() -> Case:
    """The union of all operators in all schemes."""
    return union([make(Make(scheme, seed)) for scheme in SCHEMES for seed, make in enumerate(CASES)])
