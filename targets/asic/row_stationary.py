"""Eyeriss' row-stationary dataflow: processing passes over a mesh of elements that hold rows.

A set of R x e elements makes e output rows of one convolution; sets stack until the array is full, and each takes
other filters (t of them) or other channels (r of them). An element interleaves p filters and q channels in its
scratch pads. One pass of a strip of f = tq columns then takes

    load  = (p t)(q r) R S / filter_bus + q r rows S / input_bus      (filters, and the first window of every row)
    run   = max(f p q S,  rows W q r / input_bus,  p t e f / output_bus)
    cycles = load + run

because filters load before a pass starts, while inputs and partial sums stream during it. Windows larger than the array
or the pads run in pieces. Source of the structure and of all widths: Chen et al., "Eyeriss", JSSC 2017 (processing
passes, buses). Nothing here is fitted.
"""

from __future__ import annotations

import numpy as np

from .architecture import RowStationary
from .tiles import Floats, Ints, Tiles, ceil_div

_FILTERS = (1, 2, 4, 8, 12, 16, 24, 32)  # p: filters that an element interleaves
_CHANNELS = (1, 2, 3, 4, 6, 8, 12)  # q


def row_stationary(tiles: Tiles, array: RowStationary) -> list[Floats]:
    """Cycles; bytes of inputs, weights and outputs at the buffer; hop bytes; register bytes. The best pass is taken per
    tile; a strip that no set of elements can hold has infinite cycles."""
    slots = array.rows // np.minimum(tiles.r, array.rows)
    across = np.maximum(array.columns // tiles.tp, 1)
    down = ceil_div(tiles.tp, array.columns)
    sets = np.where(tiles.tp <= array.columns, slots * across, slots // down)
    best: list[Floats] | None = None
    for p in _FILTERS:
        for q in _CHANNELS:
            for channel_sets in (1, 2, 4):
                candidate = _passes(tiles, array, sets, p, q, channel_sets)
                if best is None:
                    best = candidate
                    continue
                better = candidate[0] < best[0]
                best = [np.where(better, new, old) for new, old in zip(candidate, best, strict=True)]
    assert best is not None
    return best


def _passes(tiles: Tiles, array: RowStationary, sets: Ints, p: int, q: int, channel_sets: int) -> list[Floats]:
    """The whole layer with p filters and q channels per element and `channel_sets` sets on different channels."""
    pe = array.pe
    p_used, q_used = np.minimum(p, tiles.tk), np.minimum(q, tiles.tc)
    s = np.minimum(tiles.s, array.input_words)
    pieces = ceil_div(tiles.s, array.input_words) * ceil_div(tiles.r, array.rows)
    filter_sets = sets // channel_sets
    fits = (
        (p_used * q_used * s <= array.filter_words)
        & (q_used * s <= array.input_words)
        & (p_used <= array.output_words)
        & (filter_sets >= 1)
    )
    filters = np.minimum(p_used * np.maximum(filter_sets, 1), tiles.tk)
    channels = np.minimum(q_used * channel_sets, tiles.tc)
    passes = _count(tiles.k, tiles.tk, tiles.nk, filters) * _count(tiles.c, tiles.tc, tiles.nc, channels)
    strips = tiles.g * tiles.n_positions * pieces
    rows = (tiles.tp - 1) * tiles.stride_h + tiles.r
    columns = (tiles.tq - 1) * tiles.stride_w + tiles.s
    weight_words = filters * channels * np.minimum(tiles.r, array.rows) * s
    input_words = channels * rows * columns
    output_words = filters * tiles.tp * tiles.tq
    load = weight_words / array.filter_bus + channels * rows * s / array.input_bus
    compute = tiles.tq * p_used * q_used * s
    run = np.maximum(np.maximum(compute, input_words / array.input_bus), output_words / array.output_bus)
    cycles = np.where(fits, passes * strips * (load + run), np.inf)
    macs = tiles.macs
    total = passes * strips
    sums = total * output_words * pe.accumulator_bits / 8
    return [
        cycles,
        total * input_words * tiles.input_bits / 8,
        total * weight_words * tiles.weight_bits / 8,
        2 * sums,
        (total * output_words * tiles.r + total * input_words) * pe.accumulator_bits / 8,
        macs * (pe.input_bits + pe.weight_bits + 2 * pe.accumulator_bits) / 8,
    ]


def _count(extent: Ints, tile: Ints, tiles: Ints, part: Ints) -> Ints:
    """Sum over tiles of ceil(tile / part)."""
    return (tiles - 1) * ceil_div(tile, part) + ceil_div(extent - (tiles - 1) * tile, part)
