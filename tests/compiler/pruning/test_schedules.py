"""Pruning step by step: it stops at the planted cliff, goes back from it, and says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pruning_nets import NETS, net
from real_tasks import load_task

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.data import Data
from prunus.compiler.errors import UsageError
from prunus.compiler.executor import run_model
from prunus.compiler.model.load import load
from prunus.compiler.model.model import Model
from prunus.compiler.passes.base import Context
from prunus.compiler.pipeline import Pipeline
from prunus.compiler.pruning.cut import cut
from prunus.compiler.pruning.schedules import SMALLEST_STEP, Plan, held_out, prune_stepwise
from prunus.compiler.pruning.select import select

DEAD = np.random.default_rng(1).permutation(32)[:14]


def half_dead() -> Model:
    """Of 32 channels 14 are faint; the others all matter."""
    rng = np.random.default_rng(0)
    w1 = rng.standard_normal((32, 3, 3, 3)).astype(np.float32)
    w1[DEAD] *= 1e-3
    return net(
        """a = Conv(x, w1)  c = Relu(a)  d = Conv(c, w2)  h = Relu(d)
           p = GlobalAveragePool(h)  f = Flatten(p)  y = Gemm<transB = 1>(f, wy, by)""",
        {"w1": w1, "w2": (8, 32, 3, 3), "wy": (5, 8), "by": (5,)},
    )


def samples(count: int = 128, seed: int = 5) -> Data:
    return Data({"x": np.random.default_rng(seed).standard_normal((count, 3, 8, 8)).astype(np.float32)})


def fidelity(original: Model) -> Callable[[Model], float]:
    """One minus the relative squared error of the output on fresh samples."""
    feeds = samples(200, seed=9).inputs
    expected = run_model(original, feeds)["y"]
    spread = np.square(expected - expected.mean(axis=0)).sum()
    return lambda model: float(1 - np.square(run_model(model, feeds)["y"] - expected).sum() / spread)


def cliff(original: Model, at: float) -> Callable[[Model], float]:
    """A score that is perfect until a share `at` of the MACs is gone, and falls to a fifth then."""
    whole = channel_groups(original).macs()
    return lambda model: 0.9 if channel_groups(model).macs() >= (1 - at) * whole else 0.2


@pytest.mark.parametrize("at", [0.27, 0.45, 0.62])
def test_it_rolls_back_at_the_planted_cliff(at: float) -> None:
    model = net(
        """a = Conv<pads = [1,1,1,1]>(x, w1)  c = Relu(a)  d = Conv<pads = [1,1,1,1]>(c, w2)  e = Relu(d)
           g = Conv(e, w3)  h = Relu(g)  p = GlobalAveragePool(h)  f = Flatten(p)  y = Gemm<transB = 1>(f, wy, by)""",
        {"w1": (64, 3, 3, 3), "w2": (64, 64, 3, 3), "w3": (32, 64, 1, 1), "wy": (5, 32), "by": (5,)},
    )
    result = prune_stepwise(model, cliff(model, at), Plan(0.9, max_drop=0.05, criterion="l2"))
    assert result.halted == "contract" and result.score == result.baseline == 0.9
    assert at - 2 * SMALLEST_STEP - 0.02 < result.fraction <= at  # one channel of 64 is up to two per cent
    assert not result.steps[-1].accepted and any(step.accepted for step in result.steps)
    assert all(step.score == 0.2 for step in result.steps if not step.accepted)
    assert channel_groups(result.model).macs() == channel_groups(model).macs(result.removed)
    assert result.proof_error < 1e-5


def test_it_takes_what_is_free_and_stops_before_what_matters() -> None:
    """Against one shot at the same target, which goes over the cliff."""
    model = half_dead()
    measure = fidelity(model)
    plan = Plan(0.8, max_drop=0.05, criterion="l2", refit=False)
    result = prune_stepwise(model, measure, plan)
    assert result.halted == "contract" and result.baseline == 1.0
    assert result.score >= 0.95 and result.fraction > 0.4  # 14 of 32 channels are 44 per cent
    channels = channel_groups(model)
    once = cut(model, channels, select(model, channels, 0.8, "l2").removed)
    assert measure(once) < 0.8
    gone = result.removed[channels.units["w1", 0]]
    assert gone[DEAD].all()


def test_it_ends_at_the_target_and_scores_every_network_anew() -> None:
    model = half_dead()
    result = prune_stepwise(model, lambda _: 1.0, Plan(0.4, max_drop=0.0), samples())
    assert result.halted == "target-met" and 0.4 <= result.fraction < 0.45
    assert [step.wanted for step in result.steps] == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.08)
    fractions = [step.fraction for step in result.steps]
    assert fractions == sorted(fractions)


def test_it_ends_where_nothing_is_left() -> None:
    result = prune_stepwise(half_dead(), lambda _: 1.0, Plan(0.99, max_drop=0.0, criterion="l2"))
    assert result.halted == "nothing-left" and 0.8 < result.fraction < 0.99
    group = channel_groups(half_dead()).prunable[0]
    assert (~result.removed[group.units]).sum() == 4  # a tenth of the original width, rounded up


@pytest.mark.parametrize("name", ["residual", "shuffle", "lstm", "attention", "einsum_attention", "tied_autoencoder"])
def test_steps_add_up_to_one_removal_of_the_original(name: str) -> None:
    """Without refitting, five small steps are one cut: the same weights."""
    model = NETS[name]()
    result = prune_stepwise(model, lambda _: 1.0, Plan(0.5, 0.0, criterion="l1", step=0.1, refit=False))
    once = cut(model, channel_groups(model), result.removed)
    assert len(result.steps) > 1
    ours, theirs = (each.graph.initializers for each in (once, result.model))
    for key in ours.keys() & model.graph.initializers.keys():  # patched shapes got names of their own
        assert np.array_equal(ours[key].const_value.numpy(), theirs[key].const_value.numpy())
    assert result.proof_error < 1e-5


def uneven() -> Model:
    """A wide layer that is mostly faint, and a narrow one that all matters."""
    rng = np.random.default_rng(2)
    w1 = rng.standard_normal((32, 3, 3, 3)).astype(np.float32)
    w1[4:] *= 1e-3
    return net(
        """a = Conv(x, w1)  c = Relu(a)  d = Conv(c, w2)  h = Relu(d)
           p = GlobalAveragePool(h)  f = Flatten(p)  y = Gemm<transB = 1>(f, wy, by)""",
        {"w1": w1, "w2": (8, 32, 3, 3), "wy": (5, 8), "by": (5,)},
    )


def test_a_global_budget_spares_the_layer_that_matters() -> None:
    model = uneven()
    channels = channel_groups(model)
    wide, narrow = channels.units["w1", 0], channels.units["w2", 0]
    whole, layer = (select(model, channels, 0.6, "l2", scope=scope) for scope in ("global", "layer"))
    shares = [chosen.removed[units].mean() for chosen in (whole, layer) for units in (wide, narrow)]
    assert shares[0] > 0.5 and shares[1] == 0  # global
    assert abs(shares[2] - shares[3]) <= 1 / 8 and shares[3] > 0.2  # the same of every layer, up to one channel
    feeds = samples(200, seed=3).inputs
    expected = run_model(model, feeds)["y"]
    errors = [
        np.square(run_model(cut(model, channels, chosen.removed), feeds)["y"] - expected).sum()
        for chosen in (whole, layer)
    ]
    assert errors[0] < 0.1 * errors[1]


@pytest.mark.parametrize(
    ("metric", "code"),
    [(lambda outputs, labels: 1 / 0, "metric-failed"), (lambda outputs, labels: float("nan"), "metric-not-finite")],
)
def test_a_metric_that_fails_is_named(metric, code: str) -> None:
    data = Data(samples(16).inputs, np.zeros(16, int))
    measure = held_out(half_dead(), data, metric)
    with pytest.raises(UsageError) as failure:
        prune_stepwise(half_dead(), measure, Plan(0.5, 0.1, criterion="l2"))
    assert failure.value.code == code


@pytest.mark.parametrize("plan", [Plan(0.0, 0.1), Plan(1.0, 0.1), Plan(0.5, -0.1), Plan(0.5, 0.1, step=0)])
def test_a_senseless_schedule_is_refused(plan: Plan) -> None:
    with pytest.raises(UsageError) as failure:
        prune_stepwise(half_dead(), lambda _: 1.0, plan)
    assert failure.value.code == "bad-schedule"


def test_too_few_held_out_samples_are_refused() -> None:
    with pytest.raises(UsageError) as failure:
        held_out(half_dead(), samples(4))
    assert failure.value.code == "too-few-samples"


def test_a_scope_that_does_not_exist_is_refused() -> None:
    model = half_dead()
    with pytest.raises(UsageError) as failure:
        select(model, channel_groups(model), 0.5, scope="row")
    assert failure.value.code == "unknown-scope"


@pytest.mark.slow
def test_the_contract_holds_on_a_trained_model(models: Path) -> None:
    """DS-CNN, one half of the samples held out for the contract, the other for the check of it."""
    task = load_task("ds_cnn", models)
    loaded = load(task.model)
    calibration = task.calibration_data(loaded)
    model = Pipeline.default(last="remove_dead_channels").run(loaded, Context(calibration=calibration)).model
    data = Data(task.feeds(model), task.labels)
    contract, check = data.split(len(data) // 2)
    result = prune_stepwise(model, held_out(model, contract), Plan(0.6, max_drop=0.03), calibration)
    assert result.score >= result.baseline - 0.03 and result.fraction > 0.3
    unseen = held_out(model, check)
    assert unseen(result.model) >= unseen(model) - 0.06
