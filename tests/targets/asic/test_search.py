"""What every mapping search must obey, whatever the architecture."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
from asic_layers import altered, conv, node
from hypothesis import given, settings
from hypothesis import strategies as st

from prunus.compiler.model.workload import Workload
from prunus.targets.asic.architecture_file import catalogue
from prunus.targets.asic.model import estimate
from prunus.targets.asic.network import run_network
from prunus.targets.asic.problem import Problem, problem_of
from prunus.targets.asic.search import ORDERS, Residency, Searcher
from prunus.targets.asic.systolic import Product, simulate
from prunus.targets.asic.tiles import Tiles

CHIPS = ("npu-16nm", "nvdla-small", "ethos-u55", "eyeriss-v1")
problems = st.builds(
    lambda g, k, c, p, q, r, stride: Problem(
        g, k, c, p, q, r, r, (p - 1) * stride + r, (q - 1) * stride + r, stride, stride
    ),
    st.integers(1, 3),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(1, 20),
    st.integers(1, 20),
    st.sampled_from([1, 3, 5]),
    st.integers(1, 2),
)


def best_cycles(problem: Problem, chip, objective: str = "latency") -> float:
    found = Searcher(Tiles.of([problem]), chip).search(objective=objective)[0]
    assert found is not None
    return found.best.cycles


@settings(max_examples=40)
@given(problems, st.sampled_from(CHIPS), st.data())
def test_lower_bound_result_hand_mapping(problem: Problem, name: str, data) -> None:
    """lower bound <= result <= any mapping chosen by hand from the same tile sizes."""
    chip = catalogue()[name]
    tiles = Tiles.of([problem])
    found = Searcher(tiles, chip).search()[0]
    assert found is not None
    assert found.lower_bound_cycles <= found.best.cycles
    assert found.next_best is None or found.best.cycles <= found.next_best.cycles
    at = data.draw(st.integers(0, len(tiles.layer) - 1))
    hand = Tiles.single(problem, *(int(each[at]) for each in (tiles.tp, tiles.tq, tiles.tc, tiles.tk)))
    searcher = Searcher(hand, chip)
    if searcher.search()[0] is not None:
        for order in ORDERS:
            assert found.best.cycles <= searcher.evaluate(Residency(), order).cycles[0]


@settings(max_examples=25)
@given(problems, st.integers(1, 40), st.integers(1, 40))
def test_hand_mappings_off_the_grid_respect_the_bound(problem: Problem, c: int, k: int) -> None:
    chip = catalogue()["npu-16nm"]
    found = Searcher(Tiles.of([problem]), chip).search()[0]
    hand = Searcher(Tiles.single(problem, 1, problem.q, min(c, problem.c), min(k, problem.k)), chip)
    assert found is not None
    for order in ORDERS:
        assert found.lower_bound_cycles <= hand.evaluate(Residency(), order).cycles[0]


@settings(max_examples=25)
@given(problems, st.sampled_from(CHIPS))
def test_more_bandwidth_is_never_slower(problem: Problem, name: str) -> None:
    dram = catalogue()[name].dram.name
    cycles = [
        best_cycles(problem, altered(lambda data, g=gbps: node(data, dram).update(bandwidth=f"{g} GB/s"), name))
        for gbps in (0.5, 2, 8, 32)
    ]
    assert cycles == sorted(cycles, reverse=True)


@settings(max_examples=25)
@given(st.lists(problems, min_size=1, max_size=3), st.sampled_from(CHIPS))
def test_a_larger_buffer_is_never_slower(several: list[Problem], name: str) -> None:
    """For single layers and, with activations that may stay, for whole networks."""
    buffer = catalogue()[name].buffers[0].name
    totals = []
    for kib in (32, 64, 256, 1024):
        chip = altered(lambda data, k=kib: node(data, buffer).update(size=f"{k} KiB"), name)
        found = Searcher(Tiles.of(several), chip).search()
        totals.append([each.best.cycles if each else np.inf for each in found])
    for smaller, larger in itertools.pairwise(totals):
        assert all(b <= a for a, b in zip(smaller, larger, strict=True))


def test_a_larger_buffer_never_slows_a_network() -> None:
    work = Workload(tuple(conv(16, 16, size) for size in (28, 28, 14, 14)))
    cycles = []
    for kib in (8, 16, 32, 64, 512):
        chip = altered(lambda data, k=kib: node(data, "buffer").update(size=f"{k} KiB"))
        cycles.append(sum(run.cycles for run in run_network(work, chip)))
    assert cycles == sorted(cycles, reverse=True)
    assert cycles[-1] < cycles[0]


def test_the_monotonicity_check_sees_a_fault() -> None:
    """A buffer that is not double buffered pays for loading: the same check would fail on that pair."""
    chip = altered(lambda data: node(data, "buffer").update(double_buffered=False))
    assert best_cycles(problem_of(conv()), chip) > best_cycles(problem_of(conv()), catalogue()["npu-16nm"])


def test_permuted_layers_give_permuted_results() -> None:
    layers = [conv(16, 32, 14), conv(64, 64, 28), conv(3, 16, 56), conv(128, 128, 7, 1)]
    order = [2, 0, 3, 1]
    chip = catalogue()["npu-16nm"]
    straight = Searcher(Tiles.of([problem_of(layer) for layer in layers]), chip).search()
    permuted = Searcher(Tiles.of([problem_of(layers[index]) for index in order]), chip).search()
    assert [straight[index] for index in order] == permuted
    named = [replace(layer, name=f"l{index}", producers=("",)) for index, layer in enumerate(layers)]
    costs = estimate(Workload(tuple(named)), chip).layers
    shuffled = estimate(Workload(tuple(named[index] for index in order)), chip).layers
    assert [costs[index] for index in order] == list(shuffled)


@settings(max_examples=30)
@given(problems, st.sampled_from(["ws", "os", "is"]))
def test_one_tile_is_the_closed_form(problem: Problem, flow: str) -> None:
    """Untiled, the array takes exactly SCALE-Sim's cycles."""
    chip = altered(lambda data: node(data, "array").update(dataflow=flow, rows=8, columns=16))
    one = Searcher(Tiles.single(problem, problem.p, problem.q, problem.c, problem.k), chip)
    product = Product(problem.p * problem.q, problem.c * problem.r * problem.s, problem.k, problem.g)
    assert one._flows[0].cycles[0] == simulate(product, 8, 16, flow).cycles


