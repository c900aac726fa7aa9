"""What a solver decides, and what its decisions cost on the device."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..analysis.channels import Channels
from ..model.workload import Workload
from ..pruning.structures import ChannelStructure, unit_width
from ..target import Device, Target, Tunable
from .widths import Bits, Densities, WidthModel, Widths, full_widths

Floats = npt.NDArray[np.float64]
Point = tuple[int, ...]  # per decision the number of the option taken
Costs = Callable[[Sequence[Point]], Floats]  # [points, keys]
MAX_OPTIONS = 12  # of one decision
MAX_ASKED = 24  # widths of one group whose costs are asked
DENSITIES = (15, 25, 35, 50, 70)  # per cent of a layer's weights that may stay
_STEP = 1e-6  # relative; a smaller saving is none


@dataclass(frozen=True)
class WeightBits:
    """The subject of a decision: how many bits the weights of one layer (plain node name) have."""

    layer: str


@dataclass(frozen=True)
class WeightDensity:
    """The subject of a decision: how many per cent of one layer's weights (plain node name) stay."""

    layer: str


@dataclass(frozen=True)
class Decision:
    """What one channel group, one layer's weights or one setting of the device may be: ascending, the last option
    changes nothing.

    `subject` is the number of the prunable group, a layer's `WeightBits` or `WeightDensity`, or the setting's name.
    `losses` belong to the options.
    """

    subject: int | WeightBits | WeightDensity | str
    options: tuple[int, ...]
    losses: tuple[float, ...] = ()

    @property
    def whole(self) -> int:
        """The option that changes nothing."""
        return len(self.options) - 1


@dataclass(frozen=True)
class Choice:
    """Widths of all groups, settings of the device, and what differs from the device's own in layers' weights."""

    widths: Widths
    settings: tuple[tuple[str, int], ...] = ()
    bits: Bits = ()
    densities: Densities = ()

    def whole(self, channels: Channels) -> bool:
        """Whether the network stays as it is."""
        return self.widths == full_widths(channels) and not self.bits and not self.densities


def choice_of(decisions: Sequence[Decision], point: Point) -> Choice:
    """What a point stands for; the decisions on groups come in their order."""
    taken = [(each.subject, each.options[option]) for each, option in zip(decisions, point, strict=True)]
    changed = [one for one, each, option in zip(taken, decisions, point, strict=True) if option < each.whole]
    return Choice(
        tuple(value for subject, value in taken if isinstance(subject, int)),
        tuple((subject, value) for subject, value in taken if isinstance(subject, str)),
        tuple((subject.layer, value) for subject, value in changed if isinstance(subject, WeightBits)),
        tuple((subject.layer, value) for subject, value in changed if isinstance(subject, WeightDensity)),
    )


def tuned(device: Device, settings: Mapping[str, int]) -> Device:
    """The device with these settings in place of its own."""
    return replace(device, data={**device.data, **settings}) if settings else device


class WorkOf(Protocol):
    """What a network of these widths, bits and zeros asks of the device."""

    def __call__(self, widths: Widths, bits: Bits = (), densities: Densities = (), /) -> Workload: ...


@dataclass(eq=False)
class DeviceCosts:
    """What choices cost, by the device's own model: each is asked once, many at a time.

    `keys` name the costs (of `quantity.UNITS`) in the order of the columns. `asked` counts the estimates.
    """

    target: Target
    device: Device
    work_of: WorkOf
    keys: tuple[str, ...]
    asked: int = 0
    _known: dict[Choice, tuple[float, ...]] = field(default_factory=dict)

    def __call__(self, many: Sequence[Choice]) -> Floats:
        """[len(many), keys]."""
        new: dict[tuple[tuple[str, int], ...], list[Choice]] = {}
        for choice in dict.fromkeys(many):
            if choice not in self._known:
                new.setdefault(choice.settings, []).append(choice)
        for settings, choices in new.items():
            works = [self.work_of(choice.widths, choice.bits, choice.densities) for choice in choices]
            estimates = self.target.cost(works, tuned(self.device, dict(settings)))
            for choice, estimate in zip(choices, estimates, strict=True):
                self._known[choice] = tuple(estimate.costs[key].value for key in self.keys)
            self.asked += len(choices)
        return np.array([self._known[choice] for choice in many], dtype=np.float64).reshape(len(many), len(self.keys))


