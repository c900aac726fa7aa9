"""Which operators become one network: the integer regions between the float islands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ...compiler.integer import graph as ir

Part = ir.Graph | ir.Island


def split(graph: ir.Graph) -> tuple[Part, ...]:
    """The graph as integer regions and float islands, each after what it needs.

    A region is a maximal connected set of integer operators between islands, a graph of its own named `region0`, …;
    quantizations and dequantizations belong to the region that they border. No way between two operators of a region
    leads through an island (regions are convex).
    """
    stages = _stages(graph)
    parts: list[tuple[int, int, Part]] = []
    for stage, ops in _components(graph, stages):
        region = _subgraph(graph, f"region{sum(isinstance(part, ir.Graph) for *_, part in parts)}", ops)
        parts.append((stage, 0, region))
    parts += [(stages[op.name], 1, op) for op in graph.ops if isinstance(op, ir.Island)]
    return tuple(part for *_, part in sorted(parts, key=lambda part: part[:2]))


def _stages(graph: ir.Graph) -> Mapping[str, int]:
    """Per operator: how often the way from the inputs to it returns from float to integer, at most."""
    stages: dict[str, int] = {}
    for op in graph.ops:
        stage = 0
        for producer in (graph.producers[name] for name in op.inputs if name in graph.producers):
            returns = not isinstance(op, ir.Island) and isinstance(producer, ir.Island | ir.Dequantize)
            stage = max(stage, stages[producer.name] + returns)
        stages[op.name] = stage
    return stages


def _components(graph: ir.Graph, stages: Mapping[str, int]) -> Iterable[tuple[int, Sequence[ir.Op]]]:
    """(stage, operators in graph order) of every region: what shares a tensor within a stage belongs together."""
    root: dict[str, str] = {}

    def find(name: str) -> str:
        while root.setdefault(name, name) != name:
            root[name] = root[root[name]]
            name = root[name]
        return name

    integer = [op for op in graph.ops if not isinstance(op, ir.Island)]
    first: dict[tuple[int, str], str] = {}  # (stage, tensor) -> one operator that touches it
    for op in integer:
        for tensor in (*op.inputs, *op.outputs):
            root[find(op.name)] = find(first.setdefault((stages[op.name], tensor), op.name))
    groups: dict[str, list[ir.Op]] = {}
    for op in integer:
        groups.setdefault(find(op.name), []).append(op)
    return sorted(((stages[ops[0].name], ops) for ops in groups.values()), key=lambda group: group[0])


def _subgraph(graph: ir.Graph, name: str, ops: Sequence[ir.Op]) -> ir.Graph:
    own = {op.name for op in ops}
    produced = [op.output for op in ops]
    inputs = dict.fromkeys(tensor for op in ops for tensor in op.inputs if tensor not in produced)
    outputs = [
        tensor
        for tensor in produced
        if tensor in graph.outputs or any(user.name not in own for user in graph.consumers.get(tensor, ()))
    ]
    tensors = {tensor: graph.tensors[tensor] for tensor in (*inputs, *produced)}
    return ir.Graph(name, tuple(inputs), tuple(outputs), tensors, tuple(ops), scheme=graph.scheme)
