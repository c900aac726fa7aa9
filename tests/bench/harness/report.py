"""Results as lines of text and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from .contest import OURS, LayerTimes, Timing
from .intervals import Ratio, speedup, summary
from .limit import Limit
from .machine import Machine

SCHEMA = 1


def ratios(times: LayerTimes, ours: Timing) -> dict[str, Ratio]:
    """How many times faster `ours` is than each peer on the same layer."""
    return {
        peer.engine: speedup(peer.seconds, ours.seconds, seed=_seed(times))
        for peer in times.timings
        if peer.engine != OURS
    }


def _seed(times: LayerTimes) -> int:
    """Its own for every layer, so that the intervals of a geometric mean are independent; the same in every run."""
    return sum(ord(letter) * 131**place for place, letter in enumerate(times.layer.name)) % 2**32


def table(times: LayerTimes, limit: Limit | None, header: bool = False) -> list[str]:
    """One line per engine and variant: median and quartiles in microseconds, share of the limit, ratios, how."""
    lines = []
    if header:
        lines.append(
            f"{'engine':<12} {'weights':<10} {'median':>9} {'quartiles':>19} {'limit':>6}  how; times faster than"
        )
    lines.append(f"-- {times.set_name}: {times.layer.name}, {times.layer.macs / 1e6:.2f} MMAC")
    for timing in times.timings:
        spread = summary(timing.seconds)
        share = limit.seconds(times.layer, timing.variant.density) / spread.median if limit else float("nan")
        faster = ratios(times, timing) if timing.engine == OURS else {}
        lines.append(
            f"{timing.engine:<12} {timing.variant!s:<10} {spread.median * 1e6:>6.1f} us "
            f"{spread.low * 1e6:>8.1f} to {spread.high * 1e6:>7.1f} {share:>6.2f}  {timing.how}"
            + "".join(f"; {peer} {ratio}" for peer, ratio in faster.items())
        )
    return lines + [f"skipped: {reason}" for reason in times.skipped]


def result_json(machine: Machine, limit: Limit | None, results: Sequence[LayerTimes]) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "machine": machine.json(),
        "limit_macs_per_second": dict(limit.macs_per_second) if limit else None,
        "layers": [_layer_json(times, limit) for times in results],
    }


def _layer_json(times: LayerTimes, limit: Limit | None) -> dict[str, Any]:
    layer = times.layer
    return {
        "set": times.set_name,
        **asdict(layer),
        "macs": layer.macs,
        "useful_macs": layer.useful_macs,
        "skipped": list(times.skipped),
        "timings": [
            {
                "engine": timing.engine,
                "density": timing.variant.density,
                "block": list(timing.variant.block) if timing.variant.density < 1 else None,
                "how": timing.how,
                "seconds": list(timing.seconds),
                "median_s": timing.median,
                "limit_s": limit.seconds(layer, timing.variant.density) if limit else None,
                "times_faster": {
                    peer: [ratio.value, ratio.low, ratio.high] for peer, ratio in ratios(times, timing).items()
                }
                if timing.engine == OURS
                else {},
            }
            for timing in times.timings
        ],
    }