def width_decisions(channels: Channels, structure: ChannelStructure, costs: DeviceCosts) -> list[Decision]:
    """One decision per prunable group: the widths at which the device's cost really steps.

    Of widths that cost the same only the largest is worth having. Costs are asked with all other groups whole, and with
    all others at their least, since a layer that decides nothing in one network may decide in the other.
    """
    whole = full_widths(channels)
    allowed = [allowed_widths(channels, number, structure) for number in range(len(whole))]
    least = tuple(widths[0] for widths in allowed)
    decisions = []
    for number, widths in enumerate(allowed):
        asked = thin(widths, MAX_ASKED)
        stepping = {asked[0], asked[-1]}
        for others in (whole, least):
            choices = [Choice((*others[:number], width, *others[number + 1 :])) for width in asked]
            stepping |= {asked[index] for index in steps(costs(choices))}
        decisions.append(Decision(number, thin(sorted(stepping), MAX_OPTIONS)))
    return decisions


def allowed_widths(channels: Channels, number: int, structure: ChannelStructure) -> list[int]:
    """What a prunable group may be left with, ascending."""
    group = channels.prunable[number]
    width = unit_width(channels, group)
    return sorted({group.size - structure.removable(group, width, gone) for gone in range(group.size)})


def bits_decisions(
    channels: Channels, structure: ChannelStructure, costs: DeviceCosts, works: WidthModel, narrow: Sequence[int]
) -> list[Decision]:
    """One decision per layer whose cost, by some key, really falls with the bits of its weights."""
    decisions = []
    for layer in works.narrowable:
        offered = sorted(bits for bits in narrow if bits < layer.weight_bits)
        choices = [Choice((), bits=((layer.origin, bits),)) for bits in offered]
        stepping = _stepping(channels, structure, costs, choices)
        if stepping:
            options = (*(offered[index] for index in stepping), layer.weight_bits)
            decisions.append(Decision(WeightBits(layer.origin), options))
    return decisions


def density_decisions(
    channels: Channels, structure: ChannelStructure, costs: DeviceCosts, works: WidthModel
) -> list[Decision]:
    """One decision per layer whose cost, by some key, really falls with zeros in the pattern that the device skips."""
    if works.pattern is None:
        return []
    offered = DENSITIES if works.pattern.kind != "n_m" else (round(100 * works.pattern.density(1.0)),)
    decisions = []
    for layer in works.narrowable:
        choices = [Choice((), densities=((layer.origin, percent),)) for percent in offered]
        stepping = _stepping(channels, structure, costs, choices)
        if stepping:
            options = (*(offered[index] for index in stepping), 100)
            decisions.append(Decision(WeightDensity(layer.origin), options))
    return decisions


def _stepping(
    channels: Channels, structure: ChannelStructure, costs: DeviceCosts, choices: Sequence[Choice]
) -> list[int]:
    """Which choices about one layer, ascending, make the device cheaper: asked with all groups whole and at their
    least, as widths are."""
    whole = full_widths(channels)
    least = tuple(allowed_widths(channels, number, structure)[0] for number in range(len(whole)))
    stepping = set[int]()
    for widths in (whole, least):
        asked = [*(replace(choice, widths=widths) for choice in choices), Choice(widths)]
        stepping |= {index for index in steps(costs(asked)) if index < len(choices)}
    return sorted(stepping)


def setting_decisions(target: Target, device: Device) -> list[Decision]:
    """One decision per setting that the target offers. None of them changes a result, so none loses anything."""
    if not isinstance(target, Tunable):
        return []
    offered = sorted(target.settings(device).items())
    return [Decision(name, tuple(values), (0.0,) * len(values)) for name, values in offered if len(values) > 1]


def steps(costs: Floats) -> list[int]:
    """Rows that cost less, by some column, than every later row. costs: [widths ascending, keys]."""
    cheapest = np.full(costs.shape[1], np.inf)
    found = []
    for row in reversed(range(len(costs))):
        if (costs[row] < cheapest * (1 - _STEP)).any():
            found.append(row)
        cheapest = np.minimum(cheapest, costs[row])
    return found[::-1]


def thin(numbers: Sequence[int], count: int) -> tuple[int, ...]:
    """At most `count` of ascending numbers, evenly chosen; the first and the last stay."""
    if len(numbers) <= count:
        return tuple(numbers)
    chosen: Any = np.unique(np.linspace(0, len(numbers) - 1, count).round().astype(int))
    return tuple(numbers[index] for index in chosen)
