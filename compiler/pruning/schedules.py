"""Iterative pruning under an accuracy contract: cut a little, refit, measure, and go back where it cost too much.

Pruning in steps, with scores of the smaller network each time, is Han et al., Learning both Weights and Connections
(2015), and Molchanov et al. (2017); here least squares takes the place of training between the steps. Test-and-halt
with rollback: a step that breaks the contract is undone and tried again at half its size, until steps get too small.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..analysis.channels import Channels, channel_groups
from ..analysis.channels.groups import Mask, kept
from ..analysis.channels.shapes import with_shapes
from ..data import Data
from ..errors import UsageError
from ..executor import Session
from ..metric import Judge, Metric
from ..model.model import Model
from ..target import Progress, no_progress
from .criteria import importance
from .cut import cut
from .prove import prove
from .reconstruct import reconstruct
from .select import select
from .structures import ChannelStructure

Array = npt.NDArray[Any]
Measure = Callable[[Model], float]  # the score of a model on held-out data, larger is better
STEP = 0.1  # of the original's MACs
SMALLEST_STEP = 0.01
MIN_SAMPLES = 8
_SLACK = 1e-12  # of rounding in the metric


@dataclass(frozen=True)
class Step:
    """One attempt: the share of MACs that it wanted gone and that was gone, and what the score was then."""

    wanted: float
    fraction: float
    score: float
    accepted: bool


@dataclass(frozen=True, eq=False)
class Stepwise:
    """The smallest model that kept the contract. `removed` are units of the original's channel groups.

    `halted` says why it ends here: the target is met, the next smallest step breaks the contract, or nothing is left to
    remove. `proof_error` is the largest relative error of any step's proof.
    """

    model: Model
    removed: Mask
    baseline: float
    score: float
    fraction: float
    steps: tuple[Step, ...]
    halted: Literal["target-met", "contract", "nothing-left"]
    proof_error: float


@dataclass(frozen=True)
class Plan:
    """What to prune for, and how: `fraction` of the MACs at most, and the score may fall by `max_drop` at most."""

    fraction: float
    max_drop: float
    criterion: str = "auto"
    scope: str = "global"
    structure: ChannelStructure = field(default_factory=ChannelStructure)
    step: float = STEP
    refit: bool = True
    seed: int = 0


def held_out(original: Model, data: Data, metric: Metric | None = None) -> Measure:
    """The score on data that nothing else sees, as `metric.Judge` has it.

    Raises:
        UsageError: there are too few samples (code `too-few-samples`); later, when called, what `metric.score` raises.
    """
    if len(data) < MIN_SAMPLES:
        raise UsageError(
            f"{len(data)} held-out samples are too few to measure a drop in accuracy.",
            code="too-few-samples",
            where=data.source or None,
            hint=f"Give at least {MIN_SAMPLES}, better some hundred.",
        )
    name = original.graph.outputs[0].name or ""
    judge = Judge(Session(original, [name]).run(data.inputs)[name], data.labels, metric)

    def measure(model: Model) -> float:
        return judge(Session(model, [name]).run(data.inputs)[name])

    return measure


def prune_stepwise(
    model: Model,
    measure: Measure,
    plan: Plan,
    data: Data | None = None,
    *,
    baseline: float | None = None,
    progress: Progress = no_progress,
) -> Stepwise:
    """Prunes until the plan's target is met or its contract would be broken. `data` (unlabelled) is for scores and
    refitting; `measure` should look at other samples. The contract counts from `baseline`, by default the model's own
    score.

    Raises:
        UsageError: the plan's numbers are out of range (code `bad-schedule`), or its criterion lacks data.
    """
    if not (0 < plan.fraction < 1 and 0 < plan.step <= 1 and plan.max_drop >= 0):
        raise UsageError(
            "The pruning schedule is not valid.",
            code="bad-schedule",
            why=f"Target {plan.fraction}, step {plan.step}, largest drop {plan.max_drop}.",
            hint="Target and step are shares of the MACs between 0 and 1; the drop is not negative.",
        )
    run = _Run(with_shapes(model), plan, data)
    baseline = measure(run.original) if baseline is None else baseline
    state = _State(run.original, run.channels.keep_all(), 0.0, 0.0)
    score, size, steps = baseline, plan.step, list[Step]()
    rejected: Mask | None = None
    halted: Literal["target-met", "contract", "nothing-left"] = "target-met"
    while state.fraction < plan.fraction:
        progress("Pruning step by step", state.fraction / plan.fraction)
        wanted = min(plan.fraction, state.fraction + size)
        following = run.advance(state, wanted)
        if following is None:
            halted = "nothing-left"
            break
        if rejected is not None and np.array_equal(following.removed, rejected):
            halted = "contract"  # no smaller step exists
            break
        found = measure(following.model)
        accepted = found >= baseline - plan.max_drop - _SLACK
        steps.append(Step(wanted, following.fraction, found, accepted))
        if accepted:
            state, score, rejected = following, found, None
            continue
        rejected, size = following.removed, size / 2
        if size < SMALLEST_STEP:
            halted = "contract"
            break
    return Stepwise(
        state.model, state.removed, baseline, score, state.fraction, tuple(steps), halted, state.proof_error
    )


@dataclass(frozen=True, eq=False)
class _State:
    model: Model
    removed: Mask  # units of the original
    fraction: float  # of the original's MACs that is gone
    proof_error: float


class _Run:
    """The original and its channels; every later network is one of its cuts."""

    def __init__(self, original: Model, plan: Plan, data: Data | None) -> None:
        self.original = original
        self.channels = channel_groups(original)
        self.plan = plan
        self.data = data

    def advance(self, state: _State, wanted: float) -> _State | None:
        """The state with `wanted` of the MACs gone, or as much as can go; None when nothing more can."""
        plan, now = self.plan, channel_groups(state.model)
        places = _places(self.channels, state.removed, now)
        present = importance(state.model, now, plan.criterion, plan.seed, self.data)
        scores = np.where(places >= 0, present[places], np.inf)
        scores[state.removed] = -np.inf
        chosen = select(
            self.original,
            self.channels,
            wanted,
            plan.criterion,
            structure=plan.structure,
            data=self.data,
            scope=plan.scope,
            scores=scores,
        )
        removed = now.keep_all()
        removed[places[chosen.removed & (places >= 0)]] = True
        if not removed.any():
            return None
        pruned = cut(state.model, now, removed)
        proof = prove(state.model, now, removed, pruned, seed=plan.seed)
        total = state.removed | chosen.removed
        if plan.refit and self.data is not None:
            pruned = reconstruct(self.original, pruned, self.channels, total, self.data, seed=plan.seed).model
        gone = 1 - self.channels.macs(total) / max(self.channels.macs(), 1)
        return _State(pruned, total, gone, max(state.proof_error, proof.max_relative_error))


def _places(original: Channels, removed: Mask, now: Channels) -> npt.NDArray[np.int64]:
    """For every unit of the original its unit in the smaller network; -1 where it is gone or can go no more."""
    places = np.full(original.count, -1, dtype=np.int64)
    for source, units in original.units.items():
        left = units[kept(units, removed)]
        present = now.units.get(source)
        if present is not None and len(present) == len(left):
            places[left[left >= 0]] = present[left >= 0]
    return places
