"""The exported library computes what the integer reference defines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops
from prunus.targets.tvm import TvmTarget, calls, islands
from prunus.tests import graphs
from prunus.tests.targets.tvm import cases, float_cases
from prunus.tests.targets.tvm.conftest import Built

pytestmark = pytest.mark.toolchain
ISLAND_TOLERANCE = 1e-5


def differing(graph: ir.Graph, found: dict, expected: dict) -> list[str]:
    """Tensors outside of islands that differ in any element, type or shape."""
    exact = [name for op in graph.ops if not isinstance(op, ir.Island) for name in op.outputs if name in found]
    return [
        name
        for name in exact
        if found[name].dtype != expected[name].dtype or not np.array_equal(found[name], expected[name])
    ]


def test_cases_cover_every_operator_and_scheme():
    graph, _ = cases.every_operator()
    kinds = {(type(op), op.requant.scheme) for op in graph.ops if isinstance(op, ir.Fused)}
    fused = {cls for cls in calls.CALLS if issubclass(cls, ir.Fused)}
    assert {type(op) for op in graph.ops} == {*calls.CALLS, ir.QReshape}
    # average pooling on pow2 graphs uses fixed multipliers
    assert kinds == {(cls, s) for cls in fused for s in cases.SCHEMES} - {(ir.QAvgPool, "pow2")}


def test_islands_cover_every_operator():
    graphs_ = [graph for graph, _ in float_cases.every_island(1)]
    covered = {node.op_type for graph in graphs_ for node in islands.parse(graph.ops[0]).graph.node}
    assert covered == islands.OPERATORS


def test_every_integer_tensor_equals_the_reference(everything: Built):
    found = TvmTarget().run(everything.artifact, everything.graph, everything.feeds)
    expected = ops.run(everything.graph, everything.feeds, keep=True)
    assert set(everything.graph.integer_tensors()) <= set(found)
    assert set(everything.graph.outputs) <= set(found)
    assert differing(everything.graph, found, expected) == []


def test_islands_stay_within_tolerance(everything: Built):
    found = TvmTarget().run(everything.artifact, everything.graph, everything.feeds)
    expected = ops.run(everything.graph, everything.feeds, keep=True)
    names = [op.output for op in everything.graph.ops if isinstance(op, ir.Island)]
    errors = {name: np.abs(found[name].astype("f8") - expected[name]).max() for name in names}
    assert len(errors) > 80
    assert {name: error for name, error in errors.items() if not error <= ISLAND_TOLERANCE} == {}


def test_a_changed_weight_is_found(device, tmp_path):
    graph, feeds = graphs.mlp()
    index, op = next((i, op) for i, op in enumerate(graph.ops) if isinstance(op, ir.QGemm))
    weight = op.weight.copy()
    strongest = np.unravel_index(np.abs(weight.astype(int)).argmax(), weight.shape)
    weight[strongest] = -weight[strongest]
    faulty = replace(graph, ops=(*graph.ops[:index], replace(op, weight=weight), *graph.ops[index + 1 :]))
    artifact = TvmTarget().lower(faulty, device, tmp_path)
    found = TvmTarget().run(artifact, faulty, feeds)
    assert op.output in differing(graph, found, ops.run(graph, feeds, keep=True))


@pytest.mark.parametrize("batch", [1, 70])
def test_the_batch_is_free(small: Built, batch: int):
    feeds = {name: np.resize(x, (batch, *x.shape[1:])) for name, x in small.feeds.items()}
    found = TvmTarget().run(small.artifact, small.graph, feeds)
    expected = ops.run(small.graph, feeds, keep=True)
    assert all(len(found[name]) == batch for name in found)
    assert differing(small.graph, found, expected) == []
