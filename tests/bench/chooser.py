"""Does the chooser choose well? Every candidate kernel on every layer and density, beside the one it picked.

    python tests/bench/chooser.py [--set resnet50] [--timed 3] [--rounds 11] [--out result.json]

`--timed 0` judges the limit model alone, `--timed 3` with its three best candidates timed while planning. The claim:
the pick never runs below 0.95 of the speed of the best candidate; dense kernels are candidates everywhere.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from harness.contest import Variant
from harness.intervals import Ratio, speedup, summary
from harness.machine import machine, pin
from harness.problem import make
from harness.rounds import Timer, interleave
from harness.shapes import DENSITIES, SETS, Layer
from peers import Missing, prunus_kernels

from kernels import BLOCKS, chosen, variants

CLAIMED = 0.95
HOPELESS = 4.0  # a candidate this much slower than the fastest in its first runs is not timed further


@dataclass(frozen=True)
class Choice:
    """Seconds per round of every candidate on one layer, and which of them was picked."""

    set_name: str
    layer: Layer
    variant: Variant
    picked: str
    seconds: dict[str, list[float]]

    @property
    def best(self) -> str:
        return min(self.seconds, key=lambda name: summary(self.seconds[name]).median)

    @property
    def speed(self) -> Ratio:
        """Of the pick, as a share of the best candidate's; 0 for a pick that was hopeless."""
        if self.picked not in self.seconds:
            return Ratio(0.0, 0.0, 0.0, np.zeros(1))
        return speedup(self.seconds[self.best], self.seconds[self.picked])

    def __str__(self) -> str:
        times = ", ".join(f"{name} {summary(s).median * 1e6:.1f}" for name, s in sorted(self.seconds.items()))
        return f"{self.layer.name} {self.variant}: picked {self.picked}, {self.speed} of the best; us: {times}"


def main_step(network: object) -> dict[str, object]:
    """The description of the step that multiplies."""
    steps = network.describe()["steps"]  # type: ignore[attr-defined]
    found: dict[str, object] = next(step for step in steps if step["kind"] in ("conv2d", "depthwise2d", "gemm"))
    return found


def candidates(network: object) -> list[str]:
    """The kernels that the chooser ranked for the layer, the winner first."""
    step = main_step(network)
    losers: list[dict[str, str]] = step["losers"]  # type: ignore[assignment]
    return [str(step["kernel"]), *(loser["kernel"] for loser in losers)]


def judge(set_name: str, layer: Layer, variant: Variant, timed: int, rounds: int) -> Choice:
    problem = make(layer, variant.density, variant.block)
    names = candidates(prunus_kernels.planned(problem, timed=0))
    picked = candidates(prunus_kernels.planned(problem, timed=timed))[0]
    timers = {}
    for name in names:
        timer = prunus_kernels.prepare(problem, kernel=name).timer
        assert timer is not None
        timers[name] = timer
    timers = promising(timers)
    choice = Choice(set_name, layer, variant, picked, interleave(timers, rounds))
    if choice.speed.value < CLAIMED:  # the best of many is partly luck: once more, and longer
        choice = Choice(set_name, layer, variant, picked, interleave(timers, 3 * rounds, seed=1))
    return choice


def promising(timers: Mapping[str, Timer]) -> dict[str, Timer]:
    """Those whose better of two runs is within HOPELESS times the fastest's."""
    first = {name: min(timer(), timer()) for name, timer in timers.items()}
    return {name: timer for name, timer in timers.items() if first[name] <= HOPELESS * min(first.values())}


def verdict(choices: Sequence[Choice]) -> list[str]:
    """The claim, and every layer where it fails, worst first."""
    slow = sorted((c for c in choices if c.speed.value < CLAIMED), key=lambda c: c.speed.value)
    word = "missed" if slow else "met"
    head = f"{word}: {len(choices) - len(slow)} of {len(choices)} picks reach {CLAIMED} of the best candidate's speed"
    return [head, *(str(choice) for choice in slow)]


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", action="append", choices=sorted(SETS), help="default: all of them")
    parser.add_argument("--layer", action="append", help="only layers of this name")
    parser.add_argument("--density", action="append", type=float, help=f"default: {DENSITIES}")
    parser.add_argument("--block", action="append", choices=BLOCKS, help="default: 16x4 and 32x4")
    parser.add_argument("--timed", type=int, default=prunus_kernels.TIMED)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--out", type=Path, help="a JSON file for everything that was measured")
    return parser.parse_args(words)


def main() -> int:
    options = parse()
    here = machine(pin())
    print("\n".join(here.lines()))
    try:
        prunus_kernels.version()
    except Missing as reason:
        print(f"skipped: {reason}")
        return 0
    tried = variants(options.density or DENSITIES, options.block or BLOCKS[:2])
    choices: list[Choice] = []
    for set_name, layer in chosen(options.set, options.layer):
        for variant in tried if layer.prunable else [Variant()]:
            choices.append(judge(set_name, layer, variant, options.timed, options.rounds))
            print(choices[-1], flush=True)
    print("\n".join(["-- claim", *verdict(choices)]))
    if options.out:
        content = [
            {
                "set": c.set_name,
                "layer": c.layer.name,
                "weights": str(c.variant),
                "picked": c.picked,
                "best": c.best,
                "speed": [c.speed.value, c.speed.low, c.speed.high],
                "seconds": c.seconds,
            }
            for c in choices
        ]
        result = {"schema": 1, "machine": here.json(), "timed": options.timed, "choices": content}
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
