"""The schedule: as fast as any there is within the budget, legal everywhere, and clear about what binds."""

from __future__ import annotations

from itertools import product

import graphs
import numpy as np
import pytest

from prunus.compiler.integer import graph as ir
from prunus.targets.catalog import resolve
from prunus.targets.fpga.hls import reuse, settings
from prunus.targets.fpga.hls.lower import lower_graph
from prunus.targets.fpga.hls.options import MAX_MULTIPLIERS, Option, Work, options_of, valid_factors
from prunus.targets.fpga.hls.schedule import reasons, schedule, stream_depths

SMALL = (
    Work(27, 8, 64, pixels=64, lut=300, bram=1),
    Work(36, 8, 64, depthwise=True, pixels=64, lut=300),
    Work(72, 8, 16, pixels=64, lut=300),
    Work(0, 0, 1, pixels=16, lut=300),
    Work(16, 10, 1, nonzero=0.3, lut=300),
)
BUDGETS = [
    reuse.Budget(dsp=12, lut=6_000, bram=20),
    reuse.Budget(dsp=40, lut=4_000, bram=8),
    reuse.Budget(dsp=100, lut=20_000, bram=4),
    reuse.Budget(dsp=4, lut=30_000, bram=40),
    reuse.Budget(dsp=60, lut=9_000, bram=3),
]


def takes(options: tuple[Option, ...], works: tuple[Work, ...]) -> tuple[float, float, float]:
    return (
        sum(option.dsp for option in options),
        sum(option.lut for option in options) + sum(work.lut for work in works),
        sum(option.bram for option in options) + sum(work.bram for work in works),
    )


def exhaustive(works: tuple[Work, ...], budget: reuse.Budget) -> int | None:
    """The shortest interval of all schedules that fit."""
    limits = (budget.dsp, budget.lut, budget.bram)
    fitting = (
        max(option.cycles for option in options)
        for options in product(*(options_of(work) for work in works))
        if all(used <= limit for used, limit in zip(takes(options, works), limits, strict=True))
    )
    return min(fitting, default=None)


@pytest.mark.parametrize("budget", BUDGETS)
def test_no_schedule_that_fits_is_faster(budget: reuse.Budget) -> None:
    works = (SMALL[1], SMALL[2], SMALL[3], SMALL[4])
    found, best = reuse.plan(works, budget), exhaustive(works, budget)
    assert found.fits == (best is not None)
    assert best is None or found.interval_cycles == best


def test_a_mixture_that_only_the_solver_finds() -> None:
    """Each layer's cheapest option alone exceeds the memory: some must move to logic, but not all can."""
    works = (Work(64, 8, 1),) * 4
    one = next(option for option in options_of(works[0]) if option.reuse == 64)
    latency = options_of(works[0])[0]
    budget = reuse.Budget(dsp=16, lut=2 * (latency.lut + one.lut), bram=2 * one.bram)
    found = reuse.plan(works, budget)
    assert found.fits and found.interval_cycles == exhaustive(works, budget)
    assert found.strategy == "mixed"


@pytest.mark.parametrize("key", ["dsp", "lut", "bram"])
def test_tighter_budgets_give_slower_designs(key: str) -> None:
    wide = {"dsp": 200.0, "lut": 60_000.0, "bram": 60.0}
    intervals = []
    for share in (1.0, 0.3, 0.1, 0.05):
        limits = {each: value * (share if each == key else 1) for each, value in wide.items()}
        found = reuse.plan(SMALL, reuse.Budget(**limits))
        if found.fits:
            intervals.append(found.interval_cycles)
    assert len(intervals) >= 2
    assert intervals == sorted(intervals)
    everything = reuse.plan(SMALL, reuse.Budget(dsp=8, lut=6_000, bram=20)).interval_cycles
    assert everything > reuse.plan(SMALL, reuse.Budget(**wide)).interval_cycles


def test_what_fits_nowhere_names_the_resource_and_what_would_fit() -> None:
    found = reuse.plan(SMALL, reuse.Budget(dsp=200, lut=60_000, bram=0.5))
    assert (found.fits, found.binding) == (False, "bram")
    text = reuse.does_not_fit(found)
    assert "1 bram of 0" in text and "of its size" in text and "times as many" in text


def test_the_resource_that_keeps_a_design_from_being_faster() -> None:
    works = (Work(576, 64, 256, pixels=256),)  # too many products for constants
    assert reuse.plan(works, reuse.Budget(dsp=100, lut=1e6, bram=1e4)).tightest == "dsp"
    assert reuse.plan(works, reuse.Budget(dsp=1e5, lut=1e6, bram=1e4)).tightest == "options"


def test_zeros_make_a_design_of_constants_fit() -> None:
    dense, half = (Work(64, 32, 1, nonzero=share) for share in (1.0, 0.25))
    budget = reuse.Budget(dsp=32, lut=30_000, bram=10)
    assert reuse.plan((dense,), budget).strategy == "Resource"
    assert reuse.plan((half,), budget).strategy == "Latency"


# -- legal options ---------------------------------------------------------------------------------------------------


def hls4ml_accepts(n_in: int, n_out: int, factor: int) -> bool:
    """The rule of hls4ml's documentation for the Resource strategy."""
    limit = -(-(n_in * n_out) // min(n_in, factor))
    correct = (limit % n_out == 0 or factor >= n_in) and (factor % n_in == 0 or factor < n_in)
    return correct and (n_in * n_out) % factor == 0


@pytest.mark.parametrize(("n_in", "n_out"), [(16, 64), (27, 8), (7, 5), (64, 1), (1, 12)])
def test_factors_are_those_that_hls4ml_takes(n_in: int, n_out: int) -> None:
    want = tuple(r for r in range(1, n_in * n_out + 1) if hls4ml_accepts(n_in, n_out, r))
    assert valid_factors(n_in, n_out, False) == want


@pytest.mark.parametrize("work", [Work(1152, 128, 4), Work(64, 65, 1, nonzero=0.5), *SMALL])
def test_every_option_is_legal(work: Work) -> None:
    for option in options_of(work):
        assert option.multipliers <= MAX_MULTIPLIERS
        assert option.strategy != "Latency" or (option.reuse == 1 and work.products <= MAX_MULTIPLIERS)
        if option.strategy != "Latency" and not work.depthwise:
            assert hls4ml_accepts(work.n_in, work.n_out, option.reuse)


# -- networks --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def residual() -> ir.Graph:
    return graphs.residual_cnn("pow2")[0]


def test_streams_into_joins_hold_a_map_and_others_a_row(residual: ir.Graph) -> None:
    layers = lower_graph(residual).layers
    depths = stream_depths(layers)
    assert depths["t0002_conv"] == 12 * 12  # read by an addition, and by the branch beside it
    assert depths["t0003_conv"] == 12
    joins = [layer for layer in layers if layer.class_name == "Merge"]
    assert joins
    for join in joins:
        for source in join.inputs:
            shape = next(layer.shape for layer in layers if layer.name == source)
            assert depths[source] == np.prod(shape[:-1])


def test_every_layer_that_multiplies_has_a_reason(residual: ir.Graph) -> None:
    _, device = resolve("pynq-z2")
    lowered = lower_graph(residual)
    layers, found = schedule(lowered.layers, settings.budget(device), lowered.io_type)
    assert found.fits
    why = reasons(layers, found)
    assert set(why) == {layer.name for layer in layers if layer.products}
    assert sum("sets the interval" in text for text in why.values()) >= 1
    for layer in layers:
        if layer.products:
            assert f"reuse factor {layer.reuse_factor} " in why[layer.name]
