"""Runs a model piece by piece, so that weights further down may change between the pieces."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from ..analysis.channels.shapes import static_dims
from ..executor import Session
from ..model.edit import weight
from ..model.model import IR_VERSION, Model

Array = npt.NDArray[Any]
Feeds = dict[str, Array]


class StagedRun:
    """The activations of a model on some samples, as far as it has been run. The graph must be sorted.

    Samples are held in pieces (a model with a fixed batch takes pieces of that size), and a value is dropped as soon as
    no later operator reads it.
    """

    def __init__(self, model: Model, pieces: Sequence[Feeds]) -> None:
        self.model = model
        self.nodes = list(model.graph)
        self.position = 0  # of the next operator to run
        self.values: list[Feeds] = [dict(piece) for piece in pieces]
        self._last_use = last_uses(model)

    def run_until(self, position: int, keep: Iterable[str] = ()) -> None:
        """Runs the operators before `position`; values named in `keep` survive even when nobody reads them later."""
        wanted = set(keep)
        stage = self.nodes[self.position : position]
        if stage:
            made = {output.name or "" for node in stage for output in node.outputs if output.name}
            fetch = sorted(name for name in made if self._last_use.get(name, -1) >= position or name in wanted)
            if fetch:
                self._run(stage, fetch)
            self.position = position
        for values in self.values:
            for name in [name for name in values if self._last_use.get(name, -1) < position and name not in wanted]:
                del values[name]

    def _run(self, stage: Sequence[ir.Node], fetch: list[str]) -> None:
        reads = {value.name or "" for node in stage for value in _reads(node)}
        feeds = sorted(reads & self.values[0].keys())
        session = Session(self._proto(stage, reads, feeds), fetch, optimise=False)
        for values in self.values:
            fed = {name: values[name] for name in feeds}
            values.update(session.run(fed, batch=max((len(array) for array in fed.values()), default=1)))

    def _proto(self, stage: Sequence[ir.Node], reads: set[str], feeds: Sequence[str]) -> onnx.ModelProto:
        """The stage as a model whose inputs are the values computed so far."""
        initializers = self.model.graph.initializers
        graph = onnx.GraphProto(name="stage")
        graph.node.extend(ir.to_proto(node) for node in stage)
        for name in sorted(reads & initializers.keys()):
            graph.initializer.append(onnx.numpy_helper.from_array(_data(initializers[name]), name))
        for name in feeds:
            array = self.values[0][name]
            kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
            graph.input.append(onnx.helper.make_tensor_value_info(name, kind, [None] * array.ndim))
        opsets = [
            onnx.helper.make_opsetid(name, number) for name, number in sorted(self.model.ir.opset_imports.items())
        ]
        return onnx.ModelProto(ir_version=IR_VERSION, graph=graph, opset_import=opsets)


def _data(initializer: ir.Value) -> Array:
    data = weight(initializer)
    assert data is not None  # an initializer
    return data


def _reads(node: ir.Node) -> list[ir.Value]:
    return [value for value in node.inputs if value is not None]


def last_uses(model: Model) -> dict[str, int]:
    """For every value the position of the last operator that reads it, control flow bodies left out."""
    return {value.name or "": position for position, node in enumerate(model.graph) for value in _reads(node)}


def peak_bytes(model: Model) -> int:
    """The most that the live values of one sample take at any operator, at four bytes an element. Shapes are known."""
    last = last_uses(model)
    ends: dict[int, int] = {}
    live = peak = 0
    for position, node in enumerate(model.graph):
        for output in node.outputs:
            size = 4 * int(np.prod(static_dims(output), dtype=np.int64))
            live += size
            end = last.get(output.name or "", position)
            ends[end] = ends.get(end, 0) + size
        peak = max(peak, live)
        live -= ends.get(position, 0)
    return peak
