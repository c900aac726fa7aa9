"""The memory planner: what lives stands apart, and hardly any byte is wasted."""

from __future__ import annotations

from dataclasses import replace

import graphs
import integer_nets
import numpy as np
import pytest

from prunus.compiler.integer import graph as ir
from prunus.targets.c.arena import IN_PLACE, Plan, plan

U8 = ir.QType("u8", 0.5, 3)


def collisions(graph: ir.Graph, found: Plan) -> list[str]:
    """Plays the network on an arena of names: which operators find a byte of an input, or of an output of the network
    at the end, overwritten. Written from the definition, without the planner's own lives."""
    owner = np.full(found.arena_bytes, "", dtype=object)
    names: dict[str, str] = {}  # tensor -> the name that its bytes carry

    def write(name: str, content: str) -> None:
        names[name] = content
        offset = found.offsets[name]
        owner[offset : offset + graph.tensors[name].size] = content

    def intact(name: str) -> bool:
        offset = found.offsets[name]
        return bool((owner[offset : offset + graph.tensors[name].size] == names[name]).all())

    for name in graph.inputs:
        write(name, name)
    broken = []
    for op in graph.ops:
        broken += [op.name for name in op.inputs if not intact(name)]
        if not isinstance(op, (*IN_PLACE, ir.QReshape)):
            span = range(found.offsets[op.output], found.offsets[op.output] + graph.tensors[op.output].size)
            for name in op.inputs:
                low = found.offsets[name]
                if low < span.stop and span.start < low + graph.tensors[name].size:
                    broken.append(op.name)
        write(op.output, names[op.inputs[0]] if isinstance(op, ir.QReshape) else op.output)
    return broken + [name for name in graph.outputs if not intact(name)]


@pytest.mark.parametrize("seed", range(25))
def test_random_networks_keep_what_lives(seed: int) -> None:
    graph, _, _ = integer_nets.random_net(seed, length=14)
    found = plan(graph)
    assert collisions(graph, found) == []
    assert found.live_bytes <= found.arena_bytes <= 1.1 * found.live_bytes


def test_a_shifted_tensor_is_noticed() -> None:
    """The check above fails where the planner would be wrong by one byte."""
    graph, _, _ = integer_nets.random_net(3, length=14)
    found = plan(graph)
    noticed = 0
    for op in graph.ops:
        offsets = {**found.offsets, op.output: 0 if found.offsets[op.output] else 1}
        noticed += bool(collisions(graph, replace(found, offsets=offsets, arena_bytes=found.arena_bytes + 1)))
    assert noticed > len(graph.ops) // 2


def test_the_same_graph_gives_the_same_plan() -> None:
    graph, _, _ = integer_nets.random_net(5, length=14)
    assert plan(graph) == plan(graph)


def _chain(*kinds: type[ir.Op]) -> ir.Graph:
    tensors = {"x": ir.Tensor("x", (100,), U8)}
    operators: list[ir.Op] = []
    requant = ir.Requant("fixed", np.array([1 << 30] * 2), np.array([30] * 2, np.int32))
    for index, kind in enumerate(kinds):
        source = "x" if index == 0 else f"y{index - 1}"
        fields = {"requant": requant, "qmin": 0, "qmax": 255} if issubclass(kind, ir.Fused) else {}
        fields |= {"table": np.arange(256)} if kind is ir.QLut else {}
        inputs = (source, source) if kind is ir.QAdd else (source,)
        operators.append(kind(name=f"op{index}", inputs=inputs, output=f"y{index}", **fields))
        tensors[f"y{index}"] = ir.Tensor(f"y{index}", (100,), U8)
    return ir.Graph("chain", ("x",), (operators[-1].output,), tensors, tuple(operators))


def test_elementwise_operators_and_reshapes_work_in_place() -> None:
    found = plan(_chain(ir.QLut, ir.QReshape, ir.QAdd, ir.QRequant))
    assert found.arena_bytes == 100
    assert set(found.offsets.values()) == {0}


def test_what_is_needed_later_is_not_overwritten() -> None:
    graph = _chain(ir.QLut, ir.QLut)
    found = plan(replace(graph, outputs=("y0", "y1")))
    assert found.arena_bytes == 200


def test_a_residual_network_reaches_the_bound() -> None:
    graph, _ = graphs.residual_cnn("fixed")
    core = replace(graph, inputs=("t0001",), outputs=(graph.ops[-2].output,), ops=graph.ops[1:-1])
    found = plan(core)
    assert found.arena_bytes == found.live_bytes
