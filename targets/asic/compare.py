"""Two networks on the same chip, side by side: what got cheaper, and which part of the gain the hardware cannot use.

Pruning and quantization promise a gain in nonzero multiplications. The cycles fall short of it for three reasons, which
add up exactly:

    zeros        the array multiplies them like any other number
    waiting      more of the time goes to buffer port, DRAM and ramps
    rounding     channel counts that do not fill the array, fills and drains that do not shrink with the work
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .network import LayerRun


@dataclass(frozen=True)
class Gain:
    """Cycles of two networks, and where those between promise and result went."""

    before_cycles: float
    after_cycles: float
    promised_cycles: float  # before, times the share of nonzero multiplications that is left
    zeros_cycles: float
    waiting_cycles: float
    rounding_cycles: float

    @property
    def promised(self) -> float:
        return self.before_cycles / max(self.promised_cycles, 1)

    @property
    def real(self) -> float:
        return self.before_cycles / max(self.after_cycles, 1)

    def in_words(self) -> list[str]:
        """Sentences for a report."""
        said = [
            f"Nonzero multiplications fall by ×{self.promised:.2f}; cycles on this chip fall by ×{self.real:.2f}.",
        ]
        lost = self.after_cycles - self.promised_cycles
        if lost <= 0.005 * self.before_cycles:
            return [*said, "The hardware uses the whole gain."]
        reasons = (
            (self.zeros_cycles, "multiplications by zero that this array does not skip"),
            (self.waiting_cycles, "waiting for the buffer port, DRAM and ramps, which shrink less than the work"),
            (self.rounding_cycles, "parts of the array left empty, fills and drains, and layers without products"),
        )
        causes = sum(max(cycles, 0.0) for cycles, _ in reasons)  # some may help instead
        for cycles, why in reasons:
            if cycles > 0.02 * causes:
                said.append(f"{cycles / causes:.0%} of what is not gained: {why} ({cycles:,.0f} cycles).")
        return said


def gain(before: Sequence[LayerRun], after: Sequence[LayerRun]) -> Gain:
    """Where the gain between two schedules on the same chip goes."""
    cycles = [sum(run.cycles for run in runs) for runs in (before, after)]
    work = [sum(_nonzero(run) for run in runs) for runs in (before, after)]
    share = work[1] / work[0] if work[0] else 1.0
    promised = cycles[0] * share
    zeros = _multiplied_zeros(after) - share * _multiplied_zeros(before)
    waiting = _waiting(after) - share * _waiting(before)
    return Gain(cycles[0], cycles[1], promised, zeros, waiting, cycles[1] - promised - zeros - waiting)


def _nonzero(run: LayerRun) -> float:
    layer = run.layer
    return layer.macs * (1.0 - layer.zero_fraction)


def _multiplied_zeros(runs: Sequence[LayerRun]) -> float:
    """Array cycles spent on weights that are zero."""
    return sum(run.compute_cycles * run.layer.zero_fraction for run in runs if run.effect and run.effect.time >= 1.0)


def _waiting(runs: Sequence[LayerRun]) -> float:
    return sum(run.cycles - run.compute_cycles for run in runs)
