"""The roofline: its arithmetic, its bounds, its device file."""

from __future__ import annotations

import pytest

from prunus.compiler.model.workload import Layer, Workload
from prunus.targets.tvm import TvmTarget
from prunus.targets.tvm.cost import processor

CONV = Layer(
    "n0001", "conv", (16, 8, 8), (16, 8, 8), macs=16 * 16 * 9 * 64, weights=16 * 16 * 9, weight_bits=8, input_bits=8,
    output_bits=8, input_elements=1024, output_elements=1024,
)  # fmt: skip
GEMM = Layer(
    "n0002", "gemm", (4096,), (4096,), macs=4096**2, weights=4096**2, weight_bits=8, input_bits=8, output_bits=8,
    input_elements=4096, output_elements=4096,
)  # fmt: skip


def test_compute_bound_layer(device):
    (estimate,) = TvmTarget().cost([Workload((CONV,))], device)
    rate, call = device.data["conv_macs_per_s"], device.data["call_s"]
    assert estimate.costs["latency_s"].value == pytest.approx(CONV.macs / rate.value + call.value, rel=1e-12)
    assert estimate.costs["latency_s"].low == pytest.approx(CONV.macs / rate.high + call.value, rel=1e-12)
    assert estimate.costs["latency_s"].high == pytest.approx(CONV.macs / rate.low + call.value, rel=1e-12)


def test_memory_bound_layer(device):
    (estimate,) = TvmTarget().cost([Workload((GEMM,))], device)
    traffic_bytes = 4096**2 + 2 * 4096
    expected = traffic_bytes / device.data["bytes_per_s"].value + device.data["call_s"].value
    assert estimate.costs["latency_s"].value == pytest.approx(expected, rel=1e-12)


def test_totals_follow_from_the_layers(device):
    (estimate,) = TvmTarget().cost([Workload((CONV, GEMM))], device)
    assert [layer.layer for layer in estimate.layers] == ["n0001", "n0002"]
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
    half = Layer(**{**CONV.__dict__, "macs": CONV.macs // 2, "weights": CONV.weights // 2})
    zeros = Layer(**{**CONV.__dict__, "zero_fraction": 0.9})
    costs = [
        e.costs["latency_s"].value for e in TvmTarget().cost([Workload((x,)) for x in (CONV, half, zeros)], device)
    ]
    assert costs[1] < costs[0] == costs[2]


def test_processor_has_a_name():
    assert processor()
