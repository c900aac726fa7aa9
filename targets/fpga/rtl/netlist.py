"""A network as a dataflow graph of integers: what the RTL backend optimises, pipelines, counts and writes as Verilog.

Every node is one integer per sample and knows the interval [low, high] that it can never leave, from which follow its
width and sign. Nodes refer to earlier ones only, so their order is topological; equal nodes are made once. There is no
clock here: `pipeline` says in which stage each node is computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Interval = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Node:
    """One integer. `operands` are the nodes that it is made of."""

    operands: tuple[int, ...]

    def interval(self, of: Sequence[Interval]) -> Interval:
        """The smallest and largest value, given those of all earlier nodes."""
        raise NotImplementedError

    def value(self, x: Sequence[Ints]) -> Ints:
        """The values [samples] for those of the operands."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Input(Node):
    """Element `index` of the flattened inputs."""

    index: int
    low: int
    high: int

    def interval(self, of: Sequence[Interval]) -> Interval:
        return self.low, self.high


@dataclass(frozen=True, slots=True)
class Const(Node):
    """A constant; costs nothing."""

    number: int

    def interval(self, of: Sequence[Interval]) -> Interval:
        return self.number, self.number


@dataclass(frozen=True, slots=True)
class Sum(Node):
    """(a << left) ± (b << right): one adder. One of the shifts is zero."""

    left: int
    right: int
    minus: bool

    def interval(self, of: Sequence[Interval]) -> Interval:
        (a_low, a_high), (b_low, b_high) = (of[operand] for operand in self.operands)
        low, high = (-b_high, -b_low) if self.minus else (b_low, b_high)
        return (a_low << self.left) + (low << self.right), (a_high << self.left) + (high << self.right)

    def value(self, x: Sequence[Ints]) -> Ints:
        a, b = x[0] << self.left, x[1] << self.right
        return a - b if self.minus else a + b


@dataclass(frozen=True, slots=True)
class Shift(Node):
    """a << left: wires only."""

    left: int

    def interval(self, of: Sequence[Interval]) -> Interval:
        low, high = of[self.operands[0]]
        return low << self.left, high << self.left

    def value(self, x: Sequence[Ints]) -> Ints:
        return x[0] << self.left


@dataclass(frozen=True, slots=True)
class RoundEven(Node):
    """floor(a / 2^right), the last bit cleared where the division leaves no remainder, right > 0.

    Of a = v + 2^(right-1) this is v / 2^right rounded half to even: v lay in the middle exactly where a leaves none.
    """

    right: int

    def interval(self, of: Sequence[Interval]) -> Interval:
        low, high = of[self.operands[0]]
        return self._scalar(low), self._scalar(high)

    def _scalar(self, a: int) -> int:
        floor = a >> self.right
        return floor if a & ((1 << self.right) - 1) else floor & ~1

    def value(self, x: Sequence[Ints]) -> Ints:
        floor, remainder = x[0] >> self.right, x[0] & ((1 << self.right) - 1)
        return np.where(remainder == 0, floor & ~1, floor)


@dataclass(frozen=True, slots=True)
class Clamp(Node):
    """min(max(a, low), high)."""

    low: int
    high: int

    def interval(self, of: Sequence[Interval]) -> Interval:
        low, high = of[self.operands[0]]
        return min(max(low, self.low), self.high), max(min(high, self.high), self.low)

    def value(self, x: Sequence[Ints]) -> Ints:
        return np.clip(x[0], self.low, self.high)


@dataclass(frozen=True, slots=True)
class Larger(Node):
    """max(a, b)."""

    def interval(self, of: Sequence[Interval]) -> Interval:
        (a_low, a_high), (b_low, b_high) = (of[operand] for operand in self.operands)
        return max(a_low, b_low), max(a_high, b_high)

    def value(self, x: Sequence[Ints]) -> Ints:
        return np.maximum(x[0], x[1])


@dataclass(frozen=True, slots=True)
class Lookup(Node):
    """table[a - first]: any function of one integer."""

    first: int
    table: tuple[int, ...]

    def interval(self, of: Sequence[Interval]) -> Interval:
        return min(self.table), max(self.table)

    def value(self, x: Sequence[Ints]) -> Ints:
        return np.asarray(self.table, np.int64)[x[0] - self.first]


