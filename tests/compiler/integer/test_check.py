"""The checker accepts good graphs and refuses each broken rule with its own code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from graphs import depthwise_cnn, mlp, residual_cnn

from prunus.compiler.errors import UnsupportedError
from prunus.compiler.integer import graph as ir
from prunus.compiler.integer.check import check_graph

SCHEMES = ("f32", "fixed", "pow2")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("make", [mlp, residual_cnn, depthwise_cnn])
def test_good_graphs_pass(make, scheme):
    check_graph(make(scheme, seed=2)[0])


def changed(graph: ir.Graph, kind: str, **fields) -> ir.Graph:
    """The graph with fields of its first operator of a kind replaced."""
    target = next(op for op in graph.ops if op.kind == kind)
    graph_ops = tuple(replace(op, **fields) if op is target else op for op in graph.ops)
    return replace(graph, ops=graph_ops)


def retyped(graph: ir.Graph, kind: str, **fields) -> ir.Graph:
    """The graph with the output type of its first operator of a kind changed."""
    name = next(op.output for op in graph.ops if op.kind == kind)
    tensor = graph.tensors[name]
    quant = replace(graph.quant(name), **fields)
    return replace(graph, tensors={**graph.tensors, name: replace(tensor, quant=quant)})


def first(graph: ir.Graph, kind: str) -> ir.Op:
    return next(op for op in graph.ops if op.kind == kind)


def requant(graph: ir.Graph, kind: str, **fields) -> ir.Graph:
    op = first(graph, kind)
    assert isinstance(op, ir.Fused)
    return changed(graph, kind, requant=replace(op.requant, **fields))


def cnn(scheme: ir.Scheme = "fixed") -> ir.Graph:
    return residual_cnn(scheme, seed=2)[0]


def reshaped(graph: ir.Graph) -> ir.Graph:
    name = first(graph, "maxpool").output
    return replace(graph, tensors={**graph.tensors, name: replace(graph.tensors[name], shape=(16, 2, 2))})


def with_minus_128(graph: ir.Graph) -> ir.Graph:
    conv = first(graph, "conv")
    assert isinstance(conv, ir.QConv)
    weight = conv.weight.copy()
    weight[0, 0, 0, 0] = -128
    return changed(graph, "conv", weight=weight)


BROKEN = {
    "order of operators": ("graph-order", lambda: replace(cnn(), ops=cnn().ops[::-1])),
    "two of one name": ("graph-names", lambda: changed(cnn(), "maxpool", name="n0001")),
    "an output that nobody computes": ("graph-order", lambda: replace(cnn(), outputs=("t9999",))),
    "shapes": ("shape-mismatch", lambda: reshaped(cnn())),
    "zero point outside of the type": ("zero-point-rule", lambda: retyped(cnn(), "conv", zero_point=300)),
    "zero point in pow2": ("zero-point-rule", lambda: retyped(cnn("pow2"), "conv", zero_point=3)),
    "scale in pow2": ("scale-not-pow2", lambda: retyped(cnn("pow2"), "conv", scale=0.75)),
    "a scale that is no float32": ("type-rule", lambda: retyped(cnn(), "conv", scale=0.1)),
    "movement that changes the type": ("type-rule", lambda: retyped(cnn(), "maxpool", scale=0.5)),
    "a float into an integer operator": ("type-rule", lambda: changed(cnn(), "conv", inputs=("t0000",))),
    "clip range": ("clip-range", lambda: changed(cnn(), "conv", qmax=256)),
    "crossed clip range": ("clip-range", lambda: changed(cnn(), "conv", qmin=9, qmax=8)),
    "weight of -128": ("weight-range", lambda: with_minus_128(cnn())),
    "weights wider than stated": ("weight-range", lambda: changed(cnn(), "conv", weight_bits=4)),
    "a bias too many": ("shape-mismatch", lambda: changed(cnn(), "conv", bias=np.zeros(9, np.int32))),
    "accumulator": ("acc-overflow", lambda: changed(cnn(), "conv", bias=np.full(8, 2**31 - 1, np.int32))),
    "shift of 63": ("requant-range", lambda: requant(cnn(), "conv", shift=np.full(8, 63, np.int32))),
    "shift of 0": ("requant-range", lambda: requant(cnn(), "conv", shift=np.full(8, 0, np.int32))),
    "multiplier too small": ("requant-range", lambda: requant(cnn(), "conv", multiplier=np.full(8, 1 << 29))),
    "multiplier too large": ("requant-range", lambda: requant(cnn(), "conv", multiplier=np.full(8, 1 << 31))),
    "number of multipliers": ("requant-range", lambda: requant(cnn(), "conv", multiplier=np.full(3, 1 << 30))),
    "another scheme": ("requant-range", lambda: replace(cnn(), scheme="f32")),
    "subnormal multiplier": (
        "requant-range",
        lambda: requant(cnn("f32"), "conv", multiplier=np.full(8, 1e-40, np.float32)),
    ),
    "two shifts in an addition": ("requant-range", lambda: requant(cnn(), "add", shift=np.array([30, 31], np.int32))),
    "operands far apart": ("requant-range", lambda: requant(cnn("pow2"), "add", shift=np.array([-9, 40], np.int32))),
    "multiplier in pow2": ("requant-range", lambda: requant(cnn("pow2"), "conv", multiplier=np.full(8, 2))),
    "left shift of 32": ("requant-range", lambda: requant(cnn("pow2"), "conv", shift=np.full(8, -32, np.int32))),
    "count index": ("shape-mismatch", lambda: changed(cnn(), "avgpool", count_index=np.ones((1, 1), np.int32))),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_broken_graphs_are_refused(case):
    code, make = BROKEN[case]
    with pytest.raises(UnsupportedError) as caught:
        check_graph(make())
    assert caught.value.code == code
    assert caught.value.where


def test_tables_have_256_entries():
    u8 = ir.QType("u8", 0.5)
    tensors = {name: ir.Tensor(name, (3,), u8) for name in ("a", "b")}
    lut = ir.QLut(name="n1", inputs=("a",), output="b", table=np.zeros(255, np.uint8))
    with pytest.raises(UnsupportedError) as caught:
        check_graph(ir.Graph("g", ("a",), ("b",), tensors, (lut,)))
    assert caught.value.code == "table-size"
