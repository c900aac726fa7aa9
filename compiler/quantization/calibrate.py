"""From calibration statistics to the integer type of each activation, by the range method that was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import reduce

from ..analysis.ranges import Statistics
from ..errors import UsageError
from ..integer.graph import QType
from ..target import Formats
from .plan import Group
from .scales import activation_type

PERCENTILE = 0.9999
SHRINK_STEPS = 40  # the narrowest range that `mse` tries is 1/4 of the full one
ENTROPY_STEPS = 95  # the narrowest range that `entropy` tries is 1/20 of the full one
GROWTH = 10.0  # `extrapolated` covers what this many times more samples are expected to reach
MIN_GAIN = 0.8  # `auto` clips only where the squared error falls by this share at least
SOFTMAX_SCALE = 1 / 256


@dataclass(frozen=True)
class Calibrated:
    """The type of a group of tensors, the method that chose it, and its mean squared error on the histogram."""

    type: QType
    method: str
    error: float


Candidate = Callable[[float, float], QType]


def calibrate(group: Group, statistics: Mapping[str, Statistics], formats: Formats, method: str) -> Calibrated:
    """Chooses the type of a group. `method` is a key of METHODS, or auto.

    `auto` covers the range that unseen data may reach (`extrapolated`; `minmax` for scheme `pow2`, where rounding the
    scale up leaves room already), and clips only where that removes MIN_GAIN of the error. What lies outside of the
    calibrated range is often what matters (anomalies, for one), and the histogram knows nothing of it: on the ToyCar
    autoencoder (AUC lost, mean of five splits with 8 calibration clips) plain min-max costs 0.012, clipping by least
    error 0.015, this 0.007; with scheme `pow2` 0.004, 0.019 and 0.004.
    """
    seen = reduce(Statistics.merge, (statistics[str(root.name)] for root in group.roots))
    if group.border and formats.border_bits:
        formats = replace(formats, activation_bits=max(formats.border_bits, formats.activation_bits))
    if group.softmax:
        fixed = QType("u8", SOFTMAX_SCALE, 0)
        return Calibrated(fixed, "softmax", _error(seen, fixed))
    nonnegative = group.nonnegative or (seen.minimum >= 0 and all(root.is_graph_input() for root in group.roots))

    def candidate(low: float, high: float) -> QType:
        return activation_type(low, high, formats, nonnegative)

    if method != "auto":
        return _by(method, seen, candidate)
    minmax = _by("minmax", seen, candidate)
    clipped = min((_by(name, seen, candidate) for name in ("percentile", "mse")), key=lambda found: found.error)
    narrow = formats.activation_bits < 8  # where steps are coarse, rounding hurts more than clipping
    if narrow or clipped.error < (1 - MIN_GAIN) * minmax.error:
        return clipped
    return minmax if formats.scheme == "pow2" else _by("extrapolated", seen, candidate)


def _by(method: str, seen: Statistics, candidate: Candidate) -> Calibrated:
    if method not in METHODS:
        raise UsageError(
            f"There is no calibration method '{method[:64]}'.",
            code="calibration-unknown",
            hint=f"Methods: {', '.join([*METHODS, 'auto'])}.",
        )
    chosen = METHODS[method](seen, candidate)
    return Calibrated(chosen, method, _error(seen, chosen))


def _minmax(seen: Statistics, candidate: Candidate) -> QType:
    return candidate(seen.minimum, seen.maximum)


def _extrapolated(seen: Statistics, candidate: Candidate) -> QType:
    return candidate(*seen.extrapolated_range(GROWTH))


def _percentile(seen: Statistics, candidate: Candidate) -> QType:
    return candidate(*seen.percentile_range(PERCENTILE))


def _mse(seen: Statistics, candidate: Candidate) -> QType:
    """Shrinks the ends of the range, both together and then each alone, to the least error on the histogram."""
    low, high = min(seen.minimum, 0.0), max(seen.maximum, 0.0)
    shares = [1 - 0.75 * step / SHRINK_STEPS for step in range(SHRINK_STEPS + 1)]

    def least(ranges: list[tuple[float, float]]) -> tuple[float, float]:
        return min(ranges, key=lambda ends: _error(seen, candidate(*ends)))  # the widest of equals

    low, high = least([(low * share, high * share) for share in shares])
    low, high = least([(low, high * share) for share in shares])
    return candidate(*least([(low * share, high) for share in shares]))


def _entropy(seen: Statistics, candidate: Candidate) -> QType:
    """Shrinks the range to the least Kullback-Leibler divergence of the quantized distribution from the real one.

    Migacz, 8-bit Inference with TensorRT, GTC 2017.
    """
    low, high = min(seen.minimum, 0.0), max(seen.maximum, 0.0)
    shares = [1 - 0.95 * step / ENTROPY_STEPS for step in range(ENTROPY_STEPS + 1)]
    types = [candidate(low * share, high * share) for share in shares]
    return min(types, key=lambda type_: seen.divergence(type_.scale, *_steps(type_)))  # the widest of equals


def _steps(type_: QType) -> tuple[int, int]:
    """The smallest and the largest multiple of the scale."""
    return type_.qmin - type_.zero_point, type_.qmax - type_.zero_point


def _error(seen: Statistics, type_: QType) -> float:
    return seen.error(type_.scale, *_steps(type_))


METHODS: Mapping[str, Callable[[Statistics, Candidate], QType]] = {
    "minmax": _minmax,
    "extrapolated": _extrapolated,
    "percentile": _percentile,
    "mse": _mse,
    "entropy": _entropy,
}
CLIPPING = ("percentile", "mse", "entropy")
