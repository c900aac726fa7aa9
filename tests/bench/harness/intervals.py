"""What rounds say: medians, spread, and how sure a ratio is.

The 95 % interval of a ratio of medians comes from the bootstrap: rounds are drawn again with replacement, both
contestants' samples of a round together, and the ratio is computed of each draw (Efron and Tibshirani, 1993).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

DRAWS = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """Seconds: the median of the rounds, and the quartiles between which half of them lie."""

    median: float
    low: float
    high: float


def summary(samples: Sequence[float]) -> Summary:
    low, median, high = np.percentile(samples, (25, 50, 75))
    return Summary(float(median), float(low), float(high))


@dataclass(frozen=True)
class Ratio:
    """A ratio with its 95 % interval; `draws` are the logarithms of the bootstrap's ratios."""

    value: float
    low: float
    high: float
    draws: npt.NDArray[np.float64] = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def speedup(slower: Sequence[float], faster: Sequence[float], seed: int = 0) -> Ratio:
    """How many times `faster` runs in the time of `slower`: a ratio of medians over the same rounds."""
    a, b = np.asarray(slower, np.float64), np.asarray(faster, np.float64)
    if a.shape != b.shape or a.size == 0:
        raise ValueError(f"samples of the same rounds are needed, not {a.size} and {b.size}")
    picks = np.random.default_rng(seed).integers(0, a.size, (DRAWS, a.size))
    draws = np.log(np.median(a[picks], axis=1)) - np.log(np.median(b[picks], axis=1))
    return _ratio(float(np.log(np.median(a)) - np.log(np.median(b))), draws)


def geometric_mean(ratios: Sequence[Ratio]) -> Ratio:
    """Of ratios that were measured independently of each other (give them different seeds)."""
    if not ratios:
        raise ValueError("no ratios")
    return _ratio(float(np.mean([np.log(r.value) for r in ratios])), np.mean([r.draws for r in ratios], axis=0))


def _ratio(value: float, draws: npt.NDArray[np.float64]) -> Ratio:
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(draws, (tail, 1 - tail))
    return Ratio(float(np.exp(value)), float(np.exp(low)), float(np.exp(high)), draws)
