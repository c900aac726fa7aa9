"""Range alignment: scales whole tensors so that their ranges lie just below powers of two.

Where scales have to be powers of two, a range just above one wastes half of the integers. Between two layers that
scale may move across (`pairs`), the activation may be divided by any c > 0, which the weights on both sides make up
for: a factor that is free. All factors of a chain of layers are chosen together, so that the noise of its activations
and weights, each relative to its own signal, is least in sum. Whole powers of two change nothing, so c runs through
`STEPS` factors from 1 to 2, and a chain of n activations is solved exactly in n * STEPS^2 steps (Viterbi, 1967).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import reduce

import numpy as np
import numpy.typing as npt

from ..analysis.ranges import Statistics, collect
from ..data import Data
from ..model.edit import weight
from ..model.model import Model
from ..target import Formats
from .calibrate import calibrate
from .operators import Linear
from .pairs import Pair, find_pairs, rescale
from .plan import Group, plan
from .scales import next_pow2

Floats = npt.NDArray[np.float64]

STEPS = 16
FACTORS = 2.0 ** (np.arange(STEPS) / STEPS)
MARGIN = 1 + 2.0**-12  # keeps what float32 rounds up below its power of two


def align(model: Model, formats: Formats, data: Data, ranges: str = "auto") -> int:
    """Rescales a float model in place; returns between how many pairs of layers.

    ranges: the method that quantization will choose activations' ranges by, a key of `calibrate.METHODS` or auto.
    """
    planned = plan(model.graph, formats)
    pairs = find_pairs(planned.linears)
    groups = [_between(pair, planned.groups) for pair in pairs]
    statistics = collect(model, [root for each in groups for group in each for root in group.roots], data).statistics
    noise = [
        np.sum([_activation_noise(group, statistics, formats, ranges) for group in each] or [np.zeros(STEPS)], axis=0)
        for each in groups
    ]
    for chain in _chains(pairs):
        choice = _cheapest(*_costs([pairs[index] for index in chain], [noise[index] for index in chain], formats))
        for index, step in zip(chain, choice, strict=True):
            pairs[index].factors[:] = FACTORS[step]
    rescale(model.graph, pairs)
    return len(pairs)


def _between(pair: Pair, groups: Sequence[Group]) -> list[Group]:
    """What is quantized between two layers, but for types that are fixed."""
    return [group for group in groups if set(group.roots) <= set(pair.between) and not group.softmax]


def _chains(pairs: Sequence[Pair]) -> Iterator[list[int]]:
    """Indices of pairs of which each begins with the layer that the one before it ends in."""
    behind = {pair.first.node: index for index, pair in enumerate(pairs)}
    ends = {pair.second.node for pair in pairs}
    for start, pair in enumerate(pairs):
        if pair.first.node not in ends:
            chain, following = [start], behind.get(pair.second.node)
            while following is not None:
                chain.append(following)
                following = behind.get(pairs[following].second.node)
            yield chain


def _costs(chain: Sequence[Pair], noise: Sequence[Floats], formats: Formats) -> tuple[list[Floats], list[Floats]]:
    """Of each pair's factor the noise [STEPS], and of each neighbouring two's that of the layer [STEPS, STEPS]."""
    alone = [each.copy() for each in noise]
    alone[0] += _weight_noise(chain[0].first, 1 / FACTORS, formats)
    alone[-1] += _weight_noise(chain[-1].second, FACTORS, formats)
    ratios = (FACTORS[:, None] / FACTORS).ravel()  # a layer's weights: times the factor before it, by the one behind it
    together = [_weight_noise(pair.second, ratios, formats).reshape(STEPS, STEPS) for pair in chain[:-1]]
    return alone, together


def _cheapest(alone: Sequence[Floats], together: Sequence[Floats]) -> list[int]:
    """The step of each pair, least in sum; the first of equals."""
    best, origins = alone[0], []
    for costs, edge in zip(alone[1:], together, strict=True):
        total = best[:, None] + edge
        origins.append(total.argmin(axis=0))
        best = total.min(axis=0) + costs
    steps = [int(best.argmin())]
    for origin in reversed(origins):
        steps.append(int(origin[steps[-1]]))
    return steps[::-1]


def _activation_noise(group: Group, statistics: Mapping[str, Statistics], formats: Formats, ranges: str) -> Floats:
    """The mean squared error of rounding after division by each of FACTORS, for a signal of power 1."""
    free = replace(formats, scheme="f32", zero_point="zero")
    type_ = calibrate(group, statistics, free, "minmax" if ranges == "auto" else ranges).type
    seen = reduce(Statistics.merge, (statistics[str(root.name)] for root in group.roots))
    power = seen.error(1.0, 0, 0)
    scales = [next_pow2(type_.scale * MARGIN / factor) * factor for factor in FACTORS.tolist()]
    return np.array([seen.error(scale, type_.qmin, type_.qmax) / power if power else 0.0 for scale in scales])


def _weight_noise(linear: Linear, factors: Floats, formats: Formats) -> Floats:
    """The mean squared error of rounding weights times each of `factors`, for a signal of power 1."""
    rows = np.moveaxis(np.asarray(weight(linear.weight), np.float64), linear.axis, 0)
    rows = rows.reshape(len(rows), -1) if formats.per_channel else rows.reshape(1, -1)
    power = np.square(rows).sum()
    if not power:
        return np.zeros(len(factors))
    scales = np.abs(rows).max(axis=1) * MARGIN / ((1 << (formats.weight_bits - 1)) - 1)
    steps = _next_pow2(scales[scales > 0] * factors[:, None]) / factors[:, None]
    noise: Floats = np.square(steps).sum(axis=1) * rows.shape[1] / 12 / power
    return noise


def _next_pow2(values: Floats) -> Floats:
    mantissa, exponent = np.frexp(values)
    found: Floats = np.ldexp(1.0, exponent - (mantissa == 0.5))
    return found
