"""Which layer shares its multipliers how often: the schedule of a network on the multipliers of a device.

With reuse factor r a layer of P products has P / r multipliers and takes r cycles per call. The rule: every layer may
take up to T cycles per sample, so it gets the largest valid factor r with calls * r <= T (at least the smallest valid
one); T is the smallest number for which all multipliers together fit the budget. So the layers of a pipeline are
balanced and the slowest one is as fast as the device allows.

If the whole network fits at factor 1, every layer runs with strategy Latency: weights become constants, zeros cost
nothing. Otherwise all use Resource, whose weights live in memory. No layer gets more than 4096 multipliers, the limit
of a complete partition in Vitis HLS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from .spec import HlsLayer, Strategy

MAX_MULTIPLIERS = 4096


@dataclass(frozen=True)
class Work:
    """What the planner knows of a layer: a product [n_in] x [n_out] (or n_in single products, `depthwise`), `calls`
    times per sample."""

    n_in: int
    n_out: int
    calls: int
    depthwise: bool = False

    @property
    def products(self) -> int:
        return self.n_in if self.depthwise else self.n_in * self.n_out


@dataclass(frozen=True)
class Schedule:
    """Strategy of all layers and one reuse factor per layer; `fits` says whether the multipliers fit the budget."""

    strategy: Strategy
    reuse_factors: tuple[int, ...]
    multipliers: int
    fits: bool


@cache
def valid_factors(n_in: int, n_out: int, depthwise: bool) -> tuple[int, ...]:
    """Reuse factors that hls4ml's Resource kernels compute correctly, ascending.

    Dense: a divisor of n_in * n_out that divides n_in * n_out into whole rows below n_in, or a multiple of n_in
    (hls4ml 1.3, FPGABackend._validate_reuse_factor). Depthwise: a divisor of n_in; above n_out a multiple of n_out.
    """
    if depthwise:
        factors = [r for r in _divisors(n_in) if r <= n_out or r % n_out == 0]
    else:
        whole = n_in * n_out
        factors = [r for r in _divisors(whole) if (n_in % r == 0 if r < n_in else r % n_in == 0)]
    products = n_in if depthwise else n_in * n_out
    return tuple(r for r in factors if products // r <= MAX_MULTIPLIERS) or (factors[-1],)


def _divisors(number: int) -> list[int]:
    small = [d for d in range(1, int(number**0.5) + 1) if number % d == 0]
    return sorted({*small, *(number // d for d in small)})


def _factor(work: Work, cycles: int) -> int:
    """The largest valid factor that keeps the layer within `cycles` per sample, else the smallest."""
    valid = valid_factors(work.n_in, work.n_out, work.depthwise)
    return max((r for r in valid if r * work.calls <= cycles), default=valid[0])


def plan(works: Sequence[Work], budget: int) -> Schedule:
    """The schedule of layers on at most `budget` multipliers; where even the slowest does not fit, that one."""
    flat = sum(work.products for work in works)
    if flat <= budget and all(work.products <= MAX_MULTIPLIERS for work in works):
        return Schedule("Latency", (1,) * len(works), flat, True)
    targets = sorted({r * w.calls for w in works for r in valid_factors(w.n_in, w.n_out, w.depthwise)})

    def factors(cycles: int) -> tuple[int, ...]:
        return tuple(_factor(work, cycles) for work in works)

    def multipliers(chosen: Sequence[int]) -> int:
        return sum(-(-work.products // r) for work, r in zip(works, chosen, strict=True))

    low, high = 0, len(targets) - 1  # the count of multipliers falls as the target grows
    while low < high:
        middle = (low + high) // 2
        if multipliers(factors(targets[middle])) <= budget:
            high = middle
        else:
            low = middle + 1
    chosen = factors(targets[low])
    return Schedule("Resource", chosen, multipliers(chosen), multipliers(chosen) <= budget)


def work_of(layer: HlsLayer) -> Work:
    """The planner's view of a layer that multiplies."""
    single = layer.class_name in ("DepthwiseConv2D", "BatchNormalization")
    return Work(layer.n_in, layer.n_out, layer.calls, depthwise=single)


def schedule(layers: Sequence[HlsLayer], budget: int) -> tuple[tuple[HlsLayer, ...], Schedule]:
    """The layers with strategies and reuse factors, and the schedule of those that multiply."""
    working = [layer for layer in layers if layer.products]
    found = plan([work_of(layer) for layer in working], budget)
    chosen = {layer.name: r for layer, r in zip(working, found.reuse_factors, strict=True)}
    return tuple(layer.scheduled(found.strategy, chosen.get(layer.name, 1)) for layer in layers), found
