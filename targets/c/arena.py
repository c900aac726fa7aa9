"""The memory planner: where every integer tensor stands in one static arena.

A tensor lives from the operator that writes it to the last one that reads it; graph inputs live from the start, outputs
to the end. Tensors whose lives do not meet may share bytes. Two kinds of tensors share a *slot*, the same bytes at the
same time: a reshape and what it reshapes, and the result of an elementwise operator with an input that nobody needs
afterwards (the kernels read every element before they write it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...compiler.integer import graph as ir

IN_PLACE = (ir.QAdd, ir.QMul, ir.QRequant, ir.QLut)
_ROUNDS = 40  # of the repair that moves what stands highest to the front


@dataclass(frozen=True)
class Slot:
    """Bytes that one or more tensors hold from operator `first` to operator `last`, both included."""

    tensors: tuple[str, ...]
    size: int
    first: int
    last: int

    def meets(self, other: Slot) -> bool:
        """Whether both are alive during some operator."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Plan:
    """`offsets`: byte offset of every tensor. `live_bytes`: the most that lives during one operator, which no arena can
    undercut."""

    offsets: Mapping[str, int]
    arena_bytes: int
    live_bytes: int


def plan(graph: ir.Graph) -> Plan:
    """Places the tensors of a graph without islands, one sample, one byte per element. Deterministic."""
    slots = _slots(graph)
    live_bytes = max((sum(s.size for s in slots if s.first <= at <= s.last) for at in range(len(graph.ops))), default=0)
    live_bytes = max([live_bytes, *(slot.size for slot in slots)], default=0)
    best: dict[Slot, int] | None = None
    for order in _orders(slots):
        placed = _place(order)
        if best is None or _height(placed) < _height(best):
            best = placed
        if _height(best) == live_bytes:
            break
    offsets = {name: offset for slot, offset in (best or {}).items() for name in slot.tensors}
    return Plan(dict(sorted(offsets.items())), _height(best or {}), live_bytes)


# -- lives --------------------------------------------------------------------------------------------------------


def _slots(graph: ir.Graph) -> list[Slot]:
    """All slots, in the order in which they come to life."""
    last = {name: index for index, op in enumerate(graph.ops) for name in op.inputs}
    last |= dict.fromkeys(graph.outputs, len(graph.ops))
    leader: dict[str, str] = {}  # tensor -> the first tensor of its slot
    life: dict[str, list[int]] = {}  # leader -> [first, last]
    members: dict[str, list[str]] = {}
    for index, name in _births(graph):
        op = graph.producers.get(name)
        host = _shared(graph, op, index, leader, life) if op is not None else None
        leader[name] = host or name
        first, until = life.setdefault(leader[name], [index, index])
        life[leader[name]] = [first, max(until, last.get(name, index))]
        members.setdefault(leader[name], []).append(name)
    return [
        Slot(tuple(names), max(graph.tensors[name].size for name in names), *life[first])
        for first, names in members.items()
    ]


def _births(graph: ir.Graph) -> Iterator[tuple[int, str]]:
    """(operator index, tensor), graph inputs first."""
    yield from ((0, name) for name in graph.inputs)
    yield from ((index, op.output) for index, op in enumerate(graph.ops))


def _shared(
    graph: ir.Graph, op: ir.Op, index: int, leader: Mapping[str, str], life: Mapping[str, Sequence[int]]
) -> str | None:
    """The slot that the operator's result shares with an input, if any."""
    if isinstance(op, ir.QReshape):
        return leader[op.inputs[0]]
    if not isinstance(op, IN_PLACE):
        return None
    size = graph.tensors[op.output].size
    free = [name for name in op.inputs if graph.tensors[name].size == size and life[leader[name]][1] <= index]
    return leader[free[0]] if free else None


# -- places -------------------------------------------------------------------------------------------------------


def _place(order: Sequence[Slot]) -> dict[Slot, int]:
    """Each slot in turn at the lowest offset that is free during its life."""
    placed: dict[Slot, int] = {}
    for slot in order:
        taken = sorted((offset, offset + other.size) for other, offset in placed.items() if slot.meets(other))
        offset = 0
        for low, high in taken:
            if offset + slot.size <= low:
                break
            offset = max(offset, high)
        placed[slot] = offset
    return placed


def _height(placed: Mapping[Slot, int]) -> int:
    return max((offset + slot.size for slot, offset in placed.items()), default=0)


def _orders(slots: Sequence[Slot]) -> Iterator[Sequence[Slot]]:
    """Orders worth trying: large ones first, by the crowd they live in, by birth; then the best, repaired."""
    crowd = {slot: max((sum(o.size for o in slots if o.first <= at <= o.last)) for at in _span(slot)) for slot in slots}
    keys: Sequence[Callable[[Slot], tuple[int, ...]]] = (
        lambda slot: (-slot.size, slot.first),
        lambda slot: (-crowd[slot], -slot.size, slot.first),
        lambda slot: (-slot.size * (slot.last - slot.first + 1), slot.first),
        lambda slot: (slot.first, -slot.size),
        lambda slot: (-slot.last, -slot.size),
    )
    orders = [sorted(slots, key=key) for key in keys]
    yield from orders
    order = min(orders, key=lambda order: _height(_place(order)))
    for _ in range(_ROUNDS):
        placed = _place(order)
        highest = max(placed, key=lambda slot: placed[slot] + slot.size, default=None)
        if highest is None or order[0] is highest:
            return
        order = [highest, *(slot for slot in order if slot is not highest)]
        yield order


def _span(slot: Slot) -> range:
    return range(slot.first, slot.last + 1)
