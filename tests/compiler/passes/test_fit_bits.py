"""Bits of weights as part of what a budget decides."""

from __future__ import annotations

import numpy as np
import pytest
from search_target import DEVICE, CountingTarget, SteppedTarget, half_redundant, samples

from prunus.compiler.executor import run_model
from prunus.compiler.model.model import Model
from prunus.compiler.model.workload import workload
from prunus.compiler.passes.base import Context, Options, PassResult
from prunus.compiler.passes.fit_budget import FitBudget
from prunus.compiler.passes.quantize import Quantize
from prunus.compiler.quantization.wanted import want_bits, wanted_bits


def fit(model: Model, target: SteppedTarget, **options: object) -> PassResult:
    context = Context(target.formats(DEVICE), Options(**options), samples(48), target=target, device=DEVICE)
    return FitBudget().run(model, context)


def luts(model: Model, target: SteppedTarget, **options: object) -> float:
    """Of the network once it is really quantized."""
    context = Context(target.formats(DEVICE), Options(**options), samples(48))
    quantized = Quantize().run(model, context).model
    return target.cost([workload(quantized)], DEVICE)[0].costs["lut"].value


@pytest.mark.parametrize("bits", [4, 6])
def test_predicted_with_the_bits_that_the_user_asks_for(bits: int) -> None:
    """Not with the device's eight, which would prune twice as much as needed."""
    model, target = half_redundant(), SteppedTarget(narrow=(4, 6))
    whole = luts(model, target)
    result = fit(model, target, budget={"lut": 0.9 * bits / 8 * whole}, weight_bits=bits)
    assert result.details["unpruned"]["lut"] == pytest.approx(luts(model, target, weight_bits=bits))
    found = luts(result.model, target, weight_bits=bits)
    assert found == pytest.approx(result.details["predicted"]["lut"], rel=0.02)
    assert 0.7 * bits / 8 * whole < found <= 0.9 * bits / 8 * whole
    assert not result.details["weight_bits"]  # the user's are all there is


@pytest.mark.slow
def test_bits_are_chosen_together_with_the_widths(capfd: pytest.CaptureFixture[str]) -> None:
    """Half of the logic: narrower weights lose less than fewer channels would."""
    model, target = half_redundant(), SteppedTarget(narrow=(4, 6))
    budget = {"lut": 0.45 * luts(model, target)}
    result, fixed = fit(model, target, budget=budget), fit(model, target, budget=budget, weight_bits=8)
    assert not capfd.readouterr().out  # nor does native code print anything
    assert luts(result.model, target) <= budget["lut"]
    assert result.details["weight_bits"]
    assert wanted_bits(result.model.graph) == result.details["weight_bits"]
    data = samples(48)
    before = next(iter(run_model(model, data.inputs).values()))
    context = Context(target.formats(DEVICE), Options(), data)
    errors = [
        np.square(before - next(iter(run_model(Quantize().run(each.model, context).model, data.inputs).values()))).sum()
        for each in (result, fixed)
    ]
    assert errors[0] < 0.5 * errors[1]


def test_a_choice_of_bits_by_the_user_comes_first() -> None:
    model = half_redundant()
    context = Context(options=Options(weight_bits=6), calibration=samples(48))
    first = str(next(node.name for node in model.graph if node.op_type == "Conv"))
    quantized = Quantize().run(want_bits(model, {first: 4}), context).model
    assert {layer.weight_bits for layer in workload(quantized).layers if layer.macs} == {6}


@pytest.mark.slow
def test_a_network_that_counts_more_than_predicted_is_made_smaller() -> None:
    """The model is 20 % off, which only the finished network tells: what it aims at moves by as much."""
    model, target = half_redundant(), CountingTarget(narrow=(4, 6), factor=1.2)
    budget = {"lut": 0.5 * luts(model, target)}
    result = fit(model, target, budget=budget)
    assert result.changed
    assert "cost-counted" in {note.code for note in result.notes}
    assert 0.8 * budget["lut"] < result.details["predicted"]["lut"] <= budget["lut"]  # as counted
    assert luts(result.model, target) <= budget["lut"] / 1.2
    trusting = fit(model, SteppedTarget(narrow=(4, 6)), budget=budget)
    assert luts(trusting.model, target) > budget["lut"] / 1.2  # the prediction alone would have missed it


def test_an_impossible_budget_names_the_bits_of_the_nearest_network() -> None:
    model, target = half_redundant(), SteppedTarget(narrow=(4, 6))
    result = fit(model, target, budget={"lut": 150.0})
    assert result.model is model
    shortfall = result.details["shortfall"]
    assert shortfall["binding"] == "lut"
    assert "(Weights: 5 layers at 4 bits)" in shortfall["why"]
    assert fit(model, target, budget={"lut": 1.001 * shortfall["least"]}).changed
