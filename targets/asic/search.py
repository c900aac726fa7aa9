"""Mapping search: every tile, loop order and dataflow of every layer, evaluated at once.

Three loops run over tiles: output positions, input channels, output channels. An operand that the innermost loop does
not index stays where it is; every other loop fetches it again. So only the innermost loop matters:

    innermost    inputs fetched      weights fetched          outputs visited
    positions    n_k times *         once                     n_c times
    channels     n_k times           n_positions times        once
    filters      once                n_positions times        n_c times

* Tiles of whole rows that follow each other share rows, which stay in the buffer; elsewhere halos are fetched again.

Time of a layer, with double buffering: the first tile must be there before the array starts, the last result leaves
after it stopped, and in between the slowest of array, buffer port and DRAM decides:

    T = first + max(array, buffer, DRAM - first - last) + last        (without double buffering their sum)

Weights depend on nothing, so a double-buffered buffer has the first of them before the layer starts.

More bandwidth lowers terms of T, a larger buffer adds choices: neither can make the best mapping slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from .architecture import Architecture, RowStationary, Spatial
from .architecture_file import ArchitectureError
from .arrays import Demand, demands
from .problem import Problem
from .sparsity import Effect, effect
from .tiles import Flags, Floats, Tiles

Order = Literal["positions", "channels", "filters"]
ORDERS: tuple[Order, ...] = ("positions", "channels", "filters")
Objective = Literal["latency", "energy", "edp"]


@dataclass(frozen=True)
class Mapping:
    """How one layer runs: tile, innermost tile loop and dataflow."""

    tp: int
    tq: int
    tc: int
    tk: int
    innermost: Order
    dataflow: str


@dataclass(frozen=True)
class Cost:
    """What a mapping costs. Bytes are those of one inference."""

    mapping: Mapping
    cycles: float
    array_cycles: float
    buffer_cycles: float
    dram_cycles: float
    ramp_cycles: float
    dram_bytes: tuple[float, float, float]  # inputs, weights, outputs
    buffer_bytes: tuple[float, float, float]
    hop_bytes: float
    register_bytes: float

    @property
    def bound(self) -> str:
        """What decides the time: compute, buffer or dram."""
        times = {"compute": self.array_cycles, "buffer": self.buffer_cycles, "dram": self.dram_cycles}
        return max(times, key=lambda key: times[key])


@dataclass(frozen=True)
class Found:
    """The best mapping, the next best one, and what no mapping can beat."""

    best: Cost
    next_best: Cost | None
    lower_bound_cycles: float
    evaluated: int


@dataclass(frozen=True)
class Residency:
    """Which activations are in the buffer from one layer to the next, and so never cross DRAM."""

    inputs: bool = False
    outputs: bool = False


@dataclass(frozen=True)
class Timing:
    """Time and traffic of every tile under one loop order; bytes of inputs, weights and outputs."""

    cycles: Floats
    dram_cycles: Floats
    ramp_cycles: Floats
    dram_bytes: tuple[Floats, Floats, Floats]


class Searcher:
    """Evaluates one architecture on fixed tiles; the array's demands are computed once for all residencies."""

    def __init__(self, tiles: Tiles, architecture: Architecture, effects: Sequence[Effect] | None = None) -> None:
        self.tiles, self.architecture = tiles, architecture
        self.effects = tuple(effects or (effect(each, architecture) for each in tiles.problems))
        self.port_bytes_per_cycle = (
            architecture.per_cycle(architecture.dram.bandwidth) * architecture.dram.efficiency.value
        )
        self._keeps = {operand for buffer in architecture.buffers for operand in buffer.keeps}
        self._runs: dict[tuple[Residency, Order], Timing] = {}
        self._doubled = all(buffer.double_buffered for buffer in architecture.buffers)
        # weights wait for nobody: the first of them are fetched during the layer before
        self._ahead = self._doubled and "weights" in self._keeps
        stored = np.array([each.weight_bytes for each in self.effects])
        self._stored: Floats | None = stored[tiles.layer] if np.any(stored != 1.0) else None
        speed = np.array([each.time for each in self.effects])[tiles.layer]
        self._flows = [self._with_skipping(each, speed) for each in demands(tiles, architecture)]
        self._buffer_cycles = [self._port_cycles(each) for each in self._flows]
        busy = [np.maximum(f.cycles, b) for f, b in zip(self._flows, self._buffer_cycles, strict=True)]
        self._busy, self._flow = busy[0], np.zeros(len(tiles.layer), np.int64)
        for number, cycles in enumerate(busy[1:], 1):
            self._flow = np.where(cycles < self._busy, number, self._flow)
            self._busy = np.minimum(self._busy, cycles)

    def _with_skipping(self, demand: Demand, speed: Floats) -> Demand:
        weights = self._compressed(demand.weight_bytes)
        return replace(demand, cycles=np.ceil(demand.cycles * speed), weight_bytes=weights)

    def _port_cycles(self, demand: Demand) -> Floats:
        """Cycles of the busiest buffer port."""
        worst = np.zeros_like(demand.cycles)
        amounts = {"inputs": demand.input_bytes, "weights": demand.weight_bytes, "outputs": demand.output_bytes}
        for buffer in self.architecture.buffers:
            moved = sum((amounts[operand] for operand in buffer.keeps), np.zeros_like(demand.cycles))
            worst = np.maximum(worst, moved / self.architecture.per_cycle(buffer.bandwidth))
        return worst

    # -- capacity ---------------------------------------------------------------------------------------------------

    def _fits(self, residency: Residency) -> Flags:
        """Tiles that the buffers hold, beside the activations that stay."""
        tiles = self.tiles
        fits: Flags = np.ones(len(tiles.layer), bool)
        for buffer in self.architecture.buffers:
            used = np.zeros(len(fits))
            twice = np.where(tiles.tile_count > 1, 2.0, 1.0) if buffer.double_buffered else 1.0
            if "inputs" in buffer.keeps:
                used += tiles.whole_input_bytes if residency.inputs else tiles.input_tile_bytes * twice
            if "weights" in buffer.keeps:
                used += self._compressed(tiles.weight_tile_bytes) * twice
            if "outputs" in buffer.keeps:
                used += self._sum_tile_bytes()
                if residency.outputs:
                    used += tiles.output_bytes
            fits &= used <= buffer.size.value
        if "outputs" not in self._keeps:
            fits &= tiles.nc == 1
        return fits

    def _sum_tile_bytes(self) -> Floats:
        """An output tile while it is being summed up. Row-stationary arrays always sum in the buffer."""
        tiles, array = self.tiles, self.architecture.array
        bits = array.pe.accumulator_bits
        always = isinstance(array, RowStationary)
        return np.where((tiles.nc > 1) | always, tiles.output_tile * (bits / 8.0), tiles.output_tile_bytes)

    def _compressed(self, weights: Floats) -> Floats:
        return weights if self._stored is None else weights * self._stored

    # -- time -------------------------------------------------------------------------------------------------------

    def evaluate(self, residency: Residency, order: Order) -> Timing:
        """Time and traffic of every tile under one loop order."""
        tiles, none = self.tiles, np.zeros(len(self.tiles.layer))
        inputs, outputs, first, last = none, none, none, none
        if not residency.inputs:
            inputs = self._input_bytes(order)
            first = tiles.input_tile_bytes
        stays = order == "positions" and "weights" in self._keeps
        weights = self._compressed(tiles.weight_bytes if stays else tiles.weight_bytes_per_position_tile)
        if not self._ahead:
            first = first + self._compressed(tiles.weight_tile_bytes)
        if not residency.outputs:
            outputs, last = tiles.output_bytes, self._last_bytes()
        if order != "channels":
            outputs = outputs + tiles.revisited_outputs * (2 * self.architecture.array.pe.accumulator_bits / 8.0)
        dram = (inputs + weights + outputs) / self.port_bytes_per_cycle
        ramp = np.minimum((first + last) / self.port_bytes_per_cycle, dram)
        body = np.maximum(self._busy, dram - ramp) if self._doubled else self._busy + dram - ramp
        return Timing(np.ceil(ramp + body), dram, ramp, (inputs, weights, outputs))

    def _input_bytes(self, order: Order) -> Floats:
        """All inputs that cross DRAM."""
        if "inputs" in self._keeps and order == "filters":
            return self.tiles.input_bytes
        if "inputs" in self._keeps and order == "positions":
            return self.tiles.rolling_input_bytes_per_filter_tile
        return self.tiles.input_bytes_per_filter_tile

    def _last_bytes(self) -> Floats:
        """What leaves after the array stopped: the last tile; of a spatial array that sums over all channels, whose
        results leave one by one, only the last of them."""
        tiles, array = self.tiles, self.architecture.array
        if not isinstance(array, Spatial):
            return tiles.output_tile_bytes
        lanes = array.unroll.get("K", 1) * array.unroll.get("P", 1) * array.unroll.get("Q", 1)
        streamed = np.minimum(tiles.output_tile, lanes) * tiles.output_bits / 8.0
        return np.where(tiles.nc == 1, streamed, tiles.output_tile_bytes)

    def search(self, residency: Residency = Residency(), objective: Objective = "latency") -> list[Found | None]:
        """Per problem the best mapping; None where no tile fits together with the resident activations."""
        fits = self._fits(residency)
        runs = {order: self.evaluate(residency, order) for order in ORDERS}
        scores = {order: np.where(fits, self._score(run, objective), np.inf) for order, run in runs.items()}
        found: list[Found | None] = []
        for index in range(len(self.tiles.problems)):
            start, stop = int(self.tiles.first[index]), int(self.tiles.first[index + 1])
            parts = {order: score[start:stop] for order, score in scores.items()}
            least = min(float(part.min()) for part in parts.values())
            if not np.isfinite(least):
                found.append(None)
                continue
            best = self._least_traffic(runs, parts, least, start)
            beyond = {order: np.where(part > least, part, np.inf) for order, part in parts.items()}
            second = min(float(part.min()) for part in beyond.values())
            runner_up = self._least_traffic(runs, beyond, second, start) if np.isfinite(second) else None
            count = int(np.count_nonzero(fits[start:stop])) * len(ORDERS) * len(self._flows)
            found.append(Found(best, runner_up, self.lower_bound(index, residency), count))
        return found

    def _least_traffic(self, runs: dict[Order, Timing], parts: dict[Order, Floats], score: float, start: int) -> Cost:
        """Of the mappings with this score, the one that moves least over DRAM."""
        choices = []
        for order, part in parts.items():
            for at in np.flatnonzero(part == score):
                choices.append((float(runs[order].dram_cycles[start + at]), order, start + int(at)))
        _, order, tile = min(choices, key=lambda choice: choice[0])
        return self._cost(runs[order], order, tile)

    def _score(self, run: Timing, objective: Objective) -> Floats:
        if objective == "latency":
            return run.cycles
        price = self.architecture.dram.energy.value
        energy = (run.dram_bytes[0] + run.dram_bytes[1] + run.dram_bytes[2]) * price + self._energy_on_chip()
        return energy if objective == "energy" else energy * run.cycles

    def _energy_on_chip(self) -> Floats:
        total = np.zeros(len(self.tiles.layer))
        for number, flow in enumerate(self._flows):
            amounts = {"inputs": flow.input_bytes, "weights": flow.weight_bytes, "outputs": flow.output_bytes}
            spent = flow.hop_bytes * self.architecture.array.pe.hop_energy.value
            for buffer in self.architecture.buffers:
                spent = spent + sum(amounts[operand] for operand in buffer.keeps) * buffer.energy.value
            total = np.where(self._flow == number, spent, total)
        return total

    def cost_of(self, residency: Residency, order: Order, tile: int) -> Cost:
        """The cost of one tile, by its place among all tiles."""
        key = (residency, order)
        if key not in self._runs:
            self._runs[key] = self.evaluate(residency, order)
        return self._cost(self._runs[key], order, tile)

    def _cost(self, run: Timing, order: Order, tile: int) -> Cost:
        flow = int(self._flow[tile])
        demand, t = self._flows[flow], self.tiles
        return Cost(
            Mapping(int(t.tp[tile]), int(t.tq[tile]), int(t.tc[tile]), int(t.tk[tile]), order, demand.dataflow),
            float(run.cycles[tile]),
            float(demand.cycles[tile]),
            float(self._buffer_cycles[flow][tile]),
            float(run.dram_cycles[tile]),
            float(run.ramp_cycles[tile]),
            (float(run.dram_bytes[0][tile]), float(run.dram_bytes[1][tile]), float(run.dram_bytes[2][tile])),
            (float(demand.input_bytes[tile]), float(demand.weight_bytes[tile]), float(demand.output_bytes[tile])),
            float(demand.hop_bytes[tile]),
            float(demand.register_bytes[tile]),
        )

    def lower_bound(self, index: int, residency: Residency) -> float:
        """Cycles that no mapping can beat: every byte crosses DRAM at least once; the array never does better than its
        best tile, whatever the buffer holds."""
        each = self.tiles.problems[index]
        part = slice(int(self.tiles.first[index]), int(self.tiles.first[index + 1]))
        if isinstance(self.architecture.array, RowStationary):
            array = each.macs * self.effects[index].time / self.architecture.elements
        else:
            array = min(float(flow.cycles[part].min()) for flow in self._flows)
        moved = each.weights * each.weight_bits / 8 * self.effects[index].weight_bytes
        moved += 0 if residency.inputs else self._least_inputs(each) * each.input_bits / 8
        moved += 0 if residency.outputs else each.outputs * each.output_bits / 8
        return max(array, moved / self.port_bytes_per_cycle)

    @staticmethod
    def _least_inputs(each: Problem) -> int:
        """Input elements that some output needs: strides wider than the kernel skip some."""
        rows = min(each.h, each.p * min(each.r, each.stride_h) + max(each.r - each.stride_h, 0))
        columns = min(each.w, each.q * min(each.s, each.stride_w) + max(each.s - each.stride_w, 0))
        return each.g * each.c * rows * columns


def too_small(architecture: Architecture, problem: Problem) -> ArchitectureError:
    """The error for a layer of which not even one element of each operand fits."""
    buffer = min(architecture.buffers, key=lambda each: each.size.value)
    index = architecture.nodes.index(buffer)
    return ArchitectureError(
        f"The buffer '{buffer.name}' is too small for any tile.",
        code="level-too-small",
        where=f"{architecture.name}: architecture.nodes[{index}].size",
        why=f"A window of {problem.r}x{problem.s} with its weights and one output needs more than"
        f" {buffer.size.value:g} bytes.",
        hint="Give it a larger size, or let it keep fewer operands.",
    )
