"""What each kind of array needs for each tile: cycles without stalls, and bytes across its edge.

All results are totals of a layer, over its tiles and groups. Systolic arrays follow `systolic`'s closed forms, summed
over tiles; spatial arrays multiply rounded-up quotients; row-stationary arrays are in `row_stationary`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from .architecture import Architecture, Dimension, RowStationary, Spatial, Systolic
from .row_stationary import row_stationary
from .tiles import Floats, Ints, Tiles, ceil_div


@dataclass(frozen=True)
class Demand:
    """One way to run every tile on the array."""

    dataflow: str
    cycles: Floats
    input_bytes: Floats  # read from the buffer (or from DRAM, when no buffer keeps the operand)
    weight_bytes: Floats
    output_bytes: Floats  # final values and partial sums, reads and writes
    hop_bytes: Floats  # moved between neighbouring elements
    register_bytes: Floats


def demands(tiles: Tiles, architecture: Architecture) -> list[Demand]:
    """The demand of every dataflow that the array may choose from."""
    array = architecture.array
    if isinstance(array, Systolic):
        flows = ("ws", "os", "is") if array.dataflow == "best" else (array.dataflow,)
        return [_systolic(tiles, array, flow) for flow in flows]
    if isinstance(array, Spatial):
        return [_spatial(tiles, array)]
    assert isinstance(array, RowStationary)
    return [Demand("rs", *row_stationary(tiles, array))]


def partial_sums(tiles: Tiles, revisits: Ints, accumulator_bits: int, held: Ints | bool) -> Floats:
    """Bytes of outputs at the buffer: each is written once; unless held beside the array, every further visit writes
    and reads a partial sum."""
    final = tiles.output_bytes
    extra = np.maximum(revisits - 1, 0) * 2 * tiles.outputs * accumulator_bits / 8
    return np.asarray(np.where(held, final, final + extra), np.float64)


def _systolic(tiles: Tiles, array: Systolic, flow: str) -> Demand:
    rows, columns, pe = array.rows, array.columns, array.pe
    macs = tiles.macs
    filters = tiles.folds_of_filters(columns)
    if flow == "os":
        positions = tiles.folds_of_positions(rows)
        cycles = positions * filters * (tiles.nc * (rows + columns - 2) + tiles.c * tiles.window)
        input_reads = tiles.positions * tiles.c * tiles.window * filters
        weight_reads = tiles.k * tiles.c * tiles.window * positions
        revisits = tiles.nc
        moved = pe.input_bits + pe.weight_bits
    else:
        inner = tiles.folds_of_window(rows)
        streamed, outer = (tiles.positions, filters) if flow == "ws" else (tiles.k, tiles.folds_of_positions(columns))
        pieces = tiles.n_positions if flow == "ws" else tiles.nk
        cycles = inner * outer * (pieces * (2 * rows + columns - 2) + streamed)
        if flow == "ws":
            input_reads = tiles.positions * tiles.c * tiles.window * filters
            weight_reads = tiles.k * tiles.c * tiles.window * tiles.n_positions
        else:
            input_reads = tiles.positions * tiles.c * tiles.window * tiles.nk
            weight_reads = tiles.k * tiles.c * tiles.window * outer
        revisits = inner
        moved = (pe.input_bits if flow == "ws" else pe.weight_bits) + pe.accumulator_bits
    return Demand(
        flow,
        np.asarray(cycles * tiles.g, np.float64),
        input_reads * tiles.g * tiles.input_bits / 8,
        weight_reads * tiles.g * tiles.weight_bits / 8,
        partial_sums(tiles, revisits, pe.accumulator_bits, _held(tiles, array, flow)),
        macs * moved / 8,
        macs * (pe.input_bits + pe.weight_bits + 2 * pe.accumulator_bits) / 8,
    )


def _held(tiles: Tiles, array: Systolic, flow: str) -> Ints:
    """Whether the accumulators take the partial sums of one column fold of a tile."""
    if array.accumulators is None:
        return np.zeros_like(tiles.nc, bool)
    capacity = array.accumulators.value * 8 // array.pe.accumulator_bits
    width = np.minimum(tiles.tk, array.columns) if flow != "is" else tiles.tk
    depth = tiles.tp * tiles.tq if flow != "is" else np.minimum(tiles.tp * tiles.tq, array.columns)
    held: Ints = (tiles.nc == 1) & (width * depth <= capacity)
    return held


def _spatial(tiles: Tiles, array: Spatial) -> Demand:
    pe = array.pe
    lanes: dict[str, int] = dict.fromkeys(("K", "C", "P", "Q", "R", "S", "G"), 1)
    lanes.update({str(key): factor for key, factor in array.unroll.items()})
    parallel_positions = lanes["P"] * lanes["Q"]
    filters = tiles.folds_of_filters(lanes["K"])
    channels = tiles.folds_of_channels(lanes["C"])
    window = ceil_div(tiles.r, lanes["R"]) * ceil_div(tiles.s, lanes["S"])
    if array.pack_first_layer:
        packed = tiles.folds_of_packed(lanes["C"]) * ceil_div(tiles.r, lanes["R"])
        sets = np.where(tiles.c <= 4, np.minimum(channels * window, packed), channels * window)
    else:
        sets = channels * window
    stripes = tiles.folds_of_positions(parallel_positions, at_least=array.weight_load)
    cycles = filters * sets * stripes * ceil_div(tiles.g, lanes["G"])
    if array.depthwise_unroll is not None:
        cycles = np.where((tiles.c == 1) & (tiles.g > 1), _depthwise(tiles, array.depthwise_unroll), cycles)
    macs = tiles.macs
    loads = tiles.folds_of_positions(array.weight_reuse * parallel_positions)
    adder_tree = max(lanes["C"] * lanes["R"] * lanes["S"], 1)
    return Demand(
        "spatial",
        np.asarray(cycles, np.float64),
        macs / np.minimum(lanes["K"], tiles.tk) * tiles.input_bits / 8,
        tiles.weight_bytes * loads,
        partial_sums(tiles, tiles.nc, pe.accumulator_bits, False),
        macs * pe.accumulator_bits / 8 / adder_tree,
        macs * (pe.input_bits + pe.weight_bits + 2 * pe.accumulator_bits / adder_tree) / 8,
    )


def _depthwise(tiles: Tiles, lanes: Mapping[Dimension, int]) -> Ints:
    """Cycles of a depthwise layer under its own unrolling, which may take channels (G), positions and the window."""
    positions = tiles.folds_of_positions(lanes.get("P", 1) * lanes.get("Q", 1))
    window = ceil_div(tiles.r, lanes.get("R", 1)) * ceil_div(tiles.s, lanes.get("S", 1))
    return ceil_div(tiles.g, lanes.get("G", 1)) * positions * window * tiles.folds_of_filters(lanes.get("K", 1))
