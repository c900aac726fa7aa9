"""The roofline: zeros in the pattern pay where the device skips them, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

from prunus.compiler.model.workload import Layer, Sparsity, Workload
from prunus.targets.gpu import GpuTarget
from prunus.tests.targets.gpu.conftest import device_of

DENSE = Layer(
    "c", "conv", (256, 56, 56), (256, 56, 56), macs=256 * 256 * 9 * 3136, in_channels=256, out_channels=256,
    kernel=(3, 3), pads=(1, 1, 1, 1), weights=256 * 256 * 9, weight_bits=8, input_bits=8, output_bits=8,
    input_elements=256 * 3136, output_elements=256 * 3136,
)  # fmt: skip
TWO_OF_FOUR = replace(DENSE, sparsity=Sparsity("n_m", 0.5, (2, 4)))


def costs(layer: Layer, device: str) -> dict[str, float]:
    (estimate,) = GpuTarget().cost([Workload((layer,))], device_of(device))
    return {key: quantity.value for key, quantity in estimate.costs.items()}


def test_zeros_in_the_pattern_pay_on_sparse_tensor_cores() -> None:
    dense, sparse = costs(DENSE, "jetson-orin-gpu"), costs(TWO_OF_FOUR, "jetson-orin-gpu")
    assert 1.8 < dense["latency_s"] / sparse["latency_s"] <= 2
    assert sparse["flash_bytes"] == dense["flash_bytes"] * (8 + 2) / 16


def test_they_do_not_on_others() -> None:
    assert costs(DENSE, "cuda") == costs(TWO_OF_FOUR, "cuda")


def test_other_patterns_do_not() -> None:
    blocks = replace(DENSE, sparsity=Sparsity("block", 0.25, (16, 4)))
    assert costs(blocks, "jetson-orin-gpu") == costs(DENSE, "jetson-orin-gpu")


def test_no_latency_is_below_the_peak() -> None:
    (estimate,) = GpuTarget().cost([Workload((DENSE,))], device_of("cuda"))
    latency = estimate.costs["latency_s"]
    assert latency.low >= DENSE.macs / 65e12  # 130 TOPS
    assert latency.basis == "modelled"
    assert estimate.notes
