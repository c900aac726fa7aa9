"""All tiles of all layers as flat arrays: what the mapping search evaluates at once.

A tile is tp x tq output positions, tc input and tk output channels of one group. Tiles cover a dimension of size X in
n = ceil(X / t) steps, the last one smaller. A sum over those steps of a rounded-up quotient is exact:

    sum_i ceil(t_i / a) = (n - 1) ceil(t / a) + ceil((X - (n - 1) t) / a)

The tiles depend on the layers alone, never on an architecture: so a larger buffer only adds choices, and one set of
tiles serves a whole sweep.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from .problem import Problem

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 512, 1024, 2048, 4096)
_HALVES = tuple(1 << power for power in range(13))
_EVEN = (16, 32, 64, 128, 256, 512)  # channel tiles that fill common arrays


def ceil_div(a: Ints, b: int | Ints) -> Ints:
    """Quotients rounded up."""
    quotient: Ints = -(-a // b)
    return quotient


def sizes(extent: int, even: Sequence[int] = (), steps: Sequence[int] = _STEPS) -> list[int]:
    """Tile sizes worth trying along a dimension, ascending; 1 and the extent are among them."""
    chosen = {-(-extent // step) for step in steps if step <= 2 * extent} | {1, extent}
    return sorted(chosen | {size for size in even if size < extent})


@dataclass(frozen=True)
class Tiles:
    """Parallel arrays, one entry per tile choice; `first[i]:first[i + 1]` are those of problem i."""

    problems: tuple[Problem, ...]
    first: Ints
    layer: Ints
    tp: Ints
    tq: Ints
    tc: Ints
    tk: Ints

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> Tiles:
        """Every combination of tile sizes of every problem."""
        parts, first = [], [0]
        for index, each in enumerate(problems):
            rows = [(p, each.q) for p in sizes(each.p)]
            rows += [(p, q) for p in sizes(each.p)[:2] for q in sizes(each.q)[:-1]]
            rows += [(each.p, q) for q in sizes(each.q)[-4:-1]]
            if each.batch > 1:  # whole images
                rows += [(p, q) for p in sizes(each.p) for q in (each.q // each.batch, 2 * each.q // each.batch)]
            positions = np.array(sorted(set(rows)), np.int64)
            channels = np.array(sizes(each.c, _EVEN, _HALVES), np.int64)
            filters = np.array(sizes(each.k, _EVEN, _HALVES), np.int64)
            at, c, k = (a.ravel() for a in np.meshgrid(np.arange(len(positions)), channels, filters, indexing="ij"))
            parts.append(np.stack([np.full_like(at, index), positions[at, 0], positions[at, 1], c, k]))
            first.append(first[-1] + at.size)
        merged = np.concatenate(parts, axis=1) if parts else np.zeros((5, 0), np.int64)
        return cls(tuple(problems), np.array(first), *merged)

    @classmethod
    def single(cls, problem: Problem, tp: int, tq: int, tc: int, tk: int) -> Tiles:
        """One tile chosen by hand."""
        one = [np.array([v], np.int64) for v in (0, tp, tq, tc, tk)]
        return cls((problem,), np.array([0, 1]), *one)

    def per_layer(self, key: str) -> Ints:
        """A field of the problem, spread over its tiles."""
        values = np.array([getattr(each, key) for each in self.problems], np.int64)
        return values[self.layer]

    def __getattr__(self, key: str) -> Ints:
        """Fields of the problem by their name, cached: `tiles.k`, `tiles.stride_h`."""
        if key.startswith("_") or key not in Problem.__dataclass_fields__:
            raise AttributeError(key)
        values = self.per_layer(key)
        self.__dict__[key] = values
        return values

    @cached_property
    def np_(self) -> Ints:
        return ceil_div(self.p, self.tp)

    @cached_property
    def nq(self) -> Ints:
        return ceil_div(self.q, self.tq)

    @cached_property
    def nc(self) -> Ints:
        return ceil_div(self.c, self.tc)

    @cached_property
    def nk(self) -> Ints:
        return ceil_div(self.k, self.tk)

    @cached_property
    def n_positions(self) -> Ints:
        return self.np_ * self.nq

    @cached_property
    def tile_count(self) -> Ints:
        return self.g * self.n_positions * self.nc * self.nk

    @cached_property
    def window(self) -> Ints:
        return self.r * self.s

    @cached_property
    def positions(self) -> Ints:
        volume: Ints = self.p * self.q
        return volume

    def folds_of_channels(self, lanes: int) -> Ints:
        """Sum over tiles of ceil(tc / lanes)."""
        return self._folds(self.c, self.tc, self.nc, 1, lanes)

    def folds_of_window(self, lanes: int) -> Ints:
        """Sum over tiles of ceil(tc r s / lanes): the rows of an im2col product."""
        return self._folds(self.c, self.tc, self.nc, self.window, lanes)

    def folds_of_packed(self, lanes: int) -> Ints:
        """Sum over tiles of ceil(tc s / lanes): one row of the window side by side."""
        return self._folds(self.c, self.tc, self.nc, self.s, lanes)

    def folds_of_filters(self, lanes: int) -> Ints:
        """Sum over tiles of ceil(tk / lanes)."""
        return self._folds(self.k, self.tk, self.nk, 1, lanes)

    def folds_of_positions(self, lanes: int, at_least: int = 1) -> Ints:
        """Sum over tiles of max(ceil(tp tq / lanes), at_least)."""
        last_p = self.p - (self.np_ - 1) * self.tp
        last_q = self.q - (self.nq - 1) * self.tq
        total: Ints = np.zeros_like(self.p)
        for rows, many in ((self.tp, self.np_ - 1), (last_p, 1)):
            for columns, times in ((self.tq, self.nq - 1), (last_q, 1)):
                total = total + many * times * np.maximum(ceil_div(rows * columns, lanes), at_least)
        return total

    @staticmethod
    def _folds(extent: Ints, tile: Ints, count: Ints, factor: int | Ints, lanes: int) -> Ints:
        whole: Ints = np.multiply(tile, factor)
        last: Ints = np.multiply(extent - (count - 1) * tile, factor)
        folds: Ints = (count - 1) * ceil_div(whole, lanes) + ceil_div(last, lanes)
        return folds

    # -- bytes, all groups together; a sweep fetches every tile once -------------------------------------------------

    @cached_property
    def input_tile_bytes(self) -> Floats:
        """One input tile, its halo included."""
        elements = self._input_side("h", "tp", "r", "stride_h") * self._input_side("w", "tq", "s", "stride_w") * self.tc
        size: Floats = elements * self.input_bits / 8.0
        return size

    def _input_side(self, side: str, tile: str, kernel: str, stride: str) -> Ints:
        needed = (getattr(self, tile) - 1) * getattr(self, stride) + getattr(self, kernel)
        fetched: Ints = np.minimum(needed, getattr(self, side))
        return fetched

    @cached_property
    def input_bytes(self) -> Floats:
        """A sweep over the inputs; halos count in every tile that needs them."""
        rows = self._swept("h", "tp", "np_", "r", "stride_h")
        return self.g * self.c * rows * self._swept("w", "tq", "nq", "s", "stride_w") * self.input_bits / 8.0

    def _swept(self, side: str, tile: str, count: str, kernel: str, stride: str) -> Ints:
        halo = np.maximum(getattr(self, kernel) - getattr(self, stride), 0)
        extent = getattr(self, side)
        overlap = (getattr(self, count) - 1) * halo
        swept: Ints = np.minimum(extent + overlap, getattr(self, count) * self._input_side(side, tile, kernel, stride))
        return swept

    @cached_property
    def input_bytes_per_filter_tile(self) -> Floats:
        """The inputs once for every tile of output channels."""
        return self.input_bytes * self.nk

    @cached_property
    def rolling_input_bytes_per_filter_tile(self) -> Floats:
        """The same when tiles of whole rows follow each other: the rows that two tiles share stay in the buffer."""
        rows = np.minimum(self.h, self.p * np.minimum(self.r, self.stride_h) + np.maximum(self.r - self.stride_h, 0))
        once = self.g * self.c * rows * self._input_side("w", "tq", "s", "stride_w") * self.input_bits / 8.0
        rolling: Floats = np.where(self.nq == 1, np.minimum(once, self.input_bytes), self.input_bytes) * self.nk
        return rolling

    @cached_property
    def whole_input_bytes(self) -> Floats:
        return self.g * self.c * self.h * self.w * self.input_bits / 8.0

    @cached_property
    def weight_tile_bytes(self) -> Floats:
        return self.tc * self.tk * self.window * self.weight_bits / 8.0

    @cached_property
    def weight_bytes(self) -> Floats:
        return self.weights * self.weight_bits / 8.0

    @cached_property
    def weight_bytes_per_position_tile(self) -> Floats:
        """The weights once for every tile of output positions."""
        return self.weight_bytes * self.n_positions

    @cached_property
    def output_tile(self) -> Ints:
        """Elements of one output tile."""
        elements: Ints = self.tp * self.tq * self.tk
        return elements

    @cached_property
    def output_tile_bytes(self) -> Floats:
        return self.output_tile * self.output_bits / 8.0

    @cached_property
    def output_bytes(self) -> Floats:
        return self.outputs * self.output_bits / 8.0

    @cached_property
    def revisited_outputs(self) -> Floats:
        """Elements written and read again as partial sums when every tile of input channels visits all outputs."""
        extra: Floats = np.multiply(self.nc - 1, self.outputs, dtype=np.float64)
        return extra

    @cached_property
    def macs(self) -> Floats:
        return self.outputs * (self.c * self.window * 1.0)

    @cached_property
    def weights(self) -> Ints:
        elements: Ints = self.g * self.c * self.k * self.window
        return elements

    @cached_property
    def outputs(self) -> Ints:
        elements: Ints = self.g * self.k * self.positions
        return elements
