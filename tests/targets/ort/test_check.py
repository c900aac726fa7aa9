"""Findings, formats, costs: what builds nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import graphs
import onnx
import pytest
from onnx import helper

from prunus.compiler.errors import InvalidModelError, UnsupportedError
from prunus.compiler.integer import graph as ir
from prunus.compiler.model.workload import Layer, Sparsity, Workload
from prunus.compiler.target import Device, Measures, Target
from prunus.targets.native.limits import MAX_RANK
from prunus.targets.ort import OrtTarget
from prunus.tests.targets.ort import cases
from prunus.tests.targets.tvm import float_cases

U8 = ir.QType("u8", 0.5, 3)


def codes(graph: ir.Graph, device: Device) -> list[tuple[str, str]]:
    return [(finding.placement, finding.reason_code) for finding in OrtTarget().check(graph, device)]


# -- findings ---------------------------------------------------------------------------------------------------------


def test_is_a_target(device: Device) -> None:
    target = OrtTarget()
    assert isinstance(target, Target)
    assert isinstance(target, Measures)
    formats = target.formats(device)
    assert (formats.scheme, formats.activation, formats.block) == ("f32", "u8", (16, 4))
    assert set(formats.reasons) >= {"scheme", "activation", "zero_point", "per_channel", "block", "channel_multiple"}


def test_one_finding_per_operator_in_graph_order(device: Device) -> None:
    graph, _ = cases.with_islands()
    found = OrtTarget().check(graph, device)
    assert [finding.layer for finding in found] == [op.name for op in graph.ops]
    placements = [finding.reason_code for finding in found if finding.placement == "float"]
    assert placements == ["no-integer-form", "no-integer-form", "terminal-softmax"]


def test_high_ranks_are_refused(device: Device, tmp_path) -> None:
    ones = (1,) * MAX_RANK
    tensors = {name: ir.Tensor(name, ones, U8) for name in "xy"}
    op = ir.QTranspose(name="op", inputs=("x",), output="y", perm=tuple(range(MAX_RANK)))
    graph = ir.Graph("one", ("x",), ("y",), tensors, (op,))
    assert codes(graph, device) == [("unsupported", "rank-too-high")]
    with pytest.raises(UnsupportedError) as caught:
        OrtTarget().lower(graph, device, tmp_path)
    assert (caught.value.code, caught.value.where) == ("rank-too-high", "op")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("domain", ["prunus", "com.microsoft", "evil.example"])
def test_foreign_domains_are_refused(device: Device, domain: str) -> None:
    assert codes(float_cases.island("Relu", domain=domain), device) == [("unsupported", "island-unsupported")]


def test_foreign_operators_in_subgraphs_are_refused(device: Device) -> None:
    island = cases.with_subgraph()
    model = onnx.load_model_from_string(island.model)
    branch = next(a.g for node in model.graph.node for a in node.attribute if a.name == "else_branch")
    branch.node.append(helper.make_node("Network", ["h"], ["z"], domain="prunus"))
    hidden = replace(island, model=model.SerializeToString())
    tensors = {name: ir.Tensor(name, (3,)) for name in "ab"}
    assert codes(ir.Graph("one", ("a",), ("b",), tensors, (hidden,)), device) == [("unsupported", "island-unsupported")]


def test_names_must_be_plain(device: Device, tmp_path) -> None:
    graph, _ = graphs.mlp()
    op = replace(graph.ops[0], name="a b")
    with pytest.raises(InvalidModelError):
        OrtTarget().lower(replace(graph, ops=(op, *graph.ops[1:])), device, tmp_path)


def test_islands_of_two_versions_are_refused(device: Device, tmp_path) -> None:
    first = cases.with_subgraph()
    model = onnx.load_model_from_string(first.model)
    model.opset_import[0].version = 20
    second = replace(first, name="op2", inputs=("b",), output="c", model=model.SerializeToString())
    tensors = {name: ir.Tensor(name, (3,)) for name in "abc"}
    with pytest.raises(UnsupportedError) as caught:
        OrtTarget().lower(ir.Graph("two", ("a",), ("c",), tensors, (first, second)), device, tmp_path)
    assert caught.value.code == "mixed-opsets"


# -- costs ------------------------------------------------------------------------------------------------------------


def layer(op: str, shape: tuple[int, ...], out: tuple[int, ...], **fields) -> Layer:
    """An 8-bit layer."""
    bits = {"weight_bits": 8, "input_bits": 8, "output_bits": 8}
    elements = {"input_elements": math.prod(shape), "output_elements": math.prod(out)}
    channels = {"in_channels": shape[0], "out_channels": out[0]}
    return Layer(f"n_{op}", op, shape, out, **{**bits, **elements, **channels, **fields})


CONV = layer("conv", (64, 14, 14), (128, 14, 14), macs=128 * 196 * 576, weights=128 * 576, kernel=(3, 3), pads=(1,) * 4)
DEPTHWISE = layer("depthwise", (64, 14, 14), (64, 14, 14), weights=576, kernel=(3, 3), pads=(1,) * 4, group=64)
GEMM = layer("gemm", (512,), (256,), macs=512 * 256, weights=512 * 256)
ADD = layer("add", (64, 14, 14), (64, 14, 14), ops=64 * 196)


def seconds(device: Device, *layers: Layer) -> float:
    (estimate,) = OrtTarget().cost([Workload(layers)], device)
    assert all(q.basis == "modelled" and q.low <= q.value <= q.high for q in estimate.costs.values())
    assert [each.layer for each in estimate.layers] == [each.name for each in layers]
    return estimate.costs["latency_s"].value - device.data["session_run_s"].value


def test_totals_follow_from_the_layers(device: Device) -> None:
    parts = [seconds(device, each) for each in (CONV, DEPTHWISE, GEMM, ADD)]
    assert all(part > 0 for part in parts)
    assert seconds(device, CONV, DEPTHWISE, GEMM, ADD) == pytest.approx(sum(parts), rel=1e-9)
    assert seconds(device) == pytest.approx(0, abs=1e-12)


def test_blocks_of_zeros_are_cheaper(device: Device) -> None:
    pruned = [replace(CONV, sparsity=Sparsity("block", density, (16, 4))) for density in (1.0, 0.5, 0.25)]
    dense, half, quarter = (seconds(device, each) for each in pruned)
    assert quarter < half < dense == pytest.approx(seconds(device, CONV))


def test_fewer_channels_are_cheaper(device: Device) -> None:
    half = replace(CONV, out_channels=64, macs=CONV.macs // 2, weights=CONV.weights // 2)
    assert seconds(device, half) < seconds(device, CONV)


def test_convolutions_of_one_dimension_and_windows_have_a_cost(device: Device) -> None:
    line = replace(CONV, in_shape=(64, 100), out_shape=(128, 98), kernel=(1, 3), pads=(0,) * 4)
    assert 0 < seconds(device, line) < seconds(device, CONV)
    strided = replace(CONV, strides=(2, 2), out_shape=(128, 7, 7))
    assert 0 < seconds(device, strided) < seconds(device, CONV)
