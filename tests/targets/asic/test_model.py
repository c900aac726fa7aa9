"""Energy, area, money, and the behaviour that an architect would expect of the whole."""

from __future__ import annotations

from dataclasses import replace

import pytest

from prunus.compiler.model.workload import Layer, Sparsity, Workload
from prunus.compiler.quantity import UNITS
from prunus.targets.asic import AsicTarget
from prunus.targets.asic.model import Chip, product_of, run_network
from prunus.targets.asic.money import dies_per_wafer, murphy_yield
from prunus.targets.catalog import resolve


def conv(channels_in: int = 64, channels: int = 64, size: int = 56, kernel: int = 3, **changes) -> Layer:
    weights = channels_in * channels * kernel * kernel
    layer = Layer(
        name="c",
        op="conv",
        in_shape=(channels_in, size, size),
        out_shape=(channels, size, size),
        macs=weights * size * size,
        in_channels=channels_in,
        out_channels=channels,
        kernel=(kernel, kernel),
        weights=weights,
        weight_bits=8,
        input_bits=8,
        output_bits=8,
        input_elements=channels_in * size * size,
        output_elements=channels * size * size,
    )
    return replace(layer, **changes)


@pytest.fixture
def npu():
    target, device = resolve("npu-16nm")
    assert isinstance(target, AsicTarget)
    return target, device


def test_every_cost_has_its_unit_and_a_source(npu) -> None:
    target, device = npu
    (estimate,) = target.cost([Workload((conv(),))], device)
    assert {"latency_cycles", "latency_s", "energy_j", "dram_bytes", "area_mm2", "usd"} <= estimate.costs.keys()
    for name, quantity in estimate.costs.items():
        assert quantity.unit == UNITS[name]
        assert quantity.low <= quantity.value <= quantity.high
        assert quantity.source
        assert quantity.basis == "modelled"


def test_matrix_product_of_a_convolution() -> None:
    product = product_of(conv())
    assert (product.m, product.k, product.n, product.count) == (56 * 56, 576, 64, 1)
    assert product.macs == conv().macs


def test_res2a_cycles_by_hand(npu) -> None:
    """18 folds over K, 2 over N, each 2*32 + 32 + 3136 - 2 cycles: 116,280."""
    target, device = npu
    (estimate,) = target.cost([Workload((conv(),))], device)
    assert estimate.costs["latency_cycles"].low == 116_280


def test_removing_channels_saves_time_and_energy_single_zeros_save_nothing(npu) -> None:
    target, device = npu
    sparse = conv(zero_fraction=0.75, sparsity=Sparsity("weight", 0.25))
    dense, pruned, zeros = target.cost([Workload((each,)) for each in (conv(), conv(channels=32), sparse)], device)
    for key in ("latency_s", "energy_j"):
        assert pruned.costs[key].value < dense.costs[key].value
        assert zeros.costs[key] == dense.costs[key]
    assert any("skips none of them" in note for note in zeros.notes)


def test_activations_stay_on_chip_when_they_fit(npu) -> None:
    _, device = npu
    chip = Chip.of(device)
    small = [conv(size=14), conv(size=14), conv(size=14)]
    first, middle, last = run_network(Workload(tuple(small)), chip)
    assert middle.dram_bytes == middle.layer.weight_bytes
    assert first.dram_bytes == first.layer.weight_bytes + first.layer.input_bytes
    assert last.dram_bytes == last.layer.weight_bytes + last.layer.output_bytes
    large = run_network(Workload((conv(size=112), conv(size=112))), chip)
    assert all(each.dram_bytes > each.layer.weight_bytes for each in large)


def test_less_bandwidth_is_never_faster(npu) -> None:
    _, device = npu
    chip = Chip.of(device)
    work = Workload((conv(size=112), conv(), conv(size=14)))
    cycles = [
        sum(each.cycles for each in run_network(work, replace(chip, dram_bytes_per_cycle=bandwidth)))
        for bandwidth in (0.5, 2, 8, 32)
    ]
    assert cycles == sorted(cycles, reverse=True)
    assert cycles[0] > cycles[-1]


def test_area_is_the_published_one(npu) -> None:
    """The coefficients give NVDLA's own 2,048-MAC, 512 kB figure of 3.3 mm2 in 16 nm within 2 %."""
    _, device = npu
    c = Chip.of(device).constants
    area = 2048 * c["area_mm2_per_mac"].value + 512 * c["area_mm2_per_kib"].value + c["area_mm2_fixed"].value
    assert area == pytest.approx(3.3, rel=0.02)


def test_money_of_a_known_die() -> None:
    """3.3 mm2 at 16 nm: about 0.19 USD a good die; yield falls with area."""
    dies = dies_per_wafer(3.3, 300) * murphy_yield(3.3, 0.1)
    assert 3984 / dies == pytest.approx(0.19, abs=0.005)
    assert murphy_yield(0, 0.1) == 1.0
    assert murphy_yield(100, 0.1) == pytest.approx(0.9056, abs=1e-4)
    assert murphy_yield(400, 0.1) < murphy_yield(100, 0.1)
