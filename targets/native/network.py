"""An integer region as a network of the kernels: defined, packed, planned, run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import kernels
from ...compiler.errors import UnsupportedError
from ...compiler.integer import graph as ir
from ...compiler.integer.from_qdq import read_qdq
from ...compiler.integer.island import run_island
from ...compiler.model.load import load
from ...compiler.target import Formats
from .operators import CALLS
from .regions import split

Array = npt.NDArray[Any]


def define(region: ir.Graph, outputs: Sequence[str] | None = None) -> kernels.Network:
    """The region as a network for one sample, not planned yet; further tensors may be asked for as outputs.

    Float inputs of any element type are float32 in the network. Raises UnsupportedError for an island.
    """
    return number(region, outputs)[0]


def number(region: ir.Graph, outputs: Sequence[str] | None = None) -> tuple[kernels.Network, dict[str, int]]:
    """What `define` gives, and the number of every tensor in that network. Raises UnsupportedError for an island."""
    network = kernels.Network()
    ids = {
        name: network.input(_element(region.tensors[name]), (1, *region.tensors[name].shape)) for name in region.inputs
    }
    for op in region.ops:
        sources = [ids[name] for name in op.inputs]
        if isinstance(op, ir.QReshape):
            ids[op.output] = network.reshape(sources[0], (1, *region.tensors[op.output].shape))
        elif type(op) in CALLS:
            ids[op.output] = CALLS[type(op)](network, region, op, 1, *sources)
        else:
            raise UnsupportedError(f"The kernels do not compute '{op.kind}'.", code="unknown-op", where=op.name)
    for name in region.outputs if outputs is None else outputs:
        network.output(ids[name])
    return network, ids


def _element(tensor: ir.Tensor) -> str:
    return "f32" if tensor.quant is None else tensor.quant.dtype


def pack(region: ir.Graph, outputs: Sequence[str] | None = None) -> bytes:
    """The region as the bytes of a packed network: the same on every machine."""
    return bytes(define(region, outputs).save())


class NativeModel:
    """A whole graph planned for this machine: one network per integer region, float islands in onnxruntime.

    >>> model = NativeModel(graph)            # doctest: +SKIP
    >>> logits = model.run({"t0000": x})      # doctest: +SKIP
    """

    def __init__(
        self,
        graph: ir.Graph,
        *,
        batch: int = 1,
        threads: int = 1,
        trace: bool = False,
        isa: str | None = None,
        timed: int = 0,
        cache: str | None = None,
    ) -> None:
        """`trace` makes every integer tensor an output; the other options are those of `kernels.Network.plan`."""
        self.graph, self.batch = graph, batch
        self.parts = split(graph)
        self.networks: dict[str, kernels.Network] = {}
        self._outputs: dict[str, tuple[str, ...]] = {}
        self._pool = kernels.Pool(threads) if threads > 1 else None
        for region in self.parts:
            if isinstance(region, ir.Graph):
                outputs = traced(region) if trace else region.outputs
                network = define(region, outputs)
                network.plan(isa=isa, timed=timed, cache=cache, batch=batch)
                self.networks[region.name], self._outputs[region.name] = network, outputs

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Every tensor that leaves a region or an island, graph outputs among them; arrays of `batch` samples."""
        values: dict[str, Array] = {name: np.asarray(feeds[name]) for name in self.graph.inputs}
        for part in self.parts:
            inputs = [values[name] for name in part.inputs]
            if isinstance(part, ir.Island):
                values |= zip(part.outputs, run_island(part, tuple(inputs)), strict=True)
            else:
                arrays = [_contiguous(part.tensors[name], x) for name, x in zip(part.inputs, inputs, strict=True)]
                found = self.networks[part.name].run(arrays, pool=self._pool)
                values |= zip(self._outputs[part.name], found, strict=True)
        return {name: value for name, value in values.items() if name not in self.graph.inputs}


def traced(region: ir.Graph) -> tuple[str, ...]:
    """The region's outputs, then every other integer tensor that it computes."""
    return (*region.outputs, *(name for name in region.integer_tensors() if name not in region.outputs))


def load_graph(path: Path) -> ir.Graph:
    """The integer graph of a quantized ONNX file (QDQ), for CPUs."""
    return read_qdq(load(path), Formats())


def _contiguous(tensor: ir.Tensor, array: Array) -> Array:
    return np.ascontiguousarray(array, np.float32 if tensor.quant is None else None)
