"""In which clock cycle each node of a netlist is computed.

Stages are cut greedily: a node goes into the stage of its latest operand while the path through it stays within the
clock period, else into the next. Then every node moves to the latest stage that costs no more register bits.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .netlist import Clamp, Const, Input, Larger, Lookup, Netlist, RoundEven, Shift, Sum

Stages = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Delays:
    """What a device family's logic takes, routing included, in nanoseconds."""

    register: float  # from the clock's edge to a register's output, and set-up of the next one
    logic: float  # one level of logic
    adder: float  # an adder's first bit
    carry: float  # each further bit
    lut_inputs: int = 4

    def of(self, netlist: Netlist, number: int) -> float:
        """The delay of one node."""
        node, width = netlist.nodes[number], netlist.width(number)
        if isinstance(node, Input | Const | Shift):
            return 0.0
        if isinstance(node, Sum):
            return self.adder + self.carry * width
        if isinstance(node, RoundEven):
            return self.logic * _levels(node.right + 1, self.lut_inputs)
        if isinstance(node, Clamp):
            surplus = netlist.width(node.operands[0]) - width
            return self.logic * (1 + _levels(surplus + 1, self.lut_inputs))
        if isinstance(node, Larger):
            return self.adder + self.carry * width + self.logic
        assert isinstance(node, Lookup)
        return self.logic * _levels(netlist.width(node.operands[0]), self.lut_inputs)


def _levels(inputs: int, lut_inputs: int) -> int:
    """Levels of LUTs of a function that reduces so many bits to one."""
    levels = 0
    while inputs > 1:
        inputs, levels = -(-inputs // lut_inputs), levels + 1
    return levels


@dataclass(frozen=True, eq=False)
class Pipeline:
    """`stages[node]` counts from 0; the outputs leave through registers after the last stage."""

    netlist: Netlist
    stages: Stages
    depth: int  # clock cycles from inputs to outputs

    def last_use(self) -> Stages:
        """The last stage in which each node is read; outputs are read in stage `depth`."""
        last = self.stages.copy()
        for number, node in enumerate(self.netlist.nodes):
            for operand in node.operands:
                last[operand] = max(last[operand], self.stages[number])
        last[list(self.netlist.outputs)] = self.depth
        return last

    def register_bits(self) -> int:
        """Flip-flops that hold nodes between stages."""
        held = self.last_use() - self.stages
        return sum(
            int(held[number]) * self.netlist.width(number)
            for number in range(len(self.netlist.nodes))
            if not self.netlist.is_const(number)
        )


def schedule(netlist: Netlist, delays: Delays, period_ns: float) -> Pipeline:
    """The stages of a netlist at a clock period. A node slower than that has a stage of its own."""
    stages = _earliest(netlist, delays, period_ns)
    depth = int(stages.max(initial=0)) + 1
    return Pipeline(netlist, _delayed(netlist, stages), depth)


def _earliest(netlist: Netlist, delays: Delays, period_ns: float) -> Stages:
    stages = np.zeros(len(netlist.nodes), np.int64)
    times = np.full(len(netlist.nodes), delays.register)
    for number, node in enumerate(netlist.nodes):
        operands = [operand for operand in node.operands if not netlist.is_const(operand)]
        if not operands:
            continue
        stage = max(int(stages[operand]) for operand in operands)
        start = max(float(times[operand]) for operand in operands if stages[operand] == stage)
        delay = delays.of(netlist, number)
        if start + delay > period_ns and start > delays.register:
            stage, start = stage + 1, delays.register
        stages[number], times[number] = stage, start + delay
    return stages


def _delayed(netlist: Netlist, stages: Stages) -> Stages:
    """Moves nodes to later stages where that saves registers: what is wider than all that it alone is made of.

    Nodes are visited backwards, so that a chain can move as a whole. A moved node lands in a stage after those of all
    its operands and before those of its readers: no path grows.
    """
    readers: dict[int, list[int]] = defaultdict(list)
    for number, node in enumerate(netlist.nodes):
        for operand in set(node.operands):
            readers[operand].append(number)
    outputs, found = set(netlist.outputs), stages.copy()
    for number in range(len(netlist.nodes) - 1, -1, -1):
        operands = [operand for operand in netlist.nodes[number].operands if not netlist.is_const(operand)]
        if number in outputs or not operands or not readers[number]:
            continue
        latest = min(int(found[reader]) for reader in readers[number]) - 1
        own = sum(netlist.width(operand) for operand in operands if len(readers[operand]) == 1)
        if latest > found[number] and netlist.width(number) > own:
            found[number] = latest
    return found


def longest_path_ns(pipeline: Pipeline, delays: Delays) -> float:
    """The slowest chain of nodes within one stage, from register to register."""
    net = pipeline.netlist
    times = np.full(len(net.nodes), delays.register)
    for number, node in enumerate(net.nodes):
        starts = (times[operand] for operand in node.operands if pipeline.stages[operand] == pipeline.stages[number])
        times[number] = max(starts, default=delays.register) + delays.of(net, number)
    return float(times.max(initial=delays.register))
