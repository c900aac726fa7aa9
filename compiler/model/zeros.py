"""The structure of a weight's zeros, measured: channels, N:M groups, blocks, or none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

SparsityKind = Literal["dense", "channel", "block", "n_m", "weight"]

# output x input channels, largest first
BLOCKS = ((16, 16), (16, 4), (8, 8), (4, 4), (1, 16), (16, 1), (1, 8), (8, 1), (1, 4), (4, 1))
_PATTERNS = ((1, 4), (2, 4), (4, 8))
_FEW = 0.01  # a share of zeros that says nothing


@dataclass(frozen=True)
class Sparsity:
    """The structure of a weight's zeros. `density` is the share of nonzero *units* (blocks, for kind `block`).

    `block` is the block's shape (output channels, input channels); for kind `n_m` it is (n, m): at most n of m
    neighbouring input channels are nonzero.
    """

    kind: SparsityKind = "dense"
    density: float = 1.0
    block: tuple[int, int] = (1, 1)


def structure_of(weight: np.ndarray[Any, Any]) -> Sparsity:
    """The strictest structure that explains the zeros of a weight [out, in, ...].

    Whole channels first; then blocks, when they hold at least 95 % of all zeros; then N:M along input channels.
    """
    matrix = (weight != 0).reshape(weight.shape[0], weight.shape[1] if weight.ndim > 1 else 1, -1)
    density = float(matrix.mean()) if matrix.size else 1.0
    if 1 - density <= _FEW:
        return Sparsity()
    rows, columns = matrix.any(axis=(1, 2)), matrix.any(axis=(0, 2))
    kept = float(rows.mean() * columns.mean())
    if kept < 1 and density >= 0.99 * kept:
        return Sparsity("channel", kept)
    for block in BLOCKS:
        found = _block_density(matrix, block)
        if found is not None and 1 - found >= 0.95 * (1 - density):
            return Sparsity("block", found, block)
    for n, m in _PATTERNS:
        if matrix.shape[1] % m == 0 and density <= n / m + _FEW and _densest_group(matrix, m) <= n:
            return Sparsity("n_m", density, (n, m))
    return Sparsity("weight", density)


def _block_density(matrix: np.ndarray[Any, Any], block: tuple[int, int]) -> float | None:
    """The share of blocks with a nonzero, per window position; None where blocks do not tile the weight."""
    outs, ins, window = matrix.shape
    if outs % block[0] or ins % block[1] or (outs, ins) == block:
        return None
    blocks = matrix.reshape(outs // block[0], block[0], ins // block[1], block[1], window)
    return float(blocks.any(axis=(1, 3)).mean())


def _densest_group(matrix: np.ndarray[Any, Any], m: int) -> int:
    """Nonzeros in the fullest group of m neighbouring input channels."""
    outs, ins, window = matrix.shape
    return int(matrix.reshape(outs, ins // m, m, window).sum(axis=2).max())
