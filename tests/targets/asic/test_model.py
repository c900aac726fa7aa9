"""Energy, area, money, and the behaviour that an architect would expect of the whole."""

from __future__ import annotations

from dataclasses import replace

import pytest
from asic_layers import altered, conv, node

from prunus.compiler.model.workload import Layer, Sparsity, Workload
from prunus.compiler.quantity import UNITS
from prunus.targets.asic import AsicTarget
from prunus.targets.asic.architecture_file import catalogue
from prunus.targets.asic.model import estimate
from prunus.targets.asic.money import dies_per_wafer, murphy_yield, negative_binomial_yield
from prunus.targets.asic.network import run_network
from prunus.targets.asic.problem import problem_of
from prunus.targets.asic.silicon import area_of, element_area
from prunus.targets.catalog import resolve


@pytest.fixture
def npu():
    target, device = resolve("npu-16nm")
    assert isinstance(target, AsicTarget)
    return target, device


def test_every_cost_has_its_unit_and_a_source(npu) -> None:
    target, device = npu
    (found,) = target.cost([Workload((conv(),))], device)
    assert {"latency_cycles", "latency_s", "energy_j", "dram_bytes", "area_mm2", "usd"} <= found.costs.keys()
    for name, quantity in found.costs.items():
        assert quantity.unit == UNITS[name]
        assert quantity.low <= quantity.value <= quantity.high, name
        assert quantity.source
        assert quantity.basis == "modelled"


def test_loops_of_layers() -> None:
    problem = problem_of(conv())
    assert (problem.g, problem.k, problem.c, problem.p, problem.q, problem.r) == (1, 64, 64, 56, 56, 3)
    assert problem.macs == conv().macs
    heads = Layer(
        "a", "matmul", (4, 50, 16), (4, 50, 50), macs=4 * 50 * 50 * 16, in_channels=16, out_channels=50, input_bits=8
    )
    problem = problem_of(heads)
    assert (problem.g, problem.p, problem.c, problem.k, problem.weight_bits) == (4, 50, 16, 50, 8)
    assert problem.macs == heads.macs


def test_res2a_cycles_by_hand(npu) -> None:
    """18 folds over K, 2 over N, each 2*32 + 32 + 3136 - 2 cycles: 116,280; tiles and the buffer port add to it."""
    target, device = npu
    (found,) = target.cost([Workload((conv(),))], device)
    assert found.costs["latency_cycles"].low == 116_280
    assert found.costs["latency_cycles"].value >= 116_280


def test_removing_channels_saves_time_and_energy_single_zeros_save_nothing(npu) -> None:
    target, device = npu
    sparse = conv(zero_fraction=0.75, sparsity=Sparsity("weight", 0.25))
    dense, pruned, zeros = target.cost([Workload((each,)) for each in (conv(), conv(channels=32), sparse)], device)
    for key in ("latency_s", "energy_j"):
        assert pruned.costs[key].value < dense.costs[key].value
        assert zeros.costs[key] == dense.costs[key]
    assert any("skips none of them" in note for note in zeros.notes)


def chain(*layers: Layer) -> Workload:
    """Each layer reads the one before it."""
    named = [replace(layer, name=f"l{index}") for index, layer in enumerate(layers)]
    names = ["", *(layer.name for layer in named)]
    return Workload(tuple(replace(layer, producers=(name,)) for layer, name in zip(named, names, strict=False)))


def test_activations_stay_on_chip_when_they_fit() -> None:
    npu = catalogue()["npu-16nm"]
    first, middle, last = run_network(chain(conv(size=14), conv(size=14), conv(size=14)), npu)
    assert middle.dram_bytes == middle.layer.weight_bytes
    assert first.dram_bytes == first.layer.weight_bytes + first.layer.input_bytes
    assert last.dram_bytes == last.layer.weight_bytes + last.layer.output_bytes
    large = run_network(chain(conv(size=112), conv(size=112)), npu)
    assert all(each.dram_bytes > each.layer.weight_bytes for each in large)


def test_an_activation_with_two_readers_crosses_dram() -> None:
    npu = catalogue()["npu-16nm"]
    first, second, third = chain(conv(size=14), conv(size=14), conv(size=14)).layers
    both = Workload((first, second, replace(third, producers=("l0", "l1"))))
    assert not run_network(both, npu)[0].residency.outputs


