"""Fused chains: never slower, only the ends cross DRAM, and only where the buffer holds what they need."""

from __future__ import annotations

from dataclasses import replace

import pytest
from asic_layers import altered, conv, node

from prunus.compiler.model.workload import Layer, Workload
from prunus.targets.asic.fusion import Fuser
from prunus.targets.asic.model import estimate
from prunus.targets.asic.network import run_network
from prunus.targets.asic.problem import problem_of
from prunus.targets.asic.search import Searcher
from prunus.targets.asic.tiles import Tiles


def chain(*layers: Layer) -> Workload:
    names = ["", *(f"l{index}" for index in range(len(layers)))]
    pairs = zip(layers, names[1:], names, strict=False)
    return Workload(tuple(replace(layer, name=name, producers=(before,)) for layer, name, before in pairs))


LARGE = chain(conv(3, 16, 224), conv(16, 16, 224), conv(16, 16, 224))


def chip(gbps: float = 0.5, kib: int = 512):
    def change(data) -> None:
        node(data, "DRAM").update(bandwidth=f"{gbps} GB/s")
        node(data, "buffer").update(size=f"{kib} KiB")

    return altered(change)


def test_a_chain_too_large_to_stay_is_fused_and_only_its_ends_cross_dram() -> None:
    runs = run_network(LARGE, chip())
    assert all(run.fused for run in runs)
    first, middle, last = runs
    assert first.dram_bytes == first.layer.input_bytes + first.layer.weight_bytes
    assert middle.dram_bytes == middle.layer.weight_bytes
    assert last.dram_bytes == last.layer.weight_bytes + last.layer.output_bytes
    notes = estimate(LARGE, chip()).notes
    assert any("3 layers run fused" in note for note in notes)


def test_fusion_is_never_slower_than_layer_by_layer() -> None:
    for gbps in (0.5, 4, 64):
        apart = sum(run.cycles for layer in LARGE.layers for run in run_network(Workload((layer,)), chip(gbps)))
        assert sum(run.cycles for run in run_network(LARGE, chip(gbps))) <= apart


def test_a_small_buffer_cannot_fuse_and_a_larger_one_is_never_slower() -> None:
    assert not any(run.fused for run in run_network(LARGE, chip(kib=16)))
    cycles = [sum(run.cycles for run in run_network(LARGE, chip(kib=kib))) for kib in (16, 64, 128, 256, 512, 2048)]
    assert cycles == sorted(cycles, reverse=True)


def test_an_activation_with_another_reader_is_not_fused_away() -> None:
    first, second, third = LARGE.layers
    runs = run_network(Workload((first, second, replace(third, producers=("l0", "l1")))), chip())
    assert not runs[0].fused
    assert runs[0].dram_bytes >= first.output_bytes


def test_buffer_need_by_hand() -> None:
    """Two strips of 28 rows each of a 56 x 56 layer pair: weights, 30 input rows twice, and sums of one strip."""
    problems = [problem_of(conv(8, 8, 56)), problem_of(conv(8, 8, 56))]
    searcher = Searcher(Tiles.of(problems[:1]), chip())
    strip = Fuser(searcher).strip(problems[0], 2)
    assert strip is not None
    assert strip.input_strip_bytes == 8 * 30 * 56
    assert strip.output_strip_bytes == 8 * 28 * 56
    assert strip.weight_bytes == 8 * 8 * 9
    need = 2 * (strip.weight_bytes + strip.input_strip_bytes) + 4 * strip.output_strip_bytes
    fuser = Fuser(searcher)
    fuser.__dict__["buffer_bytes"] = need
    costs = fuser.chain(problems)
    assert costs is not None
    assert sum(cost.array_cycles for cost in costs) == pytest.approx(2 * strip.cost.array_cycles, rel=0.2)


def test_the_shares_of_a_chain_add_up() -> None:
    runs = run_network(LARGE, chip())
    total = sum(run.cycles for run in runs)
    assert total == int(total)
    assert all(run.lower_bound_cycles <= run.cycles for run in runs)
    assert total >= sum(run.compute_cycles for run in runs)
