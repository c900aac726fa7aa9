"""Rounding of weights to integers: to the nearest, or so that a layer's outputs change least.

With inputs x of a layer and rounded weights W + D, the squared error of its outputs is

    E |D x|^2  =  sum over outputs of  d H d',        H = E[x x'],

so what counts is not the size of D but its size where the inputs are large, and errors may cancel each other.

* `gptq` rounds one column after the other and lets the columns to come make up for each error (Frantar et al., GPTQ,
  ICLR 2023; the update is that of Optimal Brain Surgeon, Hassibi and Stork 1993), then improves single weights by
  coordinate descent (Behdin et al., QuantEase, 2023).
* `adaround` decides between floor and ceiling by gradient descent on a relaxation (Nagel et al., Up or Down? Adaptive
  Rounding for Post-Training Quantization, ICML 2020). The error being quadratic, no automatic gradients are needed.

Weights that are zero stay zero: they may be a structure that pruning made and kernels skip. Arrays are [groups, n, k]:
n outputs per group of k inputs each; H is [groups, k, k].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Array = npt.NDArray[Any]

# (weights divided by their scales, largest integer, H) -> integers
Rounding = Callable[[Floats, int, Floats], Integers]

DAMPING = 1e-2  # added to the diagonal of H, in shares of its mean
BLOCK = 64  # columns that are rounded before the others hear of it
SWEEPS = 4  # of coordinate descent
STEPS = 600  # of gradient descent
LEARNING_RATE = 0.1
WARM_UP = 0.2  # share of the steps before rounding is enforced
REGULARISATION = 3.0  # of the relaxation; a weight half way between two integers has curvature 2
STRETCH = (-0.1, 1.1)  # of the sigmoid, so that it reaches 0 and 1
BETA = (20.0, 2.0)  # the regulariser's exponent: flat at first, steep at the end


def nearest(weights: Floats, qmax: int, hessian: Floats) -> Integers:
    """Each weight to the nearest integer, ties to even; `hessian` plays no part."""
    return np.clip(np.rint(weights), -qmax, qmax).astype(np.int64)


def gptq(weights: Floats, qmax: int, hessian: Floats) -> Integers:
    """Column by column, those with the largest inputs first; then coordinate descent. Never worse than `nearest`."""
    damped = damp(hessian)
    order = np.argsort(-np.diagonal(damped, axis1=1, axis2=2), axis=1, kind="stable")  # [groups, k]
    back = np.argsort(order, axis=1)
    factor = _inverse_cholesky(_permuted(damped, order))
    permuted = np.take_along_axis(weights, order[:, None, :], axis=2)
    found = np.take_along_axis(_column_by_column(permuted, factor, qmax), back[:, None, :], axis=2)
    return _better(_descend(found, weights, qmax, damped), nearest(weights, qmax, hessian), weights, damped)


def adaround(weights: Floats, qmax: int, hessian: Floats) -> Integers:
    """Up or down, by gradient descent on a relaxation. Never worse than `nearest`."""
    damped = damp(hessian)
    damped = damped / np.diagonal(damped, axis1=1, axis2=2).mean(axis=1)[:, None, None]  # steps of the same size
    floor = np.floor(weights)
    low, high = STRETCH
    share = np.clip((weights - floor - low) / (high - low), 1e-6, 1 - 1e-6)
    hidden = np.log(share / (1 - share))
    moments = np.zeros_like(hidden), np.zeros_like(hidden)
    for step in range(STEPS):
        sigmoid = 1 / (1 + np.exp(-hidden))
        up = np.clip(sigmoid * (high - low) + low, 0.0, 1.0)
        gradient: Array = 2 * (floor + up - weights) @ damped
        progress = (step / STEPS - WARM_UP) / (1 - WARM_UP)
        if progress > 0:
            beta = BETA[1] + (BETA[0] - BETA[1]) * (1 + np.cos(np.pi * progress)) / 2
            distance = 2 * up - 1
            gradient -= REGULARISATION * 2 * beta * np.abs(distance) ** (beta - 1) * np.sign(distance)
        gradient *= sigmoid * (1 - sigmoid) * (high - low) * ((up > 0) & (up < 1))
        hidden -= LEARNING_RATE * _adam(gradient, moments, step)
    rounded = np.where(weights == 0, 0, np.clip(floor + (hidden > 0), -qmax, qmax)).astype(np.int64)
    return _better(rounded, nearest(weights, qmax, hessian), weights, damped)


def _adam(gradient: Array, moments: tuple[Floats, Floats], step: int) -> Floats:
    """The step of Adam (Kingma and Ba 2015); `moments` change in place."""
    first, second = moments
    first[:] = 0.9 * first + 0.1 * gradient
    second[:] = 0.999 * second + 0.001 * gradient**2
    direction: Floats = first / (1 - 0.9 ** (step + 1)) / (np.sqrt(second / (1 - 0.999 ** (step + 1))) + 1e-12)
    return direction


def output_error(difference: Floats, hessian: Floats) -> Floats:
    """d H d' of every output, [groups, n]."""
    error: Floats = ((difference @ hessian) * difference).sum(axis=2)
    return error