@settings(max_examples=30)
@given(problems)
def test_tiles_cover_the_layer(problem: Problem) -> None:
    """Sums over tiles in closed form equal sums over tiles one by one."""
    tiles = Tiles.of([problem])
    for at in range(0, len(tiles.layer), max(len(tiles.layer) // 7, 1)):
        tc, tp, tq = int(tiles.tc[at]), int(tiles.tp[at]), int(tiles.tq[at])
        channels = [min(tc, problem.c - start) for start in range(0, problem.c, tc)]
        assert tiles.folds_of_window(8)[at] == sum(-(-each * problem.r * problem.s // 8) for each in channels)
        rows = [min(tp, problem.p - start) for start in range(0, problem.p, tp)]
        columns = [min(tq, problem.q - start) for start in range(0, problem.q, tq)]
        assert tiles.folds_of_positions(8)[at] == sum(-(-a * b // 8) for a in rows for b in columns)


def test_objectives_pull_in_their_direction() -> None:
    work = Workload((conv(), conv(size=28)))
    chip = altered(lambda data: data.update(on_chip_activations=False))
    fast, frugal = (estimate(work, chip, objective).costs for objective in ("latency", "energy"))
    assert fast["latency_s"].value <= frugal["latency_s"].value
    assert frugal["energy_j"].value <= fast["energy_j"].value * (1 + 1e-9)


def test_every_compulsory_byte_crosses_dram_once_at_least() -> None:
    problem = problem_of(conv())
    found = Searcher(Tiles.of([problem]), catalogue()["npu-16nm"]).search()[0]
    assert found is not None
    inputs, weights, outputs = found.best.dram_bytes
    assert inputs >= problem.inputs
    assert (weights, outputs) == (problem.weights, problem.outputs)
