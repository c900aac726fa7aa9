"""The layer list: golden texts, layouts, what is refused and why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import graphs
import hls_graphs
import numpy as np
import pytest

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import requant
from prunus.targets.catalog import resolve
from prunus.targets.fpga.hls import HlsTarget, settings
from prunus.targets.fpga.hls.lower import lower_graph
from prunus.targets.fpga.hls.schedule import schedule
from prunus.targets.fpga.hls.spec import Spec

_, DEVICE = resolve("pynq-z2")
Golden = Callable[[str, str], None]


def text_of(graph: ir.Graph) -> str:
    lowered = lower_graph(graph)
    layers, _ = schedule(lowered.layers, settings.budget(DEVICE), lowered.io_type)
    spec = Spec(layers, lowered.inputs, lowered.outputs, lowered.io_type, "Vitis", "part", 5.0)
    findings = "".join(f"# {f.layer} {f.placement} {f.reason_code}\n" for f in lowered.findings)
    return f"# {lowered.io_type}\n{findings}{spec.text()}"


@pytest.mark.parametrize("scheme", ["pow2", "fixed"])
@pytest.mark.parametrize("name", ["mlp", "cnn", "sequence", "two_ended"])
def test_layers_and_types(name: str, scheme: ir.Scheme, golden: Golden) -> None:
    graph, _ = getattr(hls_graphs, name)(scheme)
    golden(f"hls/{name}-{scheme}.txt", text_of(graph))


@pytest.mark.parametrize("name", ["residual_cnn", "depthwise_cnn"])
def test_layers_and_types_of_networks(name: str, golden: Golden) -> None:
    graph, _ = getattr(graphs, name)("pow2")
    golden(f"hls/{name}-pow2.txt", text_of(graph))


def check(graph: ir.Graph) -> dict[str, tuple[str, str]]:
    """Placement and reason code by operator."""
    return {f.layer: (f.placement, f.reason_code) for f in HlsTarget().check(graph, DEVICE)}


def test_the_ends_of_the_graph_stay_with_the_host() -> None:
    graph, _ = graphs.mlp("pow2")
    found = check(graph)
    assert found["n0001"] == ("host", "input-quantization")
    assert [found[op.name] for op in graph.ops[-2:]] == [("host", "host-epilogue")] * 2
    assert {found[op.name] for op in graph.ops[1:-2]} == {("integer", "exact")}


@pytest.mark.parametrize(("scheme", "code"), [("f32", "scheme-f32"), ("fixed", "zero-point")])
def test_other_formats_are_refused_per_operator(scheme: ir.Scheme, code: str) -> None:
    graph, _ = graphs.residual_cnn(scheme)
    refused = [f for f in HlsTarget().check(graph, DEVICE) if f.placement == "unsupported"]
    assert code in {f.reason_code for f in refused}
    assert all(f.hint for f in refused)


def one_conv(**changes: Any) -> ir.Graph:
    """A convolution whose operator is changed."""
    build = hls_graphs.SymmetricBuilder((2, 6, 6), "pow2", 0)
    build.conv(build.quantize(), 3)
    build.ops[-1] = replace(build.ops[-1], **changes)
    return build.finish("one", build.dequantize("t0002"))[0]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"qmin": -5, "qmax": 90}, "clip-range"),
        ({"qmin": 3, "qmax": 255}, "clip-range"),
        ({"requant": ir.Requant("pow2", np.ones(3, np.int64), np.array([1, 9, 40], np.int32))}, "scale-spread"),
    ],
)
def test_a_convolution_that_no_type_can_express(changes: dict[str, Any], code: str) -> None:
    assert check(one_conv(**changes))["n0002"] == ("unsupported", code)


def test_a_shift_that_contradicts_the_scales() -> None:
    build = hls_graphs.SymmetricBuilder((4,), "pow2", 0)
    x = build.gemm(build.quantize(), 4)
    build.add(x, x)
    shifted = replace(build.ops[-1].requant, shift=build.ops[-1].requant.shift + 1)  # type: ignore[attr-defined]
    build.ops[-1] = replace(build.ops[-1], requant=shifted)  # type: ignore[call-arg]
    build.gemm("t0003", 3)
    assert check(build.finish("add", build.dequantize("t0004"))[0])["n0003"] == ("unsupported", "scale-mismatch")


def test_pooling_that_overlaps() -> None:
    build = hls_graphs.SymmetricBuilder((2, 7, 7), "pow2", 0)
    x = build.maxpool(build.conv(build.quantize(), 3), 3, 2)
    last, _ = build.finish("last", build.dequantize(x))
    assert check(last)["n0003"] == ("host", "host-epilogue")
    hint = HlsTarget().check(last, DEVICE)[2].hint
    assert "neither overlap" in hint and "host computes it" in hint
    between, _ = build.finish("between", build.dequantize(build.conv(x, 2)))
    assert check(between)["n0003"] == ("unsupported", "pool-window")


def test_a_resize_that_is_no_repetition() -> None:
    build = hls_graphs.SymmetricBuilder((2, 4, 4), "pow2", 0)
    x = build.upsample(build.conv(build.quantize(), 3), 2, 2)
    build.ops[-1] = replace(build.ops[-1], rows=np.array([0, 0, 0, 1, 1, 2, 3, 3], np.int32))  # type: ignore[call-arg]
    assert check(build.finish("up", build.dequantize(build.conv(x, 2)))[0])["n0003"] == ("unsupported", "resize")


def test_tables_run_on_the_host_only_at_the_ends() -> None:
    build = hls_graphs.SymmetricBuilder((4,), "pow2", 0)
    lut = build.lut(build.gemm(build.quantize(), 4, relu=False))
    last, _ = build.finish("last", build.dequantize(lut))
    assert check(last)["n0003"] == ("host", "host-epilogue")
    between, _ = build.finish("between", build.dequantize(build.gemm(lut, 3)))
    assert check(between)["n0003"] == ("unsupported", "no-lut")
    first, _ = hls_graphs.sequence("pow2")
    assert check(first)["n0002"] == ("host", "host-prologue")
    assert lower_graph(first).inputs == ("t0002",)


def test_a_transpose_between_layers_is_refused() -> None:
    build = hls_graphs.SymmetricBuilder((2, 6, 6), "pow2", 0)
    x = build.transpose(build.conv(build.quantize(), 6), 1, 0, 2)
    assert check(build.finish("t", build.dequantize(build.conv(x, 3)))[0])["n0004"] == ("unsupported", "layout")


def test_too_many_readers_of_a_stream() -> None:
    build = hls_graphs.SymmetricBuilder((2, 4, 4), "pow2", 0)
    x = build.conv(build.quantize(), 2)
    total = x
    for _ in range(8):
        total = build.add(total, build.conv(x, 2, kernel=1))
    assert check(build.finish("many", build.dequantize(total))[0])["n0002"] == ("unsupported", "fan-out")


def test_an_input_that_is_stored_channels_last_needs_no_transpose() -> None:
    graph, _ = hls_graphs.cnn("pow2")
    lowered = lower_graph(graph)
    first = lowered.layers[0]
    assert (first.class_name, first.shape) == ("InputLayer", (9, 8, 3))
    assert not any(layer.class_name == "Transpose" for layer in lowered.layers)


def test_weights_behind_a_flatten_follow_the_pixels() -> None:
    build = hls_graphs.SymmetricBuilder((2, 3, 4), "pow2", 0)
    build.gemm(build.flatten(build.conv(build.quantize(), 5)), 6)
    graph, _ = build.finish("flat", build.dequantize("t0004"))
    op = next(op for op in graph.ops if isinstance(op, ir.QGemm))
    dense = next(layer for layer in lower_graph(graph).layers if layer.class_name == "Dense")
    real = dense.arrays["weight_data"] / np.abs(dense.arrays["weight_data"]).max()
    want = op.weight.reshape(6, 5, 3, 4).transpose(0, 2, 3, 1).reshape(6, -1).T * np.exp2(
        -op.requant.shift.astype(float)
    )
    np.testing.assert_array_equal(real, want / np.abs(want).max())


def test_the_device_chooses_the_scheme() -> None:
    target = HlsTarget()
    assert target.formats(DEVICE).scheme == "pow2"
    fixed = replace(DEVICE, data={**DEVICE.data, "hls_scheme": "fixed"})
    assert (target.formats(fixed).scheme, target.formats(fixed).requant_bits) == ("fixed", 18)
    assert set(target.formats(DEVICE).reasons) >= {"scheme", "zero_point", "softmax"}


def test_a_multiplier_of_one_keeps_its_result_type() -> None:
    """hls4ml drops normalizations by 1 together with their type: a cast has to stand there."""
    build = hls_graphs.SymmetricBuilder((4,), "fixed", 0, bits=18)
    x = build.gemm(build.quantize(), 4, relu=False)
    quant = build._quant(x)
    m = requant.product([quant.scale], quant.scale, "fixed", 18)
    relu = ir.QRequant(**build._names(x), requant=m, qmin=0, qmax=127)
    build._append(relu, (4,), replace(quant, dtype="u8"))
    graph, _ = build.finish("one", build.dequantize("t0003"))
    last = lower_graph(graph).layers[-1]
    assert (last.class_name, last.types["result"]) == ("Activation", "ufixed<7,7,RND_CONV,SAT>")
