"""Fusion of layer chains: strips of rows pass through several layers before the next strip starts.

A chain that is cut into n strips keeps in the buffer all its weights and, of every tensor inside it, the rows that the
next strip needs: (t - 1) s + r rows of the input of each layer (t output rows per strip, stride s, window r). Rows are
kept from strip to strip, never computed twice. Only the chain's input, its output and the weights cross DRAM:

    T = first + max(sum of array cycles, sum of port cycles, DRAM - first - last) + last

with the first strip of the input loaded before, and the last strip of the output stored after.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from .architecture import Architecture, Spatial
from .problem import Problem
from .search import Cost, Residency, Searcher

STRIPS = (2, 4, 8, 16, 32)
LONGEST = 6


@dataclass(frozen=True)
class Strip:
    """One layer of a chain, cut into strips: totals of the layer, and what it occupies in the buffer."""

    cost: Cost
    input_strip_bytes: float
    output_strip_bytes: float
    sum_strip_bytes: float  # partial sums of a strip; 0 where the array adds them up itself
    weight_bytes: float
    input_bytes: float
    output_bytes: float


class Fuser:
    """Costs of chains on one architecture. Strips use the tiles that the searcher has evaluated already."""

    def __init__(self, searcher: Searcher) -> None:
        self.searcher, self.architecture = searcher, searcher.architecture
        self.index = {problem: index for index, problem in enumerate(searcher.tiles.problems)}
        self._strips: dict[tuple[Problem, int], Strip | None] = {}

    @cached_property
    def buffer_bytes(self) -> float:
        """The largest buffer that keeps all three operands, or none."""
        sizes = [each.size.value for each in self.architecture.buffers if len(set(each.keeps)) == 3]
        return max(sizes, default=0.0)

    @property
    def sum_bits(self) -> int:
        """Width of partial sums in the buffer; spatial arrays keep them beside the multipliers."""
        array = self.architecture.array
        return 0 if isinstance(array, Spatial) else array.pe.accumulator_bits

    def strip(self, problem: Problem, count: int) -> Strip | None:
        """The layer in `count` strips of whole rows, all channels at once; None where it has too few rows."""
        key = (problem, count)
        if key not in self._strips:
            self._strips[key] = self._cut(problem, count)
        return self._strips[key]

    def _cut(self, problem: Problem, count: int) -> Strip | None:
        if problem.p < count or (problem.g > 1 and problem.c > 1):
            return None
        tiles, index = self.searcher.tiles, self.index[problem]
        part = slice(int(tiles.first[index]), int(tiles.first[index + 1]))
        rows = -(-problem.p // count)
        whole = (tiles.tq[part] == problem.q) & (tiles.tc[part] == problem.c) & (tiles.tk[part] == problem.k)
        found = np.flatnonzero(whole & (tiles.tp[part] == rows))
        if not found.size:
            return None
        cost = self.searcher.cost_of(Residency(True, True), "positions", part.start + int(found[0]))
        height = min((rows - 1) * problem.stride_h + problem.r, problem.h)
        effect = self.searcher.effects[index]
        return Strip(
            cost,
            problem.g * problem.c * height * problem.w * problem.input_bits / 8,
            problem.g * problem.k * rows * problem.q * problem.output_bits / 8,
            problem.k * rows * problem.q * self.sum_bits / 8,
            problem.weights * problem.weight_bits / 8 * effect.weight_bytes,
            problem.inputs * problem.input_bits / 8,
            problem.outputs * problem.output_bits / 8,
        )

    def chain(self, problems: Sequence[Problem]) -> list[Cost] | None:
        """The fastest fused run of these layers, one cost per layer; None where no number of strips fits."""
        best: tuple[float, list[Cost]] | None = None
        for strips in self._candidates(problems):
            occupied = (
                sum(each.weight_bytes + each.input_strip_bytes for each in strips) + strips[-1].output_strip_bytes
            )
            if occupied > self.buffer_bytes:
                continue
            cycles, costs = self._time(strips)
            if best is None or cycles < best[0]:
                best = (cycles, costs)
        return best[1] if best else None

    def _candidates(self, problems: Sequence[Problem]) -> Iterator[list[Strip]]:
        for count in STRIPS:
            strips = [strip for problem in problems if (strip := self.strip(problem, count)) is not None]
            if len(strips) == len(problems):
                yield strips

    def _time(self, strips: Sequence[Strip]) -> tuple[float, list[Cost]]:
        port = self.searcher.port_bytes_per_cycle
        moved = [
            (
                strip.input_bytes if index == 0 else 0.0,
                strip.weight_bytes,
                strip.output_bytes if index == len(strips) - 1 else 0.0,
            )
            for index, strip in enumerate(strips)
        ]
        dram = sum(map(sum, moved)) / port
        ramp = min((strips[0].input_strip_bytes + strips[-1].output_strip_bytes) / port, dram)
        array = sum(strip.cost.array_cycles for strip in strips)
        busy = max(array, sum(strip.cost.buffer_cycles for strip in strips))
        cycles = float(np.ceil(ramp + max(busy, dram - ramp)))
        costs, given = [], 0.0
        for index, (strip, bytes_) in enumerate(zip(strips, moved, strict=True)):
            share = strip.cost.array_cycles / array
            own = cycles - given if index == len(strips) - 1 else float(np.floor(cycles * share))
            given += own
            costs.append(
                replace(
                    strip.cost,
                    cycles=own,
                    dram_cycles=dram * share,
                    ramp_cycles=ramp * share,
                    dram_bytes=bytes_,
                )
            )
        return cycles, costs


def fusable(architecture: Architecture) -> bool:
    """Chains need a double-buffered buffer that keeps inputs, weights and outputs."""
    return architecture.on_chip_activations and any(
        len(set(buffer.keeps)) == 3 and buffer.double_buffered for buffer in architecture.buffers
    )
