"""The exported library computes what the integer reference defines."""

from __future__ import annotations

from dataclasses import replace

import graphs
import numpy as np
import pytest

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops
from prunus.targets.native.operators import CALLS
from prunus.targets.tvm import TvmTarget, islands
from prunus.tests.targets.tvm import float_cases, unions
from prunus.tests.targets.tvm.conftest import Built
from prunus.tests.targets.tvm.unions import Arrays

pytestmark = pytest.mark.toolchain
ISLAND_TOLERANCE = 1e-5


def differing(graph: ir.Graph, found: Arrays, expected: Arrays) -> list[str]:
    """Tensors outside of islands that differ in any element, type or shape."""
    exact = [name for op in graph.ops if not isinstance(op, ir.Island) for name in op.outputs if name in found]
    return [
        name
        for name in exact
        if name in expected
        and (found[name].dtype != expected[name].dtype or not np.array_equal(found[name], expected[name]))
    ]


def island_errors(graph: ir.Graph, found: Arrays, expected: Arrays) -> dict[str, float]:
    """Largest absolute error of every island's output."""
    names = [op.output for op in graph.ops if isinstance(op, ir.Island)]
    return {name: float(np.abs(found[name].astype("f8") - expected[name]).max()) for name in names}


def test_golden_vectors_cover_every_operator_and_scheme():
    operators = [op for case in unions.golden_cases() for op in case.graph.ops]
    assert {type(op) for op in operators} == {*CALLS, ir.QReshape}
    schemes = {(type(op), op.requant.scheme) for op in operators if isinstance(op, ir.Fused)}
    fused = {cls for cls in CALLS if issubclass(cls, ir.Fused)}
    # average pooling on pow2 graphs uses fixed multipliers
    assert schemes == {(cls, s) for cls in fused for s in unions.SCHEMES} - {(ir.QAvgPool, "pow2")}


def test_every_integer_tensor_equals_the_reference(everything: Built):
    assert set(everything.graph.integer_tensors()) <= set(everything.found)
    assert set(everything.graph.outputs) <= set(everything.found) & set(everything.expected)
    assert differing(everything.graph, everything.found, everything.expected) == []


def test_common_islands_stay_within_tolerance(everything: Built):
    errors = island_errors(everything.graph, everything.found, everything.expected)
    assert len(errors) > 9
    assert {name: error for name, error in errors.items() if not error <= ISLAND_TOLERANCE} == {}


def test_island_cases_cover_every_operator():
    models = [islands.parse(case.graph.ops[0]) for case in float_cases.every_island(1)]
    assert {node.op_type for model in models for node in model.graph.node} == islands.OPERATORS


@pytest.mark.slow
def test_every_island_stays_within_tolerance(device, tmp_path):
    case = unions.union(float_cases.every_island(3))
    found = TvmTarget().run(TvmTarget().lower(case.graph, device, tmp_path), case.graph, case.feeds)
    errors = island_errors(case.graph, found, case.expected)
    assert len(errors) == len(case.graph.ops)
    assert {name: error for name, error in errors.items() if not error <= ISLAND_TOLERANCE} == {}


def test_the_tolerance_tells_neighbouring_functions_apart(small: Built):
    """A Softmax over one more class, of weight e^-9, already lies outside of the tolerance."""
    (output,) = small.graph.outputs
    logits = small.expected[small.graph.producers[output].inputs[0]].astype("f8")
    wider = np.exp(logits) / (np.exp(logits).sum(axis=1, keepdims=True) + np.exp(logits.max() - 9))
    assert island_errors(small.graph, small.found, {output: wider})[output] > ISLAND_TOLERANCE


def test_a_changed_weight_is_found(device, tmp_path):
    graph, feeds = graphs.mlp()
    index, op = next((i, op) for i, op in enumerate(graph.ops) if isinstance(op, ir.QGemm))
    weight = op.weight.copy()
    strongest = np.unravel_index(np.abs(weight.astype(int)).argmax(), weight.shape)
    weight[strongest] = -weight[strongest]
    faulty = replace(graph, ops=(*graph.ops[:index], replace(op, weight=weight), *graph.ops[index + 1 :]))
    found = TvmTarget().run(TvmTarget().lower(faulty, device, tmp_path), faulty, feeds)
    assert op.output in differing(graph, found, ops.run(graph, feeds, keep=True))


@pytest.mark.parametrize("batch", [1, 70])
def test_the_batch_is_free(small: Built, batch: int):
    feeds = {name: np.resize(x, (batch, *x.shape[1:])) for name, x in small.feeds.items()}
    found = TvmTarget().run(small.artifact, small.graph, feeds)
    expected = ops.run(small.graph, feeds, keep=True)
    assert all(len(found[name]) == batch for name in found)
    assert differing(small.graph, found, expected) == []
