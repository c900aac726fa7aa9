"""Fitting to budgets on a device whose costs step: tiles, settings, fronts, and what cannot be."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from search_target import DEVICE, SteppedTarget, half_redundant, samples

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.pruning.criteria import importance
from prunus.compiler.pruning.patterns import Pattern
from prunus.compiler.pruning.structures import ChannelStructure
from prunus.compiler.search.contest import built, ranked
from prunus.compiler.search.decisions import (
    Choice,
    DeviceCosts,
    WeightBits,
    WeightDensity,
    bits_decisions,
    choice_of,
    density_decisions,
    tuned,
)
from prunus.compiler.search.fit import Candidate, Fitter, Shortfall, uniform_choice
from prunus.compiler.search.loss import RefitLoss
from prunus.compiler.search.widths import WidthModel, full_widths
from prunus.compiler.target import Formats


@pytest.fixture(scope="module")
def parts():
    model, data = half_redundant(), samples()
    channels = channel_groups(model)
    scores = importance(model, channels, "obs", 0, data)
    return model, channels, scores, RefitLoss(model, channels, scores, data)


def fitter(parts, target: SteppedTarget, *keys: str) -> Fitter:
    model, channels, _, loss = parts
    costs = DeviceCosts(target, DEVICE, WidthModel(model, channels, Formats()).workload, keys or ("latency_s",))
    return Fitter(channels, ChannelStructure(), costs, loss)


def bits_fitter(parts, target: SteppedTarget, options: int = 5) -> Fitter:
    """A fitter that also decides the bits of all layers; at most `options` widths per group."""
    model, channels, scores, _ = parts
    formats = target.formats(DEVICE)
    loss = RefitLoss(model, channels, scores, samples(), rounding=formats)
    works = WidthModel(model, channels, formats)
    costs = DeviceCosts(target, DEVICE, works.workload, ("lut",))
    bits = bits_decisions(channels, ChannelStructure(8), costs, works, formats.narrow_weights)
    return Fitter(channels, ChannelStructure(8), costs, loss, layers=bits)


def test_bits_are_decided_where_they_make_the_device_cheaper(parts) -> None:
    found = bits_fitter(parts, SteppedTarget(narrow=(4, 6)))
    decided = {
        each.subject.layer: each.options for each in found.solver.decisions if isinstance(each.subject, WeightBits)
    }
    assert len(decided) == 5
    assert set(decided.values()) == {(4, 6, 8)}
    assert not bits_fitter(parts, SteppedTarget()).narrows  # each weight costs the same, whatever its bits


@pytest.mark.parametrize("share", [0.6, 0.4, 0.3])
def test_widths_and_bits_are_no_worse_than_looking_at_every_network(parts, share: float) -> None:
    """Three groups of two widths and five layers of three bits, 1944 networks: within 2 % of the best of them."""
    found = bits_fitter(parts, SteppedTarget(narrow=(4, 6)))
    solver = found.solver
    limits = share * solver.cost(solver.whole)
    every = list(product(*(range(len(decision.options)) for decision in solver.decisions)))
    assert len(every) == 2**3 * 3**5
    fits = (solver.costs(every) <= limits).all(axis=1)
    best = min(solver.loss(point) for point, fit in zip(every, fits, strict=True) if fit)
    answer = solver.solve(limits)
    assert answer is not None
    assert solver.loss(answer) <= 1.02 * best + 1e-12
    without = [p for p, fit in zip(every, fits, strict=True) if fit and not choice_of(solver.decisions, p).bits]
    assert min(map(solver.loss, without), default=np.inf) > 2 * best  # the bits are worth deciding


def test_an_impossible_budget_with_bits_names_the_narrowest_network(parts) -> None:
    found = bits_fitter(parts, SteppedTarget(narrow=(4, 6)))
    answer = found.fit(np.array([1.0]))
    assert isinstance(answer, Shortfall)
    assert answer.choice.widths == (8, 8, 8)
    assert [bits for _, bits in answer.choice.bits] == [4] * 5
    assert isinstance(found.fit(np.array([answer.nearest["lut"]])), Candidate)  # that one can be kept


def test_candidates_are_where_the_cost_steps(parts) -> None:
    found = fitter(parts, SteppedTarget(tile=4))
    assert [decision.options for decision in found.solver.decisions] == [(2, 4, 8, 12, 16)] * 3  # 2: the least allowed


def test_the_redundant_group_pays_for_the_budget(parts) -> None:
    """The copies go, and next to nothing is lost; uniform pruning loses much more."""
    model, channels, scores, loss = parts
    found = fitter(parts, SteppedTarget())
    limits = found.costs([Choice((8, 16, 16))])[0]
    best = found.fit(limits)
    assert isinstance(best, Candidate)
    assert best.costs["latency_s"] <= limits[0]
    assert best.choice.widths == (8, 16, 16)
    uniform = uniform_choice(channels, ChannelStructure(), found.costs, limits)
    assert uniform is not None
    real, even = (
        loss.of(built(model, channels, scores, Choice(widths), loss.fitted_on))
        for widths in (best.choice.widths, uniform.widths)
    )
    assert real < 0.01 < 0.05 < even


@pytest.mark.parametrize("share", [0.75, 0.5])
def test_no_worse_than_looking_at_every_network(parts, share: float) -> None:
    """All 125 combinations: within 2 % of the best of them."""
    found = fitter(parts, SteppedTarget())
    limits = share * found.solver.cost(found.solver.whole)
    every = list(product(*(decision.options for decision in found.solver.decisions)))
    fits = (found.costs([Choice(widths) for widths in every]) <= limits).all(axis=1)
    best = min(found.solver.loss(point_of(found, widths)) for widths, fit in zip(every, fits, strict=True) if fit)
    answer = found.solver.solve(limits)
    assert answer is not None
    assert found.solver.loss(answer) <= 1.02 * best + 1e-12


def point_of(found: Fitter, widths: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(each.options.index(width) for each, width in zip(found.solver.decisions, widths, strict=True))


def test_an_impossible_budget_names_what_binds_and_the_nearest_one(parts) -> None:
    found = fitter(parts, SteppedTarget(), "latency_s", "energy_j")
    whole = found.solver.cost(found.solver.whole)
    answer = found.fit(whole * [0.9, 0.001])
    assert isinstance(answer, Shortfall)
    assert answer.binding == "energy_j"
    assert answer.allowed == pytest.approx(0.001 * whole[1])
    assert answer.least > answer.allowed
    nearest = np.array([answer.nearest[key] for key in found.keys])
    assert isinstance(found.fit(nearest), Candidate)  # that one can be kept


def test_settings_of_the_device_are_chosen_too(parts) -> None:
    """Fewer lanes cost fewer LUTs and more time: with time bounded, channels have to go for the LUTs."""
    target = SteppedTarget(lanes=(4, 8, 16, 32))
    found = fitter(parts, target, "lut", "latency_s")
    whole = found.solver.cost(found.solver.whole)
    best = found.fit(whole * [0.6, 1.0])
    assert isinstance(best, Candidate)
    lanes = dict(best.choice.settings)["lanes"]
    assert lanes < 32
    assert best.choice.widths != full_widths(parts[1])
    again = target.cost([found.costs.work_of(best.choice.widths)], tuned(DEVICE, {"lanes": lanes}))[0]
    assert again.costs["lut"].value <= 0.6 * whole[0]
    assert again.costs["latency_s"].value <= whole[1]


def test_the_front_trades_cost_for_loss(parts) -> None:
    front = fitter(parts, SteppedTarget()).front()
    costs, losses = [each.costs["latency_s"] for each in front], [each.loss for each in front]
    assert len(front) >= 4
    assert costs == sorted(costs)
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == pytest.approx(0, abs=1e-9)


def test_finished_networks_decide(parts) -> None:
    """A proposal whose loss was underestimated does not win."""
    model, channels, scores, loss = parts
    good = Candidate(Choice((8, 16, 16)), {}, 0.5, 0.5)
    bad = Candidate(Choice((16, 4, 4)), {}, 0.1, 0.1)
    assert [each.choice for each in ranked(model, channels, scores, [bad, good], loss)] == [good.choice, bad.choice]


def zeros_fitter(parts, target: SteppedTarget) -> Fitter:
    """A fitter that also decides the zeros of all layers."""
    model, channels, scores, _ = parts
    formats = target.formats(DEVICE)
    loss = RefitLoss(model, channels, scores, samples(), zeros=Pattern("block", (4, 4)))
    works = WidthModel(model, channels, formats)
    costs = DeviceCosts(target, DEVICE, works.workload, ("latency_s",))
    layers = density_decisions(channels, ChannelStructure(8), costs, works)
    return Fitter(channels, ChannelStructure(8), costs, loss, layers=layers)


def test_zeros_are_decided_where_the_device_skips_them(parts) -> None:
    found = zeros_fitter(parts, SteppedTarget(block=(4, 4)))
    decided = [each.options for each in found.solver.decisions if isinstance(each.subject, WeightDensity)]
    # not of the layer with 3 inputs; the last one has four blocks in each row
    assert decided == [(15, 25, 35, 50, 70, 100)] * 3 + [(35, 50, 70, 100)]
    assert not zeros_fitter(parts, SteppedTarget()).zeroes


def test_zeros_lose_less_than_channels_where_both_cost_the_same(parts) -> None:
    """At half of the time; and no worse than looking at every network of widths and zeros."""
    both, widths = zeros_fitter(parts, SteppedTarget(block=(4, 4))), zeros_fitter(parts, SteppedTarget())
    limits = 0.5 * both.solver.cost(both.solver.whole)
    one, other = both.fit(limits), widths.fit(limits)
    assert isinstance(one, Candidate) and isinstance(other, Candidate)
    assert one.choice.densities and one.loss < 0.7 * other.loss
    every = list(product(*(range(len(decision.options)) for decision in both.solver.decisions)))
    fits = (both.solver.costs(every) <= limits).all(axis=1)
    best = min(both.solver.loss(point) for point, fit in zip(every, fits, strict=True) if fit)
    answer = both.solver.solve(limits)
    assert answer is not None and both.solver.loss(answer) <= 1.02 * best + 1e-12
