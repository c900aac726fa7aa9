"""Unrolled networks against the integer reference, on every operator, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import graphs
import numpy as np
import pytest
import rtl_graphs

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops
from prunus.targets.fpga.rtl.lower import unroll
from prunus.targets.fpga.rtl.netlist import Netlist
from prunus.targets.fpga.rtl.placement import MAX_PRODUCTS, Placement, place

pytest.importorskip("da4ml")


def unrolled(graph: ir.Graph) -> tuple[Placement, Netlist]:
    placement = place(graph)
    assert not placement.refused, placement.refused
    return placement, unroll(graph, placement.inputs, placement.outputs, placement.ops).netlist


def flat(values: dict[str, np.ndarray], names: tuple[str, ...]) -> np.ndarray:
    return np.concatenate([values[name].reshape(len(values[name]), -1) for name in names], axis=1)


def check_exact(graph: ir.Graph, feeds: dict[str, np.ndarray]) -> int:
    """Compares all outputs on the feeds; returns how many elements there were."""
    placement, netlist = unrolled(graph)
    values = ops.run(graph, feeds, keep=True)
    found = netlist.evaluate(flat(values, placement.inputs))
    expected = flat(values, placement.outputs).astype(np.int64)
    assert np.array_equal(found, expected)
    return found.size


def test_perceptrons_equal_the_reference() -> None:
    assert check_exact(*graphs.mlp("pow2")) > 0


@pytest.mark.parametrize("seed", range(3))
def test_convolutions_equal_the_reference(seed: int) -> None:
    assert check_exact(*rtl_graphs.small_cnn(seed)) > 0


def test_a_changed_weight_is_noticed() -> None:
    """The companion: the comparison sees a single weight that differs by one."""
    graph, feeds = graphs.mlp("pow2")
    layer = next(op for op in graph.ops if isinstance(op, ir.QGemm))
    values = ops.run(graph, feeds, keep=True)
    weight = layer.weight.copy()
    weight[0, np.flatnonzero(values[layer.inputs[0]].any(axis=0))[0]] ^= 64
    changed = tuple(replace(op, weight=weight) if op is layer else op for op in graph.ops)
    other = ir.Graph(graph.name, graph.inputs, graph.outputs, graph.tensors, changed, graph.scheme)
    placement, netlist = unrolled(other)
    found = netlist.evaluate(flat(values, placement.inputs))
    assert not np.array_equal(found, flat(values, placement.outputs))


def test_ends_of_the_graph_stay_with_the_host() -> None:
    graph, _ = graphs.mlp("pow2")
    found = {finding.layer: (finding.placement, finding.reason_code) for finding in place(graph).findings}
    assert found[graph.ops[0].name] == ("host", "input-quantization")
    assert found[graph.ops[-1].name] == ("host", "host-epilogue")
    assert ("integer", "exact") in found.values()


@pytest.mark.parametrize(("scheme", "code"), [("f32", "scheme-f32"), ("fixed", "zero-point")])
def test_other_schemes_are_refused(scheme: ir.Scheme, code: str) -> None:
    graph, _ = graphs.mlp(scheme)
    assert code in {finding.reason_code for finding in place(graph).refused}


def test_what_is_too_large_to_unroll_is_refused_with_what_would_fit() -> None:
    build = graphs.Builder((4, 16, 16), "pow2", 0)
    graph, _ = build.finish("wide", build.dequantize(build.conv(build.quantize(), 32)))
    [refused] = place(graph).refused
    assert refused.reason_code == "too-large-to-unroll"
    assert f"{MAX_PRODUCTS:,}" in refused.hint and "hls" in refused.hint
