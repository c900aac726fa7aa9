"""Mixed precision: the fewest weight bits per layer that keep the logits' signal-to-noise ratio at a bound.

Quantization errors of different layers add up almost like independent noise (Zhou et al., Adaptive Quantization for
Deep Neural Networks, 2018), so each layer's noise at each width is measured alone. Starting with everything narrow,
the layer whose widening removes most noise per bit spent goes first. How many of these steps the bound takes is found
by bisection on the real network. Where the device's own width does not meet the bound, layers
stay in floating point, those first whose quantization does most damage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from ..target import Progress, no_progress

NARROW_BITS = (4, 6)  # tried below the device's own width


@dataclass(frozen=True)
class Assignment:
    """Weight bits by layer (plain node name), the layers in floating point, and the logits' SQNR that results."""

    bits: Mapping[str, int]
    floating: tuple[str, ...]
    sqnr_db: float


class Measure(Protocol):
    """The logits' SQNR in dB with some layers narrower and some in floating point; `quick` may round to the nearest."""

    def __call__(self, bits: Mapping[str, int], floating: tuple[str, ...], quick: bool) -> float: ...


def assign_bits(
    weights: Mapping[str, int],
    measure: Measure,
    bound_db: float,
    widest: int,
    progress: Progress = no_progress,
) -> Assignment:
    """Chooses a width for every layer. `weights`: how many each has, in graph order; `widest`: the device's bits.

    Where nothing meets the bound, all layers are in floating point.
    """
    reached = measure({}, (), quick=False)
    if reached < bound_db:
        return _fall_back(weights, measure, bound_db, reached, progress)
    widths = [*(bits for bits in NARROW_BITS if bits < widest), widest]
    floor = _noise(measure({}, (), quick=True))
    noise = {}
    for number, name in enumerate(weights):
        progress("measuring narrow weights", number / len(weights))
        for bits in widths[:-1]:
            noise[name, bits] = max(_noise(measure({name: bits}, (), quick=True)) - floor, 0.0)
        noise[name, widest] = 0.0
    steps = [dict.fromkeys(weights, widths[0])]
    while any(bits < widest for bits in steps[-1].values()):
        steps.append(_widened(steps[-1], noise, widths, weights))
    found = Assignment({}, (), reached)
    low, high = 0, len(steps) - 1  # the last step meets the bound; wider steps are taken to have less noise
    while low < high:
        middle = (low + high) // 2
        narrow = {name: bits for name, bits in steps[middle].items() if bits < widest}
        reached = measure(narrow, (), quick=False)
        if reached >= bound_db:
            found, high = Assignment(narrow, (), reached), middle
        else:
            low = middle + 1
    return found


def _widened(
    chosen: Mapping[str, int], noise: Mapping[tuple[str, int], float], widths: list[int], weights: Mapping[str, int]
) -> dict[str, int]:
    """One layer gets its next width: the one that removes most noise per bit."""

    def gain(name: str) -> float:
        wider = widths[widths.index(chosen[name]) + 1]
        return (noise[name, chosen[name]] - noise[name, wider]) / ((wider - chosen[name]) * weights[name])

    best = max((name for name in chosen if chosen[name] < widths[-1]), key=gain)
    return {**chosen, best: widths[widths.index(chosen[best]) + 1]}


def _fall_back(
    weights: Mapping[str, int], measure: Measure, bound_db: float, reached: float, progress: Progress
) -> Assignment:
    """Takes layers out of quantization, the worst first, until the bound is met."""
    without: dict[str, float] = {}
    for number, name in enumerate(weights):
        progress("measuring layers in floating point", number / len(weights))
        without[name] = measure({}, (name,), quick=True)
    floating: tuple[str, ...] = ()
    for name in sorted(without, key=lambda name: -without[name]):
        if reached >= bound_db:
            break
        floating = (*floating, name)
        reached = measure({}, floating, quick=False)
    return Assignment({}, floating, reached)


def _noise(sqnr_db: float) -> float:
    """Noise power for a signal of power 1."""
    return float(10 ** (-sqnr_db / 10))