def test_energy_levels_add_up_and_area_blocks_too() -> None:
    found = estimate(chain(conv(), conv(size=14)), catalogue()["npu-16nm"])
    for key in ("energy_j", "area_mm2"):
        assert sum(each.value for each in found.parts[key].values()) == pytest.approx(found.costs[key].value, rel=1e-12)
    assert {"mac", "registers", "between elements", "buffer", "DRAM", "leakage"} <= found.parts["energy_j"].keys()


def test_area_is_the_published_one() -> None:
    """The coefficients give NVDLA's own 2,048-MAC, 512 kB figure of 3.3 mm2 in 16 nm within 2 %."""
    chip = catalogue()["npu-16nm"]
    area = 2048 * chip.array.pe.area.value + 512 * chip.buffers[0].area.value + chip.technology.fixed_area.value
    assert area == pytest.approx(3.3, rel=0.02)


def test_money_of_a_known_die() -> None:
    """3.3 mm2 at 16 nm: about 0.19 USD a good die; yield falls with area."""
    dies = dies_per_wafer(3.3, 300) * murphy_yield(3.3, 0.1)
    assert 3984 / dies == pytest.approx(0.19, abs=0.005)
    assert murphy_yield(0, 0.1) == 1.0
    assert murphy_yield(100, 0.1) == pytest.approx(0.9056, abs=1e-4)
    assert murphy_yield(400, 0.1) < murphy_yield(100, 0.1)
    assert negative_binomial_yield(100, 0.1, 1e9) == pytest.approx(2.718281828**-0.1, abs=1e-6)  # Poisson's limit


def test_a_unit_costs_its_share_of_masks_at_its_volume() -> None:
    def with_volume(data, volume) -> None:
        data["manufacturing"] |= {
            "masks": {"value": "2 MUSD", "source": "test"},
            "package": {"value": "0.5 USD", "source": "test"},
            "volume": volume,
        }

    few, many = (
        estimate(chain(conv()), altered(lambda data, v=volume: with_volume(data, v))) for volume in (10_000, 1_000_000)
    )
    assert few.costs["usd"] == many.costs["usd"]
    assert few.parts["usd_unit"]["mask share"].value == 200
    assert many.parts["usd_unit"]["mask share"].value == 2
    assert many.costs["usd_unit"].value == pytest.approx(many.costs["usd"].value + 0.5 + 2)


def test_a_coefficient_of_another_process_is_scaled_and_its_range_grows() -> None:
    same = estimate(chain(conv()), catalogue()["npu-16nm"])
    older = estimate(chain(conv()), altered(lambda data: data["technology"].update(node="28 nm")))
    assert older.costs["area_mm2"].value > same.costs["area_mm2"].value
    pe = [each.parts["area_mm2"]["array"] for each in (same, older)]
    assert pe[1].high / pe[1].low > pe[0].high / pe[0].low
    assert "scaled from 16 nm" in pe[1].source


def test_element_area_from_bit_widths() -> None:
    """The synthesised int8 element with a 32-bit accumulator: 6,480 um2 of cells at 130 nm, within 4 %."""

    def from_bits(data) -> None:
        pe = node(data, "array")["pe"]
        pe.pop("area")
        pe["area_from_bits"] = True
        data["technology"]["node"] = "130 nm"

    chip = altered(from_bits)
    assert element_area(chip).value * 0.7e6 == pytest.approx(6479.96, rel=0.04)
    assert area_of(chip)["array"].value == pytest.approx(1024 * element_area(chip).value)
    assert element_area(catalogue()["npu-16nm"]) == catalogue()["npu-16nm"].array.pe.area


def test_a_float_model_on_an_int8_array_is_not_passed_over_in_silence() -> None:
    wide = conv(weight_bits=32, input_bits=32, output_bits=32)
    assert any("wider than the array's 8 bits" in note for note in estimate(chain(wide), catalogue()["npu-16nm"]).notes)
    assert not any("wider" in note for note in estimate(chain(conv()), catalogue()["npu-16nm"]).notes)
