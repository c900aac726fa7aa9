"""Calibration statistics: range and histogram of every activation, in one streaming pass over the data.

Histograms have dyadic bins: bin i covers [i * 2^k, (i + 1) * 2^k), with the smallest k for which the range fits into
`BINS` bins. A wider range merges neighbouring bins, which is exact, so the result depends neither on the batch size nor
on the order of the samples, and statistics of several tensors add up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..data import Data
from ..errors import UsageError
from ..executor import Session
from ..model.model import Model
from ..target import Progress, no_progress

BINS = 2048
BLOCKS = 8  # parts of the data whose extremes are kept apart, to judge how far unseen data may reach
MAX_BATCH = 64
MAX_FETCHED_BYTES = 256 << 20  # of activations held at once
_MIN_EXPONENT = -160  # bins of 2^-160: below every float32

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Statistics:
    """What was seen of one tensor. Exact zeros are counted apart, since every quantization represents them exactly.

    `counts[i]` elements other than zero lie in [(first + i) * 2^exponent, (first + i + 1) * 2^exponent).
    `minima` and `maxima` hold the extremes of each of `BLOCKS` parts of the data, NaN for parts without samples.
    """

    minimum: float
    maximum: float
    size: int
    zeros: int
    exponent: int
    first: int
    counts: npt.NDArray[np.int64]
    minima: npt.NDArray[np.float64]
    maxima: npt.NDArray[np.float64]

    @classmethod
    def of(cls, array: Array, block: int = 0) -> Statistics:
        """The statistics of one array of finite numbers, not empty, that belongs to a block of the data."""
        minimum, maximum = float(array.min()), float(array.max())
        exponent, first, bins = _layout(minimum, maximum)
        index = np.floor(np.ldexp(array.ravel(), -exponent)).astype(np.int64) - first
        counts = np.bincount(index, minlength=bins).astype(np.int64)
        zeros = int(array.size - np.count_nonzero(array))
        counts[-first] -= zeros
        minima, maxima = np.full(BLOCKS, np.nan), np.full(BLOCKS, np.nan)
        minima[block], maxima[block] = minimum, maximum
        return cls(minimum, maximum, int(array.size), zeros, exponent, first, counts, minima, maxima)

    def merge(self, other: Statistics) -> Statistics:
        """The statistics of both sets of elements together."""
        minimum, maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        exponent, first, bins = _layout(minimum, maximum)
        counts = np.zeros(bins, np.int64)
        for part in (self, other):
            index = (np.arange(part.counts.size) + part.first) >> (exponent - part.exponent)
            np.add.at(counts, index - first, part.counts)
        return Statistics(
            minimum=minimum,
            maximum=maximum,
            size=self.size + other.size,
            zeros=self.zeros + other.zeros,
            exponent=exponent,
            first=first,
            counts=counts,
            minima=np.fmin(self.minima, other.minima),
            maxima=np.fmax(self.maxima, other.maxima),
        )

    def edges(self) -> npt.NDArray[np.float64]:
        """The borders of the bins, one more than there are bins."""
        return np.ldexp((np.arange(self.counts.size + 1) + self.first).astype(np.float64), self.exponent)

    def percentile_range(self, share: float) -> tuple[float, float]:
        """A range that leaves out at most 1 - `share` of the elements at each end; it always holds zero."""
        edges, skipped = self.edges(), (1.0 - share) * self.size
        # zeros lie at the lower border of the bin that begins at zero
        counts = self.counts.astype(np.float64)
        counts[-self.first] += self.zeros
        below = np.concatenate([[0.0], np.cumsum(counts)])
        low = float(np.interp(skipped, below, edges))
        high = float(np.interp(self.size - skipped, below, edges))
        return max(min(low, 0.0), self.minimum), min(max(high, 0.0), self.maximum)

    def extrapolated_range(self, growth: float) -> tuple[float, float]:
        """The range to expect of `growth` times as many samples, after the spread of the blocks' extremes.

        Maxima of large samples follow a Gumbel distribution (Fisher and Tippett 1928); `growth` times more samples
        shift it by beta * ln(growth), and its standard deviation is beta * pi / sqrt(6). Where every block reaches
        the same bound (a saturated image, the zero of a Relu), nothing is added.
        """
        shift = math.log(growth) * math.sqrt(6) / math.pi
        low, high = (
            shift * float(np.std(ends, ddof=1)) if (ends := found[~np.isnan(found)]).size > 1 else 0.0
            for found in (self.minima, self.maxima)
        )
        return self.minimum - low, self.maximum + high

    def error(self, scale: float, low: int, high: int) -> float:
        """Mean squared error of rounding to `scale` * {low..high}, elements being spread evenly over their bin.

        With t = x / scale, the squared error of rounding and clipping integrates to G(t) = n / 12 + r^3 / 3 where
        n = clip(rint(t), low, high) and r = t - n: continuous, and cubic outside of the range.
        """
        t = self.edges() / scale
        nearest = np.clip(np.rint(t), low, high)
        integral = nearest / 12 + (t - nearest) ** 3 / 3
        width = math.ldexp(1.0, self.exponent) / scale
        per_bin = np.diff(integral) / width
        return float(per_bin @ self.counts) * scale * scale / self.size

    def divergence(self, scale: float, low: int, high: int) -> float:
        """Kullback-Leibler divergence of the elements from those rounded to `scale` * {low..high}, without exact zeros.

        What is clipped counts at the ends of the real distribution; the rounded one spreads each level evenly over the
        occupied bins that round to it.
        """
        edges = self.edges()
        level = np.rint((edges[:-1] + edges[1:]) / 2 / scale)
        inside = np.flatnonzero((level >= low) & (level <= high))
        if inside.size == 0 or not self.counts.any():
            return math.inf
        real = self.counts[inside].astype(np.float64)
        level = (level[inside] - low).astype(np.int64)
        occupied = real > 0
        totals = np.bincount(level, weights=real, minlength=high - low + 1)
        bins = np.bincount(level, weights=occupied, minlength=high - low + 1)
        rounded = np.where(occupied, totals[level] / np.maximum(bins[level], 1), 0.0)
        real[0] += self.counts[: inside[0]].sum()
        real[-1] += self.counts[inside[-1] + 1 :].sum()
        real, rounded = real / real.sum(), rounded / max(rounded.sum(), 1.0)
        tiny = 0.5 / self.size  # what no sample showed is rarer than one sample
        held = real > 0
        return float((real[held] * np.log(real[held] / np.maximum(rounded[held], tiny))).sum())


def _layout(minimum: float, maximum: float) -> tuple[int, int, int]:
    """(exponent, first, number) of the narrowest dyadic bins that cover zero and the range."""
    low, high = min(minimum, 0.0), max(maximum, 0.0)
    exponent = max(_MIN_EXPONENT, math.frexp((high - low) / BINS)[1] - 1)
    while True:
        first, last = (math.floor(math.ldexp(edge, -exponent)) for edge in (low, high))
        if last - first < BINS:
            return exponent, first, last - first + 1
        exponent += 1


@dataclass(frozen=True, eq=False)
class Calibration:
    """By value name: statistics, and the mean of each channel in float64."""

    statistics: Mapping[str, Statistics]
    means: Mapping[str, npt.NDArray[np.float64]]


def collect(
    model: Model,
    values: Sequence[ir.Value],
    data: Data,
    *,
    means: Mapping[ir.Value, int] = MappingProxyType({}),
    max_bytes: int = MAX_FETCHED_BYTES,
    progress: Progress = no_progress,
) -> Calibration:
    """Statistics of `values` of the float model, and channel means of `means` (value -> axis of its channels).

    At most about `max_bytes` of fetched activations are held at once.
    Raises UsageError where the data are empty, lack an input or are not finite numbers (`data-empty`,
    `data-input-missing`, `data-not-finite`), and where an activation is not finite (`activation-not-finite`).
    """
    feeds = checked_feeds(model, data)
    axes = {_name(value): axis for value, axis in means.items()}
    ranged = {_name(value) for value in values}
    wanted = list(dict.fromkeys([*values, *means]))
    given = {_name(value) for value in model.graph.inputs} & {_name(value) for value in wanted}
    found: dict[str, Statistics] = {}
    sums: dict[str, tuple[npt.NDArray[np.float64], int]] = {}
    for group in _groups([value for value in wanted if value.name not in given], max_bytes):
        batch = max(1, min(MAX_BATCH, max_bytes // max(1, sum(map(_bytes_per_sample, group)))))
        session = Session(model, [_name(value) for value in group]) if group else None
        for block, feed in _pieces(model, feeds, batch):
            arrays = {} if session is None else session.run(feed, batch)
            arrays |= {name: feed[name] for name in sorted(given)}
            for name, array in arrays.items():
                if name in ranged:
                    one = _statistics(model, name, array, block)
                    found[name] = found[name].merge(one) if name in found else one
                if name in axes:
                    total, count = sums.get(name, (np.zeros(1), 0))
                    channels = np.moveaxis(array, axes[name], -1)
                    part = channels.sum(axis=tuple(range(array.ndim - 1)), dtype=np.float64)
                    sums[name] = total + part, count + channels[..., 0].size
            progress("calibrating", (block + 1) / BLOCKS)
        given = set()
    return Calibration(found, {name: total / count for name, (total, count) in sums.items()})


def checked_feeds(model: Model, data: Data) -> dict[str, Array]:
    """The data as arrays of the model's own input types. Raises UsageError as `collect` says."""
    if len(data) == 0:
        raise UsageError(
            "There are no samples to calibrate with.",
            code="data-empty",
            where=data.source or None,
            hint="Give at least one sample; a few hundred representative ones are usual.",
        )
    feeds: dict[str, Array] = {}
    for value in model.graph.inputs:
        name = _name(value)
        if name not in data.inputs:
            raise UsageError(
                f"The data hold nothing for the input '{model.original(name)}'.",
                code="data-input-missing",
                where=data.source or None,
                hint="Give one array per model input, under the input's own name.",
            )
        array = data.inputs[name]
        if not np.isfinite(array).all():
            raise UsageError(
                f"The data for the input '{model.original(name)}' hold NaN or infinity.",
                code="data-not-finite",
                where=data.source or None,
                hint="Remove the damaged samples; ranges cannot be calibrated on them.",
            )
        feeds[name] = array if value.dtype is None else array.astype(value.dtype.numpy(), copy=False)
    return feeds