def damp(hessian: Floats) -> Floats:
    """H with a heavier diagonal, so that it is well away from singular; an H of zeros becomes the identity."""
    mean = np.diagonal(hessian, axis1=1, axis2=2).mean(axis=1)[:, None, None]
    damped: Floats = hessian + np.where(mean > 0, DAMPING * mean, 1.0) * np.eye(hessian.shape[1])
    return damped


def _better(found: Integers, plain: Integers, weights: Floats, hessian: Floats) -> Integers:
    """Per output, the rounding of lesser error."""
    worse = output_error(found - weights, hessian) > output_error(plain - weights, hessian)
    return np.where(worse[:, :, None], plain, found)


def _permuted(hessian: Floats, order: Array) -> Floats:
    rows = np.take_along_axis(hessian, order[:, :, None], axis=1)
    return np.take_along_axis(rows, order[:, None, :], axis=2)


def _inverse_cholesky(hessian: Floats) -> Floats:
    """The upper triangular U with U' U = H^-1."""
    inverse = np.linalg.inv(hessian)
    lower = np.linalg.cholesky((inverse + inverse.transpose(0, 2, 1)) / 2)
    return np.asarray(lower.transpose(0, 2, 1), np.float64)


def _column_by_column(weights: Floats, factor: Floats, qmax: int) -> Integers:
    """GPTQ's inner loop: each column's error, divided by its own curvature, moves the columns behind it."""
    left, zero = weights.copy(), weights == 0
    found = np.zeros(weights.shape, np.int64)
    for start in range(0, weights.shape[2], BLOCK):
        end = min(start + BLOCK, weights.shape[2])
        errors = np.zeros((*weights.shape[:2], end - start))
        for column in range(start, end):
            rounded = np.clip(np.rint(left[:, :, column]), -qmax, qmax)
            rounded[zero[:, :, column]] = 0
            found[:, :, column] = rounded
            error = (left[:, :, column] - rounded) / factor[:, column, column, None]
            errors[:, :, column - start] = error
            left[:, :, column:end] -= error[:, :, None] * factor[:, None, column, column:end]
        left[:, :, end:] -= errors @ factor[:, start:end, end:]
    return found


def _descend(found: Integers, weights: Floats, qmax: int, hessian: Floats) -> Integers:
    """Coordinate descent: every weight in turn becomes the integer that is best given all others of its output."""
    zero = weights == 0
    difference = found - weights
    for _ in range(SWEEPS):
        moved = False
        for column in range(weights.shape[2]):
            curvature = hessian[:, column, column, None]
            slope = (difference @ hessian[:, column, :, None])[:, :, 0]  # H is symmetric
            ideal = weights[:, :, column] + difference[:, :, column] - slope / curvature
            rounded = np.clip(np.rint(ideal), -qmax, qmax)
            rounded[zero[:, :, column]] = 0
            step = rounded - weights[:, :, column]
            moved |= bool((step != difference[:, :, column]).any())
            difference[:, :, column] = step
        if not moved:
            break
    return np.rint(weights + difference).astype(np.int64)


ROUNDINGS: Mapping[str, Rounding] = {"nearest": nearest, "gptq": gptq, "adaround": adaround}


@dataclass(frozen=True, eq=False)
class Fit:
    """What a layer does to real inputs, by which its weights are rounded. Rows are [groups * n, k].

    hessian: E[x x'] of the inputs, [groups, k, k]; about their means where the bias takes up what the weights shift,
    that is where `mean_out` [groups * n] is given: bias = mean_out - weights * mean_in [groups, k].
    """

    rounding: Rounding
    hessian: Floats
    mean_in: Floats
    mean_out: Floats | None

    def bias(self, rows: Array, before: Array) -> Floats:
        """The bias at which the mean output is what it should be; the one it had where that is not asked."""
        if self.mean_out is None:
            return before
        bias: Floats = self.mean_out - np.einsum("gnk,gk->gn", self.grouped(rows), self.mean_in).reshape(-1)
        return bias

    def grouped(self, rows: Array) -> Floats:
        return rows.reshape(len(self.hessian), -1, rows.shape[1])

    def error(self, difference: Array) -> Floats:
        """The squared error that a change of the weights makes in each output."""
        return output_error(self.grouped(difference), self.hessian).reshape(-1)
