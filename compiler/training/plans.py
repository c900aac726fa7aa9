"""Plans of pruning while training: how sparse, in which pattern, and how fast. They need no torch.

Sources: Zhu and Gupta, To Prune, or Not to Prune, 2017 (`Gradual`); Guo, Yao and Chen, Dynamic Network Surgery for
Efficient DNNs, 2016 (`Surgery`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from ..errors import UsageError
from ..pruning.patterns import Pattern

if TYPE_CHECKING:
    from ..config.options import Options

Scope = Literal["layer", "global"]
WHILE_TRAINING = ("gradual", "surgery", "lottery")
SCHEDULES = ("one-shot", "iterative", *WHILE_TRAINING)


@dataclass(frozen=True)
class Gradual:
    """The share of zeros s rises along a cubic curve, fast at first, while the network trains:

        s(t) = sparsity + (initial - sparsity) (1 - (t - begin) / (end - begin))^3    from `begin` to `end`,

    which are shares of all steps, in `updates` equal intervals. Zeros, once made, stay. `scope`: every layer becomes
    equally sparse, or the weights that are small for their layer go wherever they are (`global`).

    Raises:
        UsageError: a number is out of range (`bad-schedule`).
    """

    sparsity: float
    pattern: Pattern = field(default_factory=lambda: Pattern("weight"))
    initial: float = 0.0
    begin: float = 0.0
    end: float = 0.4
    updates: int = 32
    scope: Scope = "layer"

    def __post_init__(self) -> None:
        good = (
            0 <= self.initial <= self.sparsity < 1
            and self.sparsity > 0
            and 0 <= self.begin < self.end <= 1
            and self.updates >= 1
            and self.scope in ("layer", "global")
        )
        if not good:
            raise UsageError(
                "The schedule of pruning while training is not valid.",
                code="bad-schedule",
                why=str(self),
                hint="Shares lie between 0 and 1: the initial sparsity below the final one, the begin before the end.",
            )

    @property
    def target(self) -> float:
        """The final share of zeros; N:M has its own."""
        return 1 - self.pattern.density(1 - self.sparsity)

    def wanted(self, done: float) -> float:
        """The share of zeros when `done` of all steps are."""
        rest = 1 - min(max((done - self.begin) / (self.end - self.begin), 0.0), 1.0)
        return self.target + (min(self.initial, self.target) - self.target) * rest**3

    def update_steps(self, steps: int) -> tuple[int, ...]:
        """The steps before which masks are updated, the first at the latest and the last at the full sparsity."""
        first, last = round(self.begin * steps), min(round(self.end * steps), steps - 1)
        count = min(self.updates, max(last - first, 0))
        return tuple(
            dict.fromkeys(first + round(number * (last - first) / max(count, 1)) for number in range(count + 1))
        )


@dataclass(frozen=True)
class Surgery(Gradual):
    """Weights that were cut out learn on behind their mask, and those that grow are spliced in again.

    A weight goes when it falls below a threshold a, and comes back when it rises above b, which is
    a (1 + margin) / (1 - margin); both move so that the sparsity follows the curve of `Gradual`. From `until` on, a
    share of all steps, masks rest.
    """

    end: float = 0.3
    until: float = 0.7
    updates: int = 64
    margin: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (0 <= self.margin < 1 and self.end <= self.until <= 1):
            raise UsageError(
                "The schedule of dynamic surgery is not valid.",
                code="bad-schedule",
                why=str(self),
                hint="The margin lies between 0 and 1, and masks may rest only when the sparsity is reached.",
            )

    def update_steps(self, steps: int) -> tuple[int, ...]:
        """The steps before which masks are updated: on along the curve, and then at its end value until they rest."""
        first, last = round(self.begin * steps), min(round(self.until * steps), steps - 1)
        count = min(self.updates, max(last - first, 0))
        return tuple(
            dict.fromkeys(first + round(number * (last - first) / max(count, 1)) for number in range(count + 1))
        )


@dataclass(frozen=True)
class Lottery:
    """Rounds of training that each remove the same share of the weights that are left (see `lottery`).

    `rewind` is the epoch whose weights every round starts from: 0 is the initial ones.

    Raises:
        UsageError: a number is out of range (`bad-schedule`).
    """

    sparsity: float
    pattern: Pattern = field(default_factory=lambda: Pattern("weight"))
    rounds: int = 5
    rewind: int = 0
    scope: Scope = "layer"

    def __post_init__(self) -> None:
        if not (0 < self.sparsity < 1 and self.rounds >= 1 and self.rewind >= 0 and self.scope in ("layer", "global")):
            raise UsageError(
                "The schedule of the lottery ticket is not valid.",
                code="bad-schedule",
                why=str(self),
                hint="The sparsity is a share below 1; there is at least one round.",
            )

    @property
    def target(self) -> float:
        """The final share of zeros; N:M has its own."""
        return 1 - self.pattern.density(1 - self.sparsity)


@dataclass(frozen=True)
class GradualChannels:
    """Channels that go in `rounds` stages until `fraction` of the multiply-accumulates is gone (see `channels`).

    Raises:
        UsageError: a number is out of range (`bad-schedule`).
    """

    fraction: float
    criterion: str = "auto"
    scope: str = "global"
    rounds: int = 4
    refit: bool = True

    def __post_init__(self) -> None:
        if not (0 < self.fraction < 1 and self.rounds >= 1):
            raise UsageError(
                "The schedule of gradual channel pruning is not valid.",
                code="bad-schedule",
                why=str(self),
                hint="The target is a share of the MACs below 1; there is at least one stage.",
            )


def weight_plan(options: Options, pattern: Pattern) -> Gradual | Lottery | None:
    """How weights are pruned while training, after the user's options; None where they are not.

    Raises:
        UsageError: the schedule is unknown (`unknown-schedule`), there is no training for it
            (`schedule-needs-training`), or no weights are asked away that it could prune (`schedule-needs-sparsity`).
    """
    schedule, sparsity = options.schedule, options.weight_sparsity
    if schedule not in SCHEDULES:
        raise UsageError(
            f"There is no pruning schedule called '{schedule[:64]}'.",
            code="unknown-schedule",
            hint=f"Schedules: {', '.join(SCHEDULES)}.",
        )
    if schedule not in WHILE_TRAINING:
        return None
    if not options.training.epochs:
        raise UsageError(
            f"The schedule '{schedule}' prunes while training, and there is no training.",
            code="schedule-needs-training",
            hint="--epochs 30 --data FILE.npz",
        )
    if not sparsity and (schedule != "gradual" or not options.sparsity):
        raise UsageError(
            f"The schedule '{schedule}' has nothing to prune.",
            code="schedule-needs-sparsity",
            why="It zeroes weights; channels go gradually, or before the training."
            if schedule != "gradual"
            else "Neither channels nor weights are asked away.",
            hint="--weight-sparsity 0.8",
        )
    if not sparsity:
        return None
    if schedule == "lottery":
        return Lottery(sparsity, pattern, options.rounds, options.rewind)
    return Surgery(sparsity, pattern) if schedule == "surgery" else Gradual(sparsity, pattern)


def _spread(begin: float, end: float, updates: int, steps: int) -> tuple[int, ...]:
    """`updates` equal intervals between two shares of the steps, as numbers of steps."""
    first, last = round(begin * steps), min(round(end * steps), steps - 1)
    count = min(updates, max(last - first, 0))
    return tuple(first + round(number * (last - first) / max(count, 1)) for number in range(count + 1))


@dataclass(frozen=True)
class Update:
    """One update of the masks: before which step, the share of zeros wanted and had, and the weights that came back."""

    step: int
    wanted: float
    realised: float
    spliced: int = 0
