"""Regions are convex, complete and in order; as networks of the kernels they equal the reference."""

from __future__ import annotations

from dataclasses import replace

import graphs
import numpy as np
import pytest

from prunus.compiler.errors import UnsupportedError
from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops
from prunus.targets.native import NativeModel, define, pack, split
from prunus.targets.native.operators import CALLS
from prunus.tests.targets.ort import cases
from prunus.tests.targets.tvm import unions

SMALL = (graphs.mlp, graphs.residual_cnn, graphs.depthwise_cnn)


def run_parts(graph: ir.Graph, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The reference, part by part: fails where a part comes before something it needs."""
    values = dict(feeds)
    for part in split(graph):
        inputs = {name: values[name] for name in part.inputs}
        if isinstance(part, ir.Island):
            values |= zip(part.outputs, ops.evaluate(graph, part, tuple(inputs.values())), strict=True)
        else:
            values |= ops.run(part, inputs)
    return values


# -- regions --------------------------------------------------------------------------------------------------------


def test_one_region_without_islands() -> None:
    graph, _ = graphs.residual_cnn("f32")
    region, *islands = split(graph)
    assert isinstance(region, ir.Graph)
    assert all(isinstance(part, ir.Island) for part in islands)
    assert region.ops == tuple(op for op in graph.ops if not isinstance(op, ir.Island))


def test_regions_lie_between_islands() -> None:
    graph, feeds = cases.with_islands()
    parts = split(graph)
    kinds = ["island" if isinstance(part, ir.Island) else "region" for part in parts]
    assert kinds == ["region", "island"] * 3
    covered = [op.name for part in parts for op in ([part] if isinstance(part, ir.Island) else part.ops)]
    assert sorted(covered) == sorted(op.name for op in graph.ops)
    expected, found = ops.run(graph, feeds), run_parts(graph, feeds)
    for name in graph.outputs:
        np.testing.assert_array_equal(found[name], expected[name])


def test_regions_keep_float_values_at_their_borders() -> None:
    graph, _ = cases.with_islands()
    for part in split(graph):
        if isinstance(part, ir.Graph):
            inner = {op.output for op in part.ops} - set(part.outputs)
            assert all(part.tensors[name].quant is not None for name in inner)


def test_independent_branches_are_regions_of_their_own() -> None:
    union = unions.union([unions.evaluated(*make("f32")) for make in SMALL])
    regions = [part for part in split(union.graph) if isinstance(part, ir.Graph)]
    assert [region.name for region in regions] == ["region0", "region1", "region2"]
    assert not {op.name for op in regions[0].ops} & {op.name for op in regions[1].ops}


def test_a_float_value_that_is_quantized_again_divides_regions() -> None:
    """A network has no float tensors inside."""
    graph, _ = graphs.mlp("f32")
    quantize = next(op for op in graph.ops if isinstance(op, ir.Quantize))
    quant = graph.quant(quantize.output)
    again = ir.Quantize(name="q", inputs=("d",), output="e", scale=quant.scale, zero_point=quant.zero_point)
    ends = (ir.Dequantize(name="dq", inputs=(quantize.output,), output="d"), again)
    shape = graph.tensors[quantize.output].shape
    tensors = {"d": ir.Tensor("d", shape), "e": ir.Tensor("e", shape, quant)}
    chain = replace(graph, ops=(quantize, *ends), outputs=("e",), tensors={**graph.tensors, **tensors})
    assert [part.name for part in split(chain)] == ["region0", "region1"]


# -- networks -------------------------------------------------------------------------------------------------------


def test_every_operator_equals_the_golden_vectors() -> None:
    golden = unions.golden_cases()
    assert {type(op) for case in golden for op in case.graph.ops} == {*CALLS, ir.QReshape}
    for case in golden:
        batch = len(next(iter(case.feeds.values())))
        found = NativeModel(case.graph, batch=batch, trace=True).run(case.feeds)
        for name, expected in case.expected.items():
            np.testing.assert_array_equal(found[name], expected, err_msg=f"{case.graph.name} {name}")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("scheme", unions.SCHEMES)
@pytest.mark.parametrize("make", SMALL, ids=lambda make: make.__name__)
def test_every_integer_tensor_equals_the_reference(make, scheme: ir.Scheme, threads: int) -> None:
    graph, feeds = make(scheme)
    found = NativeModel(graph, batch=4, threads=threads, trace=True).run(feeds)
    expected = ops.run(graph, feeds, keep=True)
    assert set(graph.integer_tensors()) <= set(found)
    for name in graph.integer_tensors():
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_islands_run_between_the_networks() -> None:
    graph, feeds = cases.with_islands()
    found = NativeModel(graph, batch=6, trace=True).run(feeds)
    expected = ops.run(graph, feeds, keep=True)
    for name in graph.integer_tensors():
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
    assert np.abs(found[graph.outputs[0]] - expected[graph.outputs[0]]).max() <= 1e-5


def test_a_changed_weight_is_seen() -> None:
    graph, feeds = graphs.residual_cnn("f32")
    index, op = next((i, op) for i, op in enumerate(graph.ops) if isinstance(op, ir.QConv))
    weight = op.weight.copy()
    weight.flat[np.abs(weight.astype(int)).argmax()] *= -1
    faulty = replace(graph, ops=(*graph.ops[:index], replace(op, weight=weight), *graph.ops[index + 1 :]))
    found = NativeModel(faulty, batch=4, trace=True).run(feeds)
    assert (found[op.output] != ops.run(graph, feeds, keep=True)[op.output]).any()


def test_packed_bytes_are_the_same_every_time() -> None:
    region, *_ = split(graphs.residual_cnn("f32")[0])
    assert isinstance(region, ir.Graph)
    assert pack(region) == pack(region)
    assert pack(region) != pack(region, region.integer_tensors())


def test_an_island_is_no_network() -> None:
    graph, _ = cases.with_islands()
    with pytest.raises(UnsupportedError) as caught:
        define(graph)
    assert caught.value.code == "unknown-op"