@dataclass
class Netlist:
    """Nodes in topological order, their intervals, and which of them are the outputs, flattened."""

    nodes: list[Node] = field(default_factory=list)
    intervals: list[Interval] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)  # which operator of the graph each node belongs to
    outputs: tuple[int, ...] = ()
    layer: str = ""  # of the nodes that are added now
    _known: dict[Node, int] = field(default_factory=dict, repr=False)

    def add(self, node: Node) -> int:
        """The number of a node, which is made unless it exists. Nodes that can take one value only become constants,
        clamps that change nothing and sums with zero vanish."""
        simple = self._simplified(node)
        if isinstance(simple, int):
            return simple
        if simple not in self._known:
            self._known[simple] = len(self.nodes)
            self.nodes.append(simple)
            self.intervals.append(simple.interval(self.intervals))
            self.layers.append(self.layer)
        return self._known[simple]

    def _simplified(self, node: Node) -> Node | int:
        if isinstance(node, Input | Const):
            return node
        low, high = node.interval(self.intervals)
        if low == high:
            return Const((), low)
        if isinstance(node, Clamp) and self.intervals[node.operands[0]] == (low, high):
            return node.operands[0]
        if isinstance(node, Shift) and node.left == 0:
            return node.operands[0]
        if isinstance(node, Sum):
            (a, b), zero = node.operands, (0, 0)
            if self.intervals[b] == zero:
                return self.add(Shift((a,), node.left))
            if self.intervals[a] == zero and not node.minus:
                return self.add(Shift((b,), node.right))
        return node

    # -- shorthands -----------------------------------------------------------------------------------------------

    def const(self, number: int) -> int:
        return self.add(Const((), int(number)))

    def sum(self, a: int, b: int, left: int = 0, right: int = 0, minus: bool = False) -> int:
        """(a << left) ± (b << right); shifts that both have are taken out of the adder."""
        (a, more_left), (b, more_right) = self._unshifted(a), self._unshifted(b)
        left, right = left + more_left, right + more_right
        common = min(left, right)
        return self.shift(self.add(Sum((a, b), left - common, right - common, minus)), common)

    def shift(self, a: int, left: int) -> int:
        """a << left."""
        a, more = self._unshifted(a)
        return self.add(Shift((a,), left + more))

    def _unshifted(self, a: int) -> tuple[int, int]:
        """A node that is no shift, and by how much it is shifted."""
        node = self.nodes[a]
        return (node.operands[0], node.left) if isinstance(node, Shift) else (a, 0)

    def round_shift(self, a: int, right: int, bias: int = 0, negative: bool = False) -> int:
        """(±a + bias) / 2^right rounded half to even, with a single adder; a negative `right` is a left shift."""
        half = 1 << (right - 1) if right > 0 else 0
        constant = self.const(bias + half)
        total = self.sum(constant, a, minus=True) if negative else self.sum(a, constant)
        if right > 0:
            return self.add(RoundEven((total,), right))
        return self.shift(total, -right)

    def clamp(self, a: int, low: int, high: int) -> int:
        return self.add(Clamp((a,), low, high))

    # -- properties -----------------------------------------------------------------------------------------------

    def width(self, node: int) -> int:
        """Bits of a node: two's complement where it can be negative; 0 where it is always zero."""
        low, high = self.intervals[node]
        return max((high if high >= 0 else ~high).bit_length(), (~low).bit_length() if low < 0 else 0) + (low < 0)

    def signed(self, node: int) -> bool:
        return self.intervals[node][0] < 0

    def is_const(self, node: int) -> bool:
        return isinstance(self.nodes[node], Const)

    def inputs(self) -> dict[int, int]:
        """The node of each input element that is used, by its index, in order."""
        found = ((node.index, number) for number, node in enumerate(self.nodes) if isinstance(node, Input))
        return dict(sorted(found))

    def live(self) -> npt.NDArray[np.bool_]:
        """Which nodes the outputs depend on."""
        alive = np.zeros(len(self.nodes), np.bool_)
        alive[list(self.outputs)] = True
        for number in range(len(self.nodes) - 1, -1, -1):
            if alive[number]:
                alive[list(self.nodes[number].operands)] = True
        return alive

    def pruned(self) -> Netlist:
        """The same network without nodes that no output depends on."""
        alive = self.live()
        places = np.cumsum(alive) - 1
        kept = [number for number in range(len(self.nodes)) if alive[number]]
        nodes = [_moved(self.nodes[number], places) for number in kept]
        return Netlist(
            nodes,
            [self.intervals[number] for number in kept],
            [self.layers[number] for number in kept],
            tuple(int(places[number]) for number in self.outputs),
            _known={node: number for number, node in enumerate(nodes)},
        )

    def evaluate(self, inputs: npt.NDArray[Any]) -> Ints:
        """[samples, outputs] of the network for integers [samples, inputs]."""
        values: list[Ints] = []
        for node in self.nodes:
            if isinstance(node, Input):
                values.append(inputs[:, node.index].astype(np.int64))
            elif isinstance(node, Const):
                values.append(np.full(len(inputs), node.number, np.int64))
            else:
                values.append(node.value([values[operand] for operand in node.operands]))
        return np.stack([values[number] for number in self.outputs], axis=1)


def _moved(node: Node, places: npt.NDArray[np.int64]) -> Node:
    """The same node with its operands at new places."""
    operands = tuple(int(places[operand]) for operand in node.operands)
    others = {f.name: getattr(node, f.name) for f in fields(node) if f.name != "operands"}
    return type(node)(operands, **others)


KINDS: Mapping[type[Node], str] = {
    Input: "input",
    Const: "const",
    Sum: "sum",
    Shift: "shift",
    RoundEven: "round",
    Clamp: "clamp",
    Larger: "max",
    Lookup: "table",
}
FREE = (Input, Const, Shift)  # wires
