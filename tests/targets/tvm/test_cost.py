"""The roofline: its arithmetic, its bounds, its device file."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from prunus.compiler.model.workload import Layer, Workload
from prunus.compiler.quantity import Quantity
from prunus.targets.bundle import processor
from prunus.targets.tvm import TvmTarget


def layer(op: str, shape: tuple[int, ...], out: tuple[int, ...], macs: int, weights: int, **fields) -> Layer:
    """An 8-bit layer."""
    bits = {"weight_bits": 8, "input_bits": 8, "output_bits": 8}
    elements = {"input_elements": math.prod(shape), "output_elements": math.prod(out), "out_channels": out[0]}
    return Layer(f"n_{op}", op, shape, out, macs=macs, weights=weights, **bits, **elements, **fields)


CONV = layer("conv", (16, 8, 8), (32, 8, 8), macs=32 * 64 * 144, weights=32 * 144, kernel=(3, 3))
POINTWISE = layer("conv", (64, 8, 8), (32, 8, 8), macs=32 * 64 * 64, weights=32 * 64)
DEPTHWISE = layer("depthwise", (16, 8, 8), (16, 4, 4), macs=16 * 16 * 9, weights=144, kernel=(3, 3))
GEMM = layer("gemm", (4096,), (4096,), macs=4096**2, weights=4096**2)
POOL = layer("pool", (16, 8, 8), (16, 4, 4), macs=0, weights=0, ops=1024)
ADD = layer("add", (16, 8, 8), (16, 8, 8), macs=0, weights=0, ops=1024)


@pytest.mark.parametrize("bound", ["low", "value", "high"])
def test_layers_count_what_the_kernels_do(device, bound):
    t = {key: getattr(q, bound) for key, q in device.data.items() if isinstance(q, Quantity)}
    expected = {
        CONV: CONV.macs * t["mac_s"] + 2048 * t["output_s"] + 64 * 144 * t["gather_s"],
        POINTWISE: POINTWISE.macs * t["mac_s"] + 2048 * t["output_s"],
        DEPTHWISE: 16 * 4 * 3 * t["depthwise_row_s"] + DEPTHWISE.macs * t["depthwise_mac_s"],
        GEMM: (4096**2 + 2 * 4096) * t["byte_s"],
        POOL: 1024 * t["pool_op_s"],
        ADD: 1024 * t["op_s"],
    }
    for each, seconds in expected.items():
        (estimate,) = TvmTarget().cost([Workload((each,))], device)
        assert getattr(estimate.costs["latency_s"], bound) == pytest.approx(seconds + t["call_s"], rel=1e-12), each.op


def test_totals_follow_from_the_layers(device):
    (estimate,) = TvmTarget().cost([Workload((CONV, GEMM))], device)
    assert [layer.layer for layer in estimate.layers] == ["n_conv", "n_gemm"]
    parts = [layer.costs["latency_s"].value for layer in estimate.layers]
    assert estimate.costs["latency_s"].value == pytest.approx(sum(parts), rel=1e-12)
    assert estimate.costs["ram_bytes"].value == 2 * 4096
    assert estimate.costs["flash_bytes"].value == CONV.weights + GEMM.weights + device.data["code_bytes"].value
    assert {q.basis for q in estimate.costs.values()} == {"modelled"}
    assert all(q.low <= q.value <= q.high for q in estimate.costs.values())


def test_empty_workload_costs_no_time(device):
    (estimate,) = TvmTarget().cost([Workload(())], device)
    assert estimate.costs["latency_s"].value == 0


def test_fewer_channels_are_cheaper_and_zeros_are_not(device):
    half = replace(CONV, macs=CONV.macs // 2, weights=CONV.weights // 2)
    zeros = replace(CONV, zero_fraction=0.9)
    costs = [
        e.costs["latency_s"].value for e in TvmTarget().cost([Workload((x,)) for x in (CONV, half, zeros)], device)
    ]
    assert costs[1] < costs[0] == costs[2]


def test_processor_has_a_name():
    assert processor()