def _statistics(model: Model, name: str, array: Array, block: int) -> Statistics:
    if not np.isfinite([array.min(), array.max()]).all():
        raise UsageError(
            "An activation is not a finite number on the calibration data.",
            code="activation-not-finite",
            where=model.original(name),
            hint="Run the float model on the data; it overflows or divides by zero there.",
        )
    return Statistics.of(array, block)


def _name(value: ir.Value) -> str:
    assert value.name is not None  # every value of a loaded model has one
    return value.name


def _bytes_per_sample(value: ir.Value) -> int:
    """Float32 bytes of one sample, the batch being dimension 0; unknown dimensions count as 1."""
    shape = value.shape or ()
    return 4 * math.prod(size for size in list(shape)[1:] if isinstance(size, int))


def _groups(values: Sequence[ir.Value], max_bytes: int) -> Iterator[list[ir.Value]]:
    """Splits the values so that one sample of each group fits into `max_bytes`; usually there is one group."""
    group: list[ir.Value] = []
    for value in values:
        if group and sum(map(_bytes_per_sample, [*group, value])) > max_bytes:
            yield group
            group = []
        group.append(value)
    yield group


def _pieces(model: Model, feeds: Mapping[str, Array], batch: int) -> Iterator[tuple[int, dict[str, Array]]]:
    """(block, feed): at most `batch` samples at a time, or as many as the model demands, none across two blocks."""
    count = len(next(iter(feeds.values())))
    fixed = [v.shape[0] for v in model.graph.inputs if v.shape and isinstance(v.shape[0], int)]
    unit = fixed[0] if fixed else 1
    if count < unit:
        raise UsageError(
            f"The model takes batches of {unit} samples, and the data hold only {count}.",
            code="data-too-few",
            hint=f"Give at least {unit} samples, or export the model with a symbolic batch dimension.",
        )
    units, step = count // unit, max(1, batch // unit)
    for block in range(BLOCKS):
        end = units * (block + 1) // BLOCKS
        for start in range(units * block // BLOCKS, end, step):
            cut = slice(start * unit, min(start + step, end) * unit)
            yield block, {name: array[cut] for name, array in feeds.items()}
