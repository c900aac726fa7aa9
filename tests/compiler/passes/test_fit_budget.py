"""The pass that fits widths to a budget: what it cuts, what it says, and when it leaves the model alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pruning_nets import net
from search_target import DEVICE, SteppedTarget, half_redundant, samples

from prunus.compiler.analysis.channels.shapes import with_shapes
from prunus.compiler.data import Data
from prunus.compiler.errors import UsageError
from prunus.compiler.executor import run_model
from prunus.compiler.model.model import Model
from prunus.compiler.model.workload import workload
from prunus.compiler.passes.base import Context, Options, PassResult
from prunus.compiler.passes.fit_budget import FitBudget
from prunus.compiler.passes.quantize import Quantize
from prunus.compiler.target import quantized_like


def fit(model: Model, target: SteppedTarget | None = None, data: Data | None = None, **options: object) -> PassResult:
    target = target or SteppedTarget()
    context = Context(
        formats=target.formats(DEVICE),
        options=Options(**options),
        calibration=samples(64) if data is None else data,
        target=target,
        device=DEVICE,
    )
    return FitBudget().run(model, context)


def latency(model: Model, target: SteppedTarget | None = None) -> float:
    target = target or SteppedTarget()
    work = quantized_like(workload(model), target.formats(DEVICE))
    return target.cost([work], DEVICE)[0].costs["latency_s"].value


def codes(result: PassResult) -> set[str]:
    return {note.code for note in result.notes}


def test_the_budget_is_met_as_predicted_by_the_quantized_model() -> None:
    """Prediction within 10 % of what is estimated on the network that was really cut and quantized: here, equal."""
    model = half_redundant()
    budget = 0.7 * latency(model)
    result = fit(model, budget={"latency_s": budget})
    assert result.changed
    assert {"pruning-pays", "widths-chosen", "cut-proven", "layers-refitted"} <= codes(result)
    data = samples(64)
    quantized = Quantize().run(result.model, Context(calibration=data)).model
    found = SteppedTarget().cost([workload(quantized)], DEVICE)[0].costs["latency_s"].value
    assert found <= budget
    assert found == pytest.approx(result.details["predicted"]["latency_s"], rel=0.1)
    before, after = (next(iter(run_model(each, data.inputs).values())) for each in (model, result.model))
    assert np.square(before - after).sum() < 0.1 * np.square(before - before.mean(axis=0)).sum()
    assert len(result.details["front"]) >= 3


def test_the_redundant_channels_go_first() -> None:
    model = half_redundant()
    result = fit(model, budget={"latency_s": 0.7 * latency(model)})
    widths = {row["layer"]: row["after"] for row in result.details["widths"]}
    assert widths["w1"] == 8


def test_an_impossible_budget_leaves_the_model_and_says_what_would_do() -> None:
    model = half_redundant()
    result = fit(model, budget={"latency_s": 1e-9})
    assert result.model is model
    assert "budget-infeasible" in codes(result)
    shortfall = result.details["shortfall"]
    assert shortfall["binding"] == "latency_s"
    assert shortfall["least"] > 1e-9
    again = fit(model, budget={"latency_s": shortfall["least"] * 1.0001})
    assert again.changed


def test_a_budget_that_is_met_already_changes_nothing() -> None:
    model = half_redundant()
    result = fit(model, budget={"latency_s": 2 * latency(model)})
    assert (result.model, codes(result)) == (model, {"budget-met-unpruned"})


def test_zeros_that_the_device_skips_are_part_of_the_answer() -> None:
    """As predicted, in whole blocks, and told; without them the same budget takes channels."""
    model, target = half_redundant(), SteppedTarget(block=(4, 4))
    budget = {"latency_s": 0.5 * latency(model)}
    result = fit(model, target, budget=budget)
    kept = result.details["weights_kept_percent"]
    assert kept and set(kept) <= {node.name for node in model.graph}
    assert {"weights-zeroed", "cost-counted"} <= codes(result)
    (chosen,) = (note.text for note in result.notes if note.code == "widths-chosen")
    assert "Zeros: " in chosen and "% of" in chosen
    real = latency(result.model, target)
    assert real <= budget["latency_s"]
    assert real == pytest.approx(result.details["predicted"]["latency_s"], rel=0.05)
    without = fit(model, target, budget=budget, budget_zeros=False)
    assert not without.details["weights_kept_percent"]
    assert without.details["loss"] > result.details["loss"]


def test_a_sparsity_of_the_users_own_comes_first() -> None:
    model = half_redundant()
    result = fit(model, budget={"latency_s": 1e-6}, sparsity=0.3)
    assert (result.model, codes(result)) == (model, {"budget-only-checked"})


def test_it_says_when_pruning_cannot_make_the_network_cheaper() -> None:
    """A device on which a sample takes the same time whatever the widths are."""
    model = half_redundant()
    result = fit(model, SteppedTarget(tile=16), budget={"latency_s": 0.5 * latency(model, SteppedTarget(tile=16))})
    assert "pruning-does-not-pay" in codes(result)
    assert not result.changed


def test_the_accuracy_alone_bounds_the_cost() -> None:
    """The cheapest network whose quantized score falls by no more."""
    model = half_redundant()
    data = samples(64)
    answers = next(iter(run_model(model, data.inputs).values())).argmax(axis=1)
    labelled = Data(data.inputs, answers)
    result = fit(model, data=labelled, max_drop=0.1)
    assert result.changed
    assert latency(result.model) < 0.8 * latency(model)
    right = next(iter(run_model(result.model, data.inputs).values())).argmax(axis=1) == answers
    assert right.mean() >= 0.8


def test_settings_of_the_device_are_part_of_the_answer() -> None:
    target = SteppedTarget(lanes=(4, 8, 16, 32))
    model = half_redundant()
    work = quantized_like(workload(model), target.formats(DEVICE))
    whole = target.cost([work], DEVICE)[0].costs
    result = fit(model, target, budget={"lut": 0.6 * whole["lut"].value})
    assert result.details["settings"]["lanes"] < 32
    assert result.details["predicted"]["latency_s"] <= whole["latency_s"].value


def test_the_users_metric_decides_what_a_drop_is() -> None:
    """One that nothing changes lets everything go; top-1 of the same samples does not."""
    model, data = half_redundant(), samples(64)
    answers = next(iter(run_model(model, data.inputs).values())).argmax(axis=1)
    labelled = Data(data.inputs, answers)

    def same(_outputs: np.ndarray, _labels: np.ndarray) -> float:
        return 0.5

    context = Context(options=Options(max_drop=0.01), calibration=labelled, target=SteppedTarget(), device=DEVICE)
    strict, free = (FitBudget().run(model, replace(context, metric=metric)) for metric in (None, same))
    assert latency(free.model) < 0.5 * latency(strict.model)


def test_a_network_without_free_channels_stays_and_says_so() -> None:
    model = with_shapes(net("y = Gemm<transB = 1>(x, w, b)", {"w": (5, 8), "b": (5,)}, x="float[N,8] x"))
    data = Data({"x": np.random.default_rng(0).standard_normal((32, 8), dtype=np.float32)})
    result = fit(model, data=data, budget={"latency_s": 1e-9})
    assert result.model is model
    assert "nothing-to-prune" in codes(result)


def test_what_is_missing_is_named() -> None:
    model, context = half_redundant(), Context(options=Options(budget={"latency_s": 1e-6}))
    with pytest.raises(UsageError) as caught:
        FitBudget().run(model, context)
    assert caught.value.code == "needs-target"
    with pytest.raises(UsageError) as caught:
        FitBudget().run(model, replace(context, target=SteppedTarget(), device=DEVICE))
    assert caught.value.code == "needs-data"
