"""The integer network as a file, and its execution with the C kernels: shared by targets that ship it as data."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import kernels
from ..compiler.errors import UnsupportedError
from ..compiler.integer import graph as ir
from ..compiler.integer.serialize import pack_case, unpack_case

Array = npt.NDArray[Any]


def integer_part(graph: ir.Graph) -> ir.Graph:
    """The operators up to the last integer tensors: without islands and what depends on them.

    Its outputs are the integer tensors that feed a Dequantize or an island, in order.
    Raises UnsupportedError when an integer operator needs the result of an island.
    """
    known, ops = set(graph.inputs), []
    outputs: dict[str, None] = {}
    for op in graph.ops:
        if isinstance(op, (ir.Island, ir.Dequantize)):
            outputs |= dict.fromkeys(name for name in op.inputs if name in known and name not in graph.inputs)
            continue
        missing = [name for name in op.inputs if name not in known]
        if missing:
            raise UnsupportedError(
                "An integer layer needs the result of a float layer before it.",
                code="inner-island",
                where=op.name,
                why="This target cannot return to the host in the middle of the network.",
                hint="`prunus check` names the float layer; keep it out of the middle or choose host-cpu.",
            )
        ops.append(op)
        known.add(op.output)
    outputs |= dict.fromkeys(name for name in graph.outputs if name in known)
    tensors = {name: tensor for name, tensor in graph.tensors.items() if name in known}
    return ir.Graph(graph.name, graph.inputs, tuple(outputs), tensors, tuple(ops), scheme=graph.scheme)


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """An `.npz` with sorted members and a fixed time stamp: the same arrays give the same bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(arrays[name]), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, buffer.getvalue())


def save_network(graph: ir.Graph, path: Path) -> None:
    """Stores a graph without islands."""
    write_npz(path, pack_case(graph, {}, {}))


def load_network(path: Path) -> ir.Graph:
    """The inverse of `save_network`."""
    with np.load(path, allow_pickle=False) as arrays:
        graph, _, _ = unpack_case(dict(arrays))
    return graph


# -- execution with the C kernels ---------------------------------------------------------------------------------


def _requant(op: ir.Fused) -> kernels.Requant:
    requant = op.requant
    if requant.scheme == "f32":
        return kernels.Requant.f32(requant.multiplier.astype(np.float32))
    if requant.scheme == "fixed":
        return kernels.Requant.fixed(requant.multiplier.astype(np.int32), requant.shift)
    return kernels.Requant.pow2(requant.shift)


def _output(graph: ir.Graph, op: ir.Op) -> kernels.Output:
    quant = graph.quant(op.output)
    low, high = (op.qmin, op.qmax) if isinstance(op, ir.Fused) else (quant.qmin, quant.qmax)
    return kernels.Output(quant.dtype, quant.zero_point, low, high)


def _zero(graph: ir.Graph, op: ir.Op, index: int = 0) -> int:
    return graph.quant(op.inputs[index]).zero_point


def _geometry(window: ir.Window) -> dict[str, Any]:
    return {"strides": window.strides, "pads": window.pads, "dilations": window.dilations}


def _linear(graph: ir.Graph, op: ir.Linear, x: Array) -> Array:
    arguments = (x, op.weight, op.bias, _requant(op), _output(graph, op))
    zero = _zero(graph, op)
    if isinstance(op, ir.QConv):
        return kernels.conv2d(*arguments, x_zero_point=zero, group=op.group, **_geometry(op.window))
    if isinstance(op, ir.QDepthwise):
        return kernels.depthwise2d(*arguments, x_zero_point=zero, **_geometry(op.window))
    return kernels.gemm(*arguments, x_zero_point=zero)


def _binary(graph: ir.Graph, op: ir.QAdd | ir.QMul, a: Array, b: Array) -> Array:
    function = kernels.add if isinstance(op, ir.QAdd) else kernels.mul
    zeros = {"a_zero_point": _zero(graph, op), "b_zero_point": _zero(graph, op, 1)}
    return function(a, b, _requant(op), _output(graph, op), **zeros)


