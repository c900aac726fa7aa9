"""Which zeros a kernel can use inside of a layer: blocks, N of M, or single weights, and the choice of what stays.

Weights are seen as [groups, taps, inputs, outputs]: inputs of one tap of the window lie side by side, as kernels read
them. A pattern turns scores of that shape into a mask of what stays.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..errors import UsageError
from ..model.zeros import BLOCKS, Sparsity
from ..target import Formats

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
PATTERNS = "block shapes as OUTPUTSxINPUTS (16x4, 4x4, 32x4, 32x64), N:M such as 2:4, or weight"


@dataclass(frozen=True)
class Pattern:
    """`size` is (outputs, inputs) of a block, or (N, M) where N of M neighbouring inputs stay.

    Blocks are balanced: every row of blocks keeps the same number, so that parallel units have the same work.
    """

    kind: Literal["block", "n_m", "weight"]
    size: tuple[int, int] = (1, 1)

    def __str__(self) -> str:
        if self.kind == "weight":
            return "weight"
        return f"{self.size[0]}{'x' if self.kind == 'block' else ':'}{self.size[1]}"

    def fits(self, inputs: int, outputs: int) -> bool:
        """Whether a layer has at least two units to choose from in each of the pattern's rows."""
        if self.kind == "block":
            return inputs >= 2 * self.size[1] and outputs >= self.size[0]
        return inputs >= (self.size[1] if self.kind == "n_m" else 1)

    def keep(self, scores: Floats, density: float) -> Mask:
        """What stays of scores [groups, taps, inputs, outputs]: the highest, as many as the density says.

        N:M ignores the density: its own is N / M. Ties go to the earlier weight.
        """
        if self.kind == "block":
            return _keep_blocks(scores, self.size, density)
        if self.kind == "n_m":
            return _keep_n_of_m(scores, *self.size)
        flat = scores.ravel()
        return np.asarray(highest(flat[None], max(1, round(density * flat.size))).reshape(scores.shape))

    def on_the_way(self, done: float) -> Pattern:
        """What a part of the way from dense weights asks for: more of M stay. The other patterns follow the density."""
        if self.kind != "n_m":
            return self
        n, m = self.size
        return Pattern("n_m", (m - int((m - n) * done + 1e-9), m))

    def density(self, asked: float) -> float:
        """The share of weights that stays when `asked` is asked for."""
        return self.size[0] / self.size[1] if self.kind == "n_m" else asked

    def sparsity(self, density: float, inputs: int, outputs: int, taps: int) -> Sparsity:
        """What `structure_of` will find in a weight [outputs, inputs, taps] that has these zeros."""
        if self.kind == "weight":
            return Sparsity("weight", density)
        if self.kind == "n_m":
            whole = inputs % self.size[1] == 0
            return Sparsity("n_m", self.size[0] / self.size[1], self.size) if whole else Sparsity("weight", density)
        rows, columns = self.size
        count = taps * -(-inputs // columns)
        kept = max(1, round(density * count)) / count
        for block in BLOCKS:
            inside = rows % block[0] == 0 and columns % block[1] == 0
            if inside and outputs % block[0] == 0 and inputs % block[1] == 0 and block != (outputs, inputs):
                return Sparsity("block", kept, block)
        return Sparsity("weight", kept)


def device_pattern(formats: Formats) -> Pattern | None:
    """The zeros that a device skips; None where it skips none. Blocks of one weight are single weights, anywhere."""
    if formats.n_m is not None:
        return Pattern("n_m", formats.n_m)
    if formats.block == (1, 1):
        return Pattern("weight")
    return None if formats.block is None else Pattern("block", formats.block)


def parse_pattern(text: str) -> Pattern:
    """`16x4`, `2:4` or `weight`. Raises UsageError (code `unknown-pattern`)."""
    if text == "weight":
        return Pattern("weight")
    match = re.fullmatch(r"([1-9]\d{0,3})([x:])([1-9]\d{0,3})", text)
    if match and (match[2] == "x" or int(match[1]) < int(match[3])):
        return Pattern("block" if match[2] == "x" else "n_m", (int(match[1]), int(match[3])))
    raise UsageError(f"'{text[:40]}' is no pattern of zeros.", code="unknown-pattern", hint=f"Patterns are {PATTERNS}.")


def highest(scores: Floats, count: int) -> Mask:
    """A mask of the `count` highest of every row [rows, units]; ties go to the earlier one."""
    order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
    mask = np.zeros(scores.shape, dtype=np.bool_)
    np.put_along_axis(mask, order, True, axis=1)
    return mask


def _padded(array: npt.NDArray[Any], sizes: tuple[int, int]) -> npt.NDArray[Any]:
    """Zeros behind inputs and outputs up to whole blocks of (inputs, outputs)."""
    pads = [(0, -array.shape[axis] % size) for axis, size in zip((2, 3), sizes, strict=True)]
    return np.pad(array, [(0, 0), (0, 0), *pads])


def _keep_blocks(scores: Floats, size: tuple[int, int], density: float) -> Mask:
    rows, columns = size
    padded = _padded(scores, (columns, rows))
    groups, taps, inputs, outputs = padded.shape
    blocks = padded.reshape(groups, taps, inputs // columns, columns, outputs // rows, rows).sum(axis=(3, 5))
    lists = blocks.transpose(0, 3, 1, 2).reshape(groups * (outputs // rows), -1)  # one row of blocks each
    kept = highest(lists, max(1, round(density * lists.shape[1])))
    kept = kept.reshape(groups, outputs // rows, taps, inputs // columns).transpose(0, 2, 3, 1)
    whole = kept.repeat(columns, axis=2).repeat(rows, axis=3)
    return np.asarray(whole[:, :, : scores.shape[2], : scores.shape[3]])


def _keep_n_of_m(scores: Floats, n: int, m: int) -> Mask:
    padded = _padded(scores, (m, 1))
    groups, taps, inputs, outputs = padded.shape
    lists = padded.reshape(groups, taps, inputs // m, m, outputs).transpose(0, 1, 2, 4, 3).reshape(-1, m)
    kept = highest(lists, n).reshape(groups, taps, inputs // m, outputs, m).transpose(0, 1, 2, 4, 3)
    return np.asarray(kept.reshape(padded.shape)[:, :, : scores.shape[2]])
