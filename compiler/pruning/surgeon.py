"""Criterion `obs`: what a channel's loss costs when the layers that read it are refitted.

Hassibi and Stork's Optimal Brain Surgeon (1992), on channels. Let a layer compute Y = A W + b, with H = A'A about the
means over some samples. Removing the rows r of W that belong to one channel and refitting all others costs

    |change of Y|^2 = trace(W_r' (H^-1)_rr^-1 W_r),

and leaves W - (H^-1)_:r (H^-1)_rr^-1 W_r and H^-1 - (H^-1)_:r (H^-1)_rr^-1 (H^-1)_r:. So each group is emptied
greedily, cheapest channels first. A channel's score is its cost, relative to the variance of Y and summed over the
layers that read it, for each share of the MACs that it saves.

Two things make costs of different layers comparable. Of N rows, a fit on k columns leaves N - k free: what it promises
is too good by (1 - k/N)^2, once for the variance that it finds unexplained and once for its own error on other samples
(a classifier that reads 1280 channels would seem to need few of them, seen on 128 samples). And an error counts by how
much of it reaches the outputs (reach.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import lapack

from ..analysis.channels import ChannelGroup, Channels
from ..analysis.channels.shapes import with_shapes
from ..data import Data
from ..model.edit import weight
from ..model.model import Model
from .layers import Layer, consumer_layers
from .least_squares import RIDGE, NormalEquations
from .reach import reach
from .sampling import normal_equations, pieces_of
from .scoring.base import needed
from .scoring.sensitivity import measured_effects
from .stages import StagedRun

Floats = npt.NDArray[np.float64]
Array = npt.NDArray[Any]
SAMPLES = 256
LEAST_FREEDOM = 0.1  # share of the samples; a fit on more columns than samples leaves none
_STEPS = 32  # a step removes this part of the units left in a group, so that large groups stay affordable


def surgeon(model: Model, channels: Channels, seed: int, data: Data | None) -> Floats:
    """The score of every unit.

    Where no layer tells (only products of two values, transposed convolutions, einsums, shared or quantized weights
    read a group) it is the measured change of the output without refitting, also for each share of the MACs.

    Raises:
        UsageError: there is no data (code `needs-data`).
    """
    data = needed(data, "obs")
    problems = _problems(with_shapes(model), channels, data, seed)
    scores = np.full(channels.count, np.inf)
    whole = channels.macs()
    untold = []
    for group in channels.prunable:
        readers = [
            _Reader.of(problem, channels.units[member.initializer, member.axis], group)
            for member in group.members
            if member.role == "consumer"
            for problem in problems.get(member.initializer, ())
        ]
        one = channels.keep_all()
        one[group.first] = True
        saved = (whole - channels.macs(one)) / max(whole, 1)
        known = [reader for reader in readers if reader is not None]
        if known and saved > 0:
            scores[group.units] = _greedy_costs(known, group.size) / saved
        elif saved > 0:
            untold.append(group)
    if untold:
        unlabelled = replace(data, labels=None)
        scores = np.minimum(scores, measured_effects(model, channels, untold, seed, unlabelled))
    return scores


@dataclass(frozen=True, eq=False)
class _Problem:
    """One group of one layer: H^-1 [k, k], W [k, n], the variance of the layer's output, rows for each input."""

    inverse: Floats
    weights: Floats
    variance: float  # for each unit of the error that reaches the outputs
    samples: int  # rows that H was summed over
    ridge: float  # in H
    rows_per_input: int
    group: int


def _problems(model: Model, channels: Channels, data: Data, seed: int) -> dict[str, list[_Problem]]:
    """The problems of every layer that reads prunable channels, by the name of its weight."""
    run = StagedRun(model, pieces_of([model], data, SAMPLES, seed))
    found: dict[str, list[_Problem]] = {}
    layers = consumer_layers(model, channels)
    reaches = reach(model, layers, channels.macs(), data, seed)
    for number, layer in enumerate(layers):
        run.run_until(layer.position + 1, keep=[layer.inputs, layer.result])
        inputs, outputs = ([values[name] for values in run.values] for name in (layer.inputs, layer.result))
        equations = normal_equations(layer, inputs, outputs, np.random.default_rng([seed, number]))
        name = layer.weight.name or ""
        if equations.variance > 0:
            found[name] = _of_layer(layer, equations, reaches[name])
    return found


