"""The integer network as a file, and its execution with the C kernels: shared by targets that ship it as data."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import kernels
from ..compiler.errors import UnsupportedError
from ..compiler.integer import graph as ir
from ..compiler.integer.serialize import pack_case, unpack_case
from .native.operators import CALLS

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


def run_network(graph: ir.Graph, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Executes a graph without islands with the C kernels. Returns every integer tensor by name, [n, ...]."""
    values: dict[str, Array] = {name: np.ascontiguousarray(feeds[name]) for name in graph.inputs}
    for op in graph.ops:
        inputs = [values[name] for name in op.inputs]
        batch = len(inputs[0])
        if isinstance(op, ir.QReshape):
            values[op.output] = inputs[0].reshape(batch, *graph.tensors[op.output].shape)
        else:
            floats = [x.astype(np.float32) for x in inputs] if isinstance(op, ir.Quantize) else inputs
            values[op.output] = CALLS[type(op)](kernels, graph, op, batch, *floats)
    return {name: value for name, value in values.items() if graph.tensors[name].quant is not None}
