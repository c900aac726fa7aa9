"""The least-squares problem of one layer: weights that turn given inputs into given outputs.

A layer is written as a product in groups: rows A [rows, groups, k] (im2col patches at sampled output positions) times
weights W [groups, k, n] plus a bias give outputs Y [rows, groups, n]. A convolution has k = in / groups * kernel and
n = out / groups (depthwise: groups = channels, n = 1 or the multiplier); a matrix product has one group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
RIDGE = 1e-2  # of the mean of the normal matrix's diagonal
NOTICED = 1e-2  # of the mean variance; roundings larger than that are reckoned with
CG_TOLERANCE = 1e-3  # of the first residual
CG_ROUNDS = 100


@dataclass
class NormalEquations:
    """Sums over rows of A'A, A'Y and so on, in float64; rows may come in pieces."""

    rows: int = 0
    gram: Floats = field(default_factory=lambda: np.zeros(0))  # [groups, k, k]
    cross: Floats = field(default_factory=lambda: np.zeros(0))  # [groups, k, n]
    sum_a: Floats = field(default_factory=lambda: np.zeros(0))  # [groups, k]
    sum_y: Floats = field(default_factory=lambda: np.zeros(0))  # [groups, n]
    sum_yy: float = 0.0

    def add(self, a: Array, y: Array) -> None:
        """More rows: a [rows, groups, k], y [rows, groups, n]. Products keep the type of the rows, sums are float64."""
        columns = np.ascontiguousarray(np.moveaxis(a, 0, 2))  # [groups, k, rows]
        targets = np.ascontiguousarray(np.moveaxis(y, 0, 1))  # [groups, rows, n]
        if not self.rows:
            groups, k, n = len(columns), columns.shape[1], targets.shape[2]
            self.gram, self.cross = np.zeros((groups, k, k)), np.zeros((groups, k, n))
            self.sum_a, self.sum_y = np.zeros((groups, k)), np.zeros((groups, n))
        self.rows += len(a)
        self.gram += columns @ columns.transpose(0, 2, 1)
        self.cross += columns @ targets
        self.sum_a += columns.sum(axis=2, dtype=np.float64)
        self.sum_y += targets.sum(axis=1, dtype=np.float64)
        self.sum_yy += float(np.square(targets).sum(dtype=np.float64))

    @classmethod
    def together(cls, parts: Sequence[NormalEquations]) -> NormalEquations:
        """The rows of all parts."""
        gram, cross, sum_a, sum_y = (
            np.sum([getattr(part, name) for part in parts], axis=0) for name in ("gram", "cross", "sum_a", "sum_y")
        )
        return cls(sum(p.rows for p in parts), gram, cross, sum_a, sum_y, sum(p.sum_yy for p in parts))

    def centred(self) -> tuple[Floats, Floats]:
        """A'A and A'Y about the means: what a layer with a bias has to get right.

        Products were rounded to float32. Where next to nothing varies (one sample), the difference is those roundings,
        of either sign: there the diagonal gets as much as keeps A'A positive.
        """
        gram, k = self.gram - self.sum_a[:, :, None] * self.sum_a[:, None, :] / self.rows, self.gram.shape[1]
        rounding = np.finfo(np.float32).eps * np.trace(self.gram, axis1=1, axis2=2)
        drowned = k * rounding > NOTICED * np.trace(gram, axis1=1, axis2=2)
        gram += np.where(drowned, rounding, 0.0)[:, None, None] * np.eye(k)
        return gram, self.cross - self.sum_a[:, :, None] * self.sum_y[:, None, :] / self.rows

    @property
    def variance(self) -> float:
        """|Y|^2 about the mean."""
        return max(self.sum_yy - float(np.square(self.sum_y).sum()) / self.rows, 0.0)

    def solve(self, start: Floats, with_bias: bool) -> tuple[Floats, Floats]:
        """(weights [groups, k, n], bias [groups, n]).

        Minimises |A W + b - Y|^2 + ridge |W - start|^2: where the samples say nothing, the weights stay what they were.
        Weights that are exactly zero in `start` stay zero: they may be a structure that a kernel skips.
        """
        gram, cross = self.centred() if with_bias else (self.gram, self.cross)
        k = gram.shape[1]
        ridge = RIDGE * np.trace(gram, axis1=1, axis2=2)[:, None, None] / k
        ridge = np.maximum(ridge, np.finfo(np.float32).tiny)  # a dead input: keep the weights
        matrix, goal, free = gram + ridge * np.eye(k), cross + ridge * start, start != 0
        weights = np.linalg.solve(matrix, goal) if free.all() else solve_masked(matrix, goal, start, free)
        bias = (self.sum_y - np.einsum("gk,gkn->gn", self.sum_a, weights)) / self.rows
        return weights, bias if with_bias else np.zeros_like(bias)

    def error(self, weights: Floats, bias: Floats) -> float:
        """|A W + b - Y|^2 / |Y|^2."""
        quadratic = np.einsum("gkn,gkm,gmn->", weights, self.gram, weights, optimize=True)
        mixed = np.einsum("gkn,gkn->", weights, self.cross)
        linear = np.einsum("gn,gk,gkn->", bias, self.sum_a, weights, optimize=True)
        constant = self.rows * np.square(bias).sum() - 2 * (bias * self.sum_y).sum()
        total = quadratic - 2 * mixed + 2 * linear + constant + self.sum_yy
        return max(float(total), 0.0) / max(self.sum_yy, np.finfo(np.float64).tiny)


def solve_masked(matrix: Floats, goal: Floats, start: Floats, free: npt.NDArray[np.bool_]) -> Floats:
    """Solves matrix @ W = goal for the entries of W that are free; the others stay zero.

    Every column has its own zeros, hence its own system. Conjugate gradients, preconditioned by the diagonal, solve all
    of them side by side with one product each round. `matrix` [groups, k, k] is positive definite.
    """
    scale = free / np.diagonal(matrix, axis1=1, axis2=2)[:, :, None]
    solution = start.copy()
    residual = free * (goal - matrix @ solution)
    direction = scale * residual
    energy = (residual * direction).sum(axis=1, keepdims=True)
    enough = CG_TOLERANCE**2 * energy.max(initial=0)
    for _ in range(CG_ROUNDS):
        if energy.max(initial=0) <= enough:
            break
        image = free * (matrix @ direction)
        curvature = (direction * image).sum(axis=1, keepdims=True)
        step = np.divide(energy, curvature, out=np.zeros_like(energy), where=curvature > 0)
        solution += step * direction
        residual -= step * image
        before, energy = energy, (residual * scale * residual).sum(axis=1, keepdims=True)
        direction = (
            scale * residual + np.divide(energy, before, out=np.zeros_like(energy), where=before > 0) * direction
        )
    return solution


def patches(
    x: Array, places: Array, kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int], pads: Array
) -> Array:
    """What a convolution sees: [rows, channels, *kernel] from x [n, channels, *spatial].

    `places` is [1 + spatial, rows]: sample, and output position on each axis. `pads` is [spatial, 2].
    """
    padded = np.pad(x, [(0, 0), (0, 0), *pads.tolist()])
    rank = len(kernel)
    index: list[Any] = [places[0].reshape(-1, *[1] * rank), slice(None)]
    for axis in range(rank):
        offsets = np.arange(kernel[axis]) * dilations[axis]
        shape = [-1, *[1] * rank]
        reach = places[1 + axis][:, None] * strides[axis] + offsets
        shape[1 + axis] = kernel[axis]
        index.append(reach.reshape(len(reach), *shape[1:]))
    return np.moveaxis(padded[tuple(index)], -1, 1)  # advanced indices come first, channels last