def _of_layer(layer: Layer, equations: NormalEquations, reaching: float) -> list[_Problem]:
    data = weight(layer.weight)
    assert data is not None  # an initializer
    grams, variance = equations.centred()[0], equations.variance / reaching
    k = grams.shape[1]
    ridge = np.maximum(RIDGE * np.trace(grams, axis1=1, axis2=2) / k, np.finfo(np.float32).tiny)
    inverses = [_inverse(gram + number * np.eye(k)) for gram, number in zip(grams, ridge, strict=True)]
    rows_per_input = int(np.prod(layer.kernel, dtype=np.int64))
    return [
        _Problem(inverse, matrix, variance, equations.rows, float(ridge[number]), rows_per_input, number)
        for number, (inverse, matrix) in enumerate(zip(inverses, layer.matrix(data), strict=True))
    ]


def _inverse(matrix: Floats) -> Floats:
    """Of a positive definite matrix, from its Cholesky factor: a third of the work of a general inverse."""
    factor, failed = lapack.dpotrf(matrix, lower=True)
    lower, _ = lapack.dpotri(factor, lower=True)
    if failed:
        return np.asarray(np.linalg.inv(matrix), np.float64)
    lower = np.tril(lower)
    return np.asarray(lower + np.tril(lower, -1).T)


@dataclass(eq=False)
class _Reader:
    """A problem as one channel group sees it: `rows[i]` are the rows of W that belong to the group's i-th unit.

    What is removed leaves the matrices, so that every step is cheaper than the one before.
    """

    inverse: Floats
    weights: Floats
    problem: _Problem
    rows: Array  # [units, rows of each]

    @classmethod
    def of(cls, problem: _Problem, units: Array, group: ChannelGroup) -> _Reader | None:
        """None where the units have different numbers of rows."""
        positions = np.flatnonzero((units >= group.first) & (units < group.first + group.size))
        positions = positions[np.argsort(units[positions], kind="stable")]
        if (
            len(positions) % group.size
            or (np.bincount(units[positions] - group.first) * group.size != len(positions)).any()
        ):
            return None
        inputs = positions.reshape(group.size, -1, 1)
        rows = inputs * problem.rows_per_input + np.arange(problem.rows_per_input)
        return cls(problem.inverse, problem.weights, problem, rows.reshape(group.size, -1))

    def costs(self, left: Array) -> Floats:
        """The relative cost of removing each of the units `left`."""
        rows = self.rows[left]
        blocks = self.inverse[rows[:, :, None], rows[:, None, :]]
        weights = self.weights[rows]
        squares = weights @ weights.transpose(0, 2, 1)
        costs = (np.linalg.inv(blocks) * squares).sum(axis=(1, 2)) / self.problem.variance
        return np.asarray(costs / self._freedom**2)

    @property
    def _freedom(self) -> float:
        """The share of the samples that the fit leaves free; columns that the ridge holds back count in part."""
        columns = len(self.inverse) - self.problem.ridge * float(np.trace(self.inverse))
        return max(1 - columns / self.problem.samples, LEAST_FREEDOM)

    def remove(self, gone: Array) -> None:
        """Refits all other rows to the loss of these units."""
        rows = self.rows[gone].ravel()
        stay = np.ones(len(self.inverse), np.bool_)
        stay[rows] = False
        across = self.inverse[rows][:, stay]
        gain = np.linalg.solve(self.inverse[np.ix_(rows, rows)], across).T
        self.weights = self.weights[stay] - gain @ self.weights[rows]
        self.inverse = self.inverse[np.ix_(stay, stay)] - gain @ across
        self.rows = (np.cumsum(stay) - 1)[self.rows]


def _greedy_costs(readers: Sequence[_Reader], size: int) -> Floats:
    """The cost of each unit at the moment when it goes; never less than that of one that went before it."""
    costs = np.full(size, np.inf)
    left = np.arange(size)
    highest = 0.0
    while len(left) > 1:
        step = np.sum([reader.costs(left) for reader in readers], axis=0)
        order = np.argsort(step, kind="stable")[: max(1, len(left) // _STEPS)]
        for position in order:
            highest = max(float(np.nextafter(highest, np.inf)), float(step[position]))
            costs[left[position]] = highest
        for reader in readers:
            reader.remove(left[order])
        left = np.delete(left, order)
    return costs
