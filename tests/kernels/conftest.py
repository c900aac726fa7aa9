"""Runs operators of the integer graph through the kernels' Python binding."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prunus import kernels
from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import serialize

Array = np.ndarray
VECTORS = sorted((Path(__file__).resolve().parents[1] / "golden" / "int").glob("*.npz"))


def requant_of(requant: ir.Requant) -> kernels.Requant:
    """The graph's multipliers as the kernels take them."""
    if requant.scheme == "f32":
        return kernels.Requant.f32(requant.multiplier.astype(np.float32))
    if requant.scheme == "fixed":
        return kernels.Requant.fixed(requant.multiplier.astype(np.int32), requant.shift)
    return kernels.Requant.pow2(requant.shift)


def output_of(graph: ir.Graph, op: ir.Op) -> kernels.Output:
    """Output type and clip range of any operator with an integer output."""
    quant = graph.quant(op.output)
    return kernels.Output(
        quant.dtype, quant.zero_point, getattr(op, "qmin", quant.qmin), getattr(op, "qmax", quant.qmax)
    )


def geometry(window: ir.Window) -> dict[str, Any]:
    return {"strides": window.strides, "pads": window.pads, "dilations": window.dilations}


def linear(graph: ir.Graph, op: ir.Linear, x: Array) -> Array:
    options: dict[str, Any] = {"x_zero_point": graph.quant(op.inputs[0]).zero_point}
    options |= geometry(op.window) if hasattr(op, "window") else {}
    options |= {"group": op.group} if isinstance(op, ir.QConv) else {}
    kernel = {"conv": kernels.conv2d, "depthwise": kernels.depthwise2d, "gemm": kernels.gemm}[op.kind]
    return kernel(x, op.weight, op.bias, requant_of(op.requant), output_of(graph, op), **options)


def binary(graph: ir.Graph, op: ir.Fused, a: Array, b: Array) -> Array:
    left, right = (graph.quant(name).zero_point for name in op.inputs)
    kernel = {"add": kernels.add, "mul": kernels.mul}[op.kind]
    return kernel(a, b, requant_of(op.requant), output_of(graph, op), a_zero_point=left, b_zero_point=right)


def change(graph: ir.Graph, op: ir.QRequant, x: Array) -> Array:
    zero = graph.quant(op.inputs[0]).zero_point
    return kernels.requantize(x, requant_of(op.requant), output_of(graph, op), x_zero_point=zero)


def concat(graph: ir.Graph, op: ir.QConcat, *xs: Array) -> Array:
    quants = [graph.quant(name) for name in op.inputs]
    return kernels.concat(
        list(xs),
        requant_of(op.requant),
        output_of(graph, op),
        axis=op.axis + 1,
        zero_points=[quant.zero_point for quant in quants],
        copy=[quant == graph.quant(op.output) for quant in quants],
    )


def maxpool(graph: ir.Graph, op: ir.QMaxPool, x: Array) -> Array:
    return kernels.maxpool2d(x, op.window.kernel, fill=graph.quant(op.inputs[0]).qmin, **geometry(op.window))


def avgpool(graph: ir.Graph, op: ir.QAvgPool, x: Array) -> Array:
    zero = graph.quant(op.inputs[0]).zero_point
    fused = requant_of(op.requant), output_of(graph, op)
    return kernels.avgpool2d(x, op.count_index, *fused, op.window.kernel, x_zero_point=zero, **geometry(op.window))


def lut(graph: ir.Graph, op: ir.QLut, x: Array) -> Array:
    return kernels.lut(x, op.table.astype(ir.NUMPY_TYPE[graph.quant(op.output).dtype]))


def softmax(graph: ir.Graph, op: ir.QSoftmax, x: Array) -> Array:
    axis = op.axis + 1 if op.axis >= 0 else op.axis
    return kernels.softmax(x, op.table, op.reciprocal, output_of(graph, op), axis=axis)


def reshape(graph: ir.Graph, op: ir.QReshape, x: Array) -> Array:
    return x.reshape(x.shape[0], *graph.tensors[op.output].shape)  # same bytes: no kernel


def transpose(graph: ir.Graph, op: ir.QTranspose, x: Array) -> Array:
    return kernels.transpose(x, [0, *(axis + 1 for axis in op.perm)])


def cut(graph: ir.Graph, op: ir.QSlice, x: Array) -> Array:
    return kernels.slice(x, [0, *op.starts], [1, *op.steps], [x.shape[0], *graph.tensors[op.output].shape])


def pad(graph: ir.Graph, op: ir.QPad, x: Array) -> Array:
    start = [0, *(-before for before in op.before)]
    shape = [x.shape[0], *graph.tensors[op.output].shape]
    return kernels.slice(x, start, [1] * x.ndim, shape, fill=op.value)


def resize(graph: ir.Graph, op: ir.QResize, x: Array) -> Array:
    return kernels.resize_nearest(x, op.rows, op.columns)


def quantize(graph: ir.Graph, op: ir.Quantize, x: Array) -> Array:
    quant = graph.quant(op.output)
    output = kernels.Output(quant.dtype, op.zero_point, quant.qmin, quant.qmax)
    return kernels.quantize(x.astype(np.float32), op.scale, output)


def dequantize(graph: ir.Graph, op: ir.Dequantize, x: Array) -> Array:
    quant = graph.quant(op.inputs[0])
    return kernels.dequantize(x, quant.scale, x_zero_point=quant.zero_point)


EVALUATE: Mapping[str, Callable[..., Array]] = {
    "conv": linear,
    "depthwise": linear,
    "gemm": linear,
    "add": binary,
    "mul": binary,
    "requant": change,
    "concat": concat,
    "maxpool": maxpool,
    "avgpool": avgpool,
    "lut": lut,
    "softmax": softmax,
    "reshape": reshape,
    "transpose": transpose,
    "slice": cut,
    "pad": pad,
    "resize": resize,
    "quantize": quantize,
    "dequantize": dequantize,
}


def run(graph: ir.Graph, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Every tensor of the graph, computed by the kernels."""
    values = dict(feeds)
    for op in graph.ops:
        values[op.output] = EVALUATE[op.kind](graph, op, *(values[name] for name in op.inputs))
    return values


@pytest.fixture(scope="session")
def run_kernels() -> Callable[[ir.Graph, Mapping[str, Array]], dict[str, Array]]:
    """`run` above."""
    return run


def load(path: Path) -> tuple[ir.Graph, dict[str, Array], dict[str, Array]]:
    """(graph, feeds, results) of one golden vector."""
    with np.load(path) as archive:
        return serialize.unpack_case(dict(archive))


@pytest.fixture(params=VECTORS, ids=[path.stem for path in VECTORS])
def vector(request: pytest.FixtureRequest) -> tuple[ir.Graph, dict[str, Array], dict[str, Array]]:
    """Every golden vector in turn."""
    return load(request.param)


@pytest.fixture(scope="session")
def vectors() -> dict[str, tuple[ir.Graph, dict[str, Array], dict[str, Array]]]:
    """All golden vectors by file name."""
    return {path.stem: load(path) for path in VECTORS}