def _concat(graph: ir.Graph, op: ir.QConcat, *xs: Array) -> Array:
    types = [graph.quant(name) for name in op.inputs]
    return kernels.concat(
        list(xs),
        _requant(op),
        _output(graph, op),
        axis=op.axis + 1,
        zero_points=[quant.zero_point for quant in types],
        copy=[quant == graph.quant(op.output) for quant in types],
    )


def _maxpool(graph: ir.Graph, op: ir.QMaxPool, x: Array) -> Array:
    fill = graph.quant(op.inputs[0]).qmin
    return kernels.maxpool2d(x, op.window.kernel, fill=fill, **_geometry(op.window))


def _avgpool(graph: ir.Graph, op: ir.QAvgPool, x: Array) -> Array:
    arguments = (x, op.count_index, _requant(op), _output(graph, op), op.window.kernel)
    return kernels.avgpool2d(*arguments, x_zero_point=_zero(graph, op), **_geometry(op.window))


def _slice(graph: ir.Graph, op: ir.QSlice, x: Array) -> Array:
    return kernels.slice(x, (0, *op.starts), (1, *op.steps), (len(x), *graph.tensors[op.output].shape))


def _pad(graph: ir.Graph, op: ir.QPad, x: Array) -> Array:
    start = (0, *(-before for before in op.before))
    return kernels.slice(x, start, (1,) * x.ndim, (len(x), *graph.tensors[op.output].shape), fill=op.value)


def _softmax(graph: ir.Graph, op: ir.QSoftmax, x: Array) -> Array:
    axis = op.axis + 1 if op.axis >= 0 else op.axis
    return kernels.softmax(x, op.table, op.reciprocal, _output(graph, op), axis=axis)


def _quantize(graph: ir.Graph, op: ir.Quantize, x: Array) -> Array:
    quant = graph.quant(op.output)
    output = kernels.Output(quant.dtype, op.zero_point, quant.qmin, quant.qmax)
    return kernels.quantize(x.astype(np.float32), op.scale, output)


EXECUTE: Mapping[type[ir.Op], Callable[..., Array]] = {
    ir.QConv: _linear,
    ir.QDepthwise: _linear,
    ir.QGemm: _linear,
    ir.QAdd: _binary,
    ir.QMul: _binary,
    ir.QConcat: _concat,
    ir.QMaxPool: _maxpool,
    ir.QAvgPool: _avgpool,
    ir.QRequant: lambda graph, op, x: kernels.requantize(
        x, _requant(op), _output(graph, op), x_zero_point=_zero(graph, op)
    ),
    ir.QLut: lambda graph, op, x: kernels.lut(x, op.table.astype(ir.NUMPY_TYPE[graph.quant(op.output).dtype])),
    ir.QSoftmax: _softmax,
    ir.QReshape: lambda graph, op, x: x.reshape(len(x), *graph.tensors[op.output].shape),
    ir.QTranspose: lambda graph, op, x: kernels.transpose(x, (0, *(axis + 1 for axis in op.perm))),
    ir.QSlice: _slice,
    ir.QPad: _pad,
    ir.QResize: lambda graph, op, x: kernels.resize_nearest(x, op.rows, op.columns),
    ir.Quantize: _quantize,
}


def run_network(graph: ir.Graph, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Executes a graph without islands with the C kernels. Returns every integer tensor by name, [n, ...]."""
    values: dict[str, Array] = {name: np.ascontiguousarray(feeds[name]) for name in graph.inputs}
    for op in graph.ops:
        values[op.output] = EXECUTE[type(op)](graph, op, *(values[name] for name in op.inputs))
    return {name: value for name, value in values.items() if graph.tensors[name].quant is not None}
