"""Several graphs side by side in one: one library is compiled instead of a hundred."""

from __future__ import annotations

from dataclasses import dataclass, replace

import graphs
import numpy as np

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops, serialize
from prunus.tests.conftest import GOLDEN

SCHEMES: tuple[ir.Scheme, ...] = ("f32", "fixed", "pow2")
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    """A graph, inputs for it and values of its tensors (outputs at least)."""

    graph: ir.Graph
    feeds: Arrays
    expected: Arrays


def golden_cases() -> list[Case]:
    """The golden vectors of the integer contract: every operator in every scheme, and the corners."""
    found = []
    for path in sorted((GOLDEN / "int").glob("*.npz")):
        with np.load(path) as stored:
            found.append(Case(*serialize.unpack_case(dict(stored))))
    return found


def evaluated(graph: ir.Graph, feeds: Arrays) -> Case:
    """A case whose values come from the integer reference."""
    return Case(graph, feeds, ops.run(graph, feeds, keep=True))


def networks() -> list[Case]:
    """Three small networks in every scheme."""
    makers = (graphs.mlp, graphs.residual_cnn, graphs.depthwise_cnn)
    return [evaluated(*make(scheme)) for make in makers for scheme in SCHEMES]


def _renamed(case: Case, prefix: str) -> Case:
    graph = case.graph
    tensors = {prefix + name: replace(tensor, name=prefix + name) for name, tensor in graph.tensors.items()}
    renamed = tuple(
        replace(op, name=prefix + op.name, inputs=tuple(prefix + n for n in op.inputs), output=prefix + op.output)
        for op in graph.ops
    )
    inputs, outputs = (tuple(prefix + name for name in names) for names in (graph.inputs, graph.outputs))
    feeds, expected = ({prefix + k: v for k, v in arrays.items()} for arrays in (case.feeds, case.expected))
    return Case(ir.Graph(graph.name, inputs, outputs, tensors, renamed, graph.scheme), feeds, expected)


def union(cases: list[Case]) -> Case:
    """All cases in one graph. Samples are repeated until all cases have the largest batch among them."""
    named = [_renamed(case, f"g{index:03d}_") for index, case in enumerate(cases)]
    batch = max(len(array) for case in named for array in case.feeds.values())
    feeds, expected = (
        {name: np.resize(array, (batch, *array.shape[1:])) for arrays in group for name, array in arrays.items()}
        for group in ([case.feeds for case in named], [case.expected for case in named])
    )
    tensors = {name: tensor for case in named for name, tensor in case.graph.tensors.items()}
    inputs, outputs, operators = (
        tuple(item for case in named for item in getattr(case.graph, field)) for field in ("inputs", "outputs", "ops")
    )
    return Case(ir.Graph("union", inputs, outputs, tensors, operators), feeds, expected)
