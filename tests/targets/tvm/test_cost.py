"""What the limit model makes of layers, here and with the constants of data sheets."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from prunus.compiler.model.workload import Layer, Sparsity, Workload
from prunus.compiler.quantity import Quantity
from prunus.compiler.target import Device
from prunus.targets import catalog
from prunus.targets.bundle import processor
from prunus.targets.ort import OrtTarget
from prunus.targets.tvm import TvmTarget


def layer(op: str, shape: tuple[int, ...], out: tuple[int, ...], macs: int, weights: int, **fields) -> Layer:
    """An 8-bit layer."""
    bits = {"weight_bits": 8, "input_bits": 8, "output_bits": 8}
    elements = {
        "input_elements": math.prod(shape),
        "output_elements": math.prod(out),
        "out_channels": out[0],
        "in_channels": shape[0],
    }
    return Layer(f"n_{op}", op, shape, out, macs=macs, weights=weights, **bits, **elements, **fields)


CONV = layer("conv", (16, 8, 8), (32, 8, 8), macs=32 * 64 * 144, weights=32 * 144, kernel=(3, 3))
POINTWISE = layer("conv", (64, 8, 8), (32, 8, 8), macs=32 * 64 * 64, weights=32 * 64)
DEPTHWISE = layer("depthwise", (16, 8, 8), (16, 4, 4), macs=16 * 16 * 9, weights=144, kernel=(3, 3), group=16)
GEMM = layer("gemm", (4096,), (4096,), macs=4096**2, weights=4096**2)
POOL = layer("pool", (16, 8, 8), (16, 4, 4), macs=0, weights=0, ops=1024)
ADD = layer("add", (16, 8, 8), (16, 8, 8), macs=0, weights=0, ops=1024)


BOARDS = ("aarch64", "raspberry-pi-3", "raspberry-pi-4", "raspberry-pi-5", "jetson-orin-cpu")
SERVERS = ("x86-64-v3", "x86-64-v4", "sapphire-rapids")


def board(name: str) -> Device:
    return catalog.device_files()[name].device("tvm")


def seconds(layer: Layer, device: Device, bound: str = "value") -> float:
    (estimate,) = TvmTarget().cost([Workload((layer,))], device)
    return float(getattr(estimate.layers[0].costs["latency_s"], bound))


def test_both_backends_of_this_machine_share_the_layers(device):
    """They differ in what a run costs, and in the size of what is around the weights."""
    ort = catalog.device_files()["host-cpu"].device("ort")
    works = [Workload((CONV, POINTWISE, DEPTHWISE, GEMM, POOL, ADD))]
    (ours,), (theirs,) = TvmTarget().cost(works, device), OrtTarget().cost(works, ort)
    assert ours.layers == theirs.layers
    fixed = ort.data["session_run_s"].value - device.data["machine_run_s"].value
    assert theirs.costs["latency_s"].value - ours.costs["latency_s"].value == pytest.approx(fixed)


@pytest.mark.parametrize("bound", ["low", "value", "high"])
@pytest.mark.parametrize("name", [*BOARDS, *SERVERS])
def test_data_sheets_give_the_limit_model(name, bound):
    device = board(name)
    t = {key: getattr(q, bound) for key, q in device.data.items() if isinstance(q, Quantity)}
    for each, rate in ((CONV, "mac_s"), (DEPTHWISE, "depthwise_mac_s"), (GEMM, "mac_s")):
        outputs, weights = each.output_elements * t["output_s"], each.weight_bytes * t["weight_byte_s"]
        expected = each.macs * t[rate] + outputs + weights + t["step_s"]
        assert seconds(each, device, bound) == pytest.approx(expected, rel=1e-12), each.op
    moved = (ADD.input_bytes + ADD.output_bytes) * t["simd_byte_s"] + t["step_s"]
    assert seconds(ADD, device, bound) == pytest.approx(moved, rel=1e-12)


def test_later_boards_are_faster():
    times = [seconds(CONV, board(f"raspberry-pi-{i}")) for i in (3, 4, 5)]
    assert times[0] > times[1] > times[2]
    assert (
        seconds(CONV, board("x86-64-v3")) > seconds(CONV, board("x86-64-v4")) > seconds(CONV, board("sapphire-rapids"))
    )


def test_blocks_of_zeros_are_skipped_and_single_zeros_are_not():
    device = board("raspberry-pi-4")
    pruned = replace(CONV, sparsity=Sparsity("block", 0.25, (4, 4)))
    fixed = CONV.output_elements * device.data["output_s"].value + device.data["step_s"].value
    assert seconds(pruned, device) - fixed == pytest.approx(0.25 * (seconds(CONV, device) - fixed))
    assert seconds(replace(CONV, sparsity=Sparsity("weight", density=0.25)), device) == seconds(CONV, device)


def test_totals_follow_from_the_layers(device):
    (estimate,) = TvmTarget().cost([Workload((CONV, GEMM))], device)
    assert [layer.layer for layer in estimate.layers] == ["n_conv", "n_gemm"]
    parts = [layer.costs["latency_s"].value for layer in estimate.layers]
    assert estimate.costs["latency_s"].value == pytest.approx(
        sum(parts) + device.data["machine_run_s"].value, rel=1e-12
    )
    assert estimate.costs["ram_bytes"].value == 2 * 4096
    assert estimate.costs["flash_bytes"].value == CONV.weights + GEMM.weights + device.data["code_bytes"].value
    assert {q.basis for q in estimate.costs.values()} == {"modelled"}
    assert all(q.low <= q.value <= q.high for q in estimate.costs.values())


def test_an_empty_workload_costs_a_call(device):
    (estimate,) = TvmTarget().cost([Workload(())], device)
    assert estimate.costs["latency_s"].value == device.data["machine_run_s"].value


def test_processor_has_a_name():
    assert processor()
