"""Intervals of ratios: they cover the truth as often as they promise, and shrink with more rounds."""

from __future__ import annotations

import numpy as np
import pytest

from harness.intervals import geometric_mean, speedup, summary


def noisy(rng: np.random.Generator, seconds: float, rounds: int = 15) -> np.ndarray:
    return seconds * (1 + rng.gamma(2, 0.02, rounds))


def test_the_interval_covers_the_true_ratio() -> None:
    rng = np.random.default_rng(0)
    ratios = [speedup(noisy(rng, 1.3), noisy(rng, 1.0), seed) for seed in range(200)]
    assert np.mean([ratio.low <= 1.3 <= ratio.high for ratio in ratios]) >= 0.92


def test_it_does_not_cover_another_ratio() -> None:
    rng = np.random.default_rng(0)
    ratios = [speedup(noisy(rng, 1.5), noisy(rng, 1.0), seed) for seed in range(50)]
    assert not any(ratio.low <= 1.3 <= ratio.high for ratio in ratios)


def test_more_rounds_are_surer() -> None:
    rng = np.random.default_rng(0)
    few, many = (speedup(noisy(rng, 1.3, n), noisy(rng, 1.0, n)) for n in (11, 201))
    assert many.high - many.low < (few.high - few.low) / 2


def test_common_disturbances_cancel() -> None:
    load = 1 + np.random.default_rng(0).gamma(1, 0.5, 31)
    ratio = speedup(2 * load, load)
    assert ratio.low == pytest.approx(2) == ratio.high


def test_same_seed_same_interval() -> None:
    rng = np.random.default_rng(0)
    a, b = noisy(rng, 1.3), noisy(rng, 1.0)
    assert speedup(a, b, 5) == speedup(a, b, 5)
    assert speedup(a, b, 5).low != speedup(a, b, 6).low


def test_geometric_mean() -> None:
    two, eight = speedup([2.0, 2.0], [1.0, 1.0]), speedup([8.0, 8.0], [1.0, 1.0])
    mean = geometric_mean([two, eight])
    assert (mean.value, mean.low, mean.high) == pytest.approx((4, 4, 4))


def test_the_mean_is_surer_than_its_parts() -> None:
    rng = np.random.default_rng(0)
    parts = [speedup(noisy(rng, 1.3), noisy(rng, 1.0), seed) for seed in range(20)]
    mean = geometric_mean(parts)
    assert mean.high - mean.low < min(part.high - part.low for part in parts)


def test_summary_is_median_and_quartiles() -> None:
    found = summary([5.0, 1.0, 2.0, 4.0, 3.0])
    assert (found.low, found.median, found.high) == (2, 3, 4)


@pytest.mark.parametrize(("a", "b"), [([1.0], [1.0, 2.0]), ([], [])])
def test_unlike_samples_are_refused(a: list[float], b: list[float]) -> None:
    with pytest.raises(ValueError, match="same rounds"):
        speedup(a, b)


def test_no_ratios_have_no_mean() -> None:
    with pytest.raises(ValueError, match="no ratios"):
        geometric_mean([])
