"""What an untrusted model may cost, counted before anything is expanded, converted or run."""

from __future__ import annotations

import graphlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import onnx

from ...errors import InvalidModelError, LimitError
from ..untrusted import Text, shown

FunctionKey = tuple[Text, Text, Text]  # domain, name, overload


@dataclass(frozen=True)
class Limits:
    """Upper bounds for a model file. The defaults hold any network of the sizes that Prunus is made for."""

    file_bytes: int = 2 << 30  # also the limit of the protobuf format
    fields: int = 1_000_000  # parts of the file on the wire, contents of tensors aside
    nodes: int = 50_000  # in the file, subgraphs and functions included
    expanded_nodes: int = 200_000  # after inlining functions
    edges: int = 1_000_000  # inputs, outputs and attributes of all nodes
    nesting: int = 32  # of subgraphs and function calls in one another
    rank: int = 8
    tensor_bytes: int = 1 << 30  # of one weight or of one value at batch 1
    total_bytes: int = 4 << 30  # of all weights and all values at batch 1
    string_bytes: int = 256  # of a string attribute


def function_key(item: onnx.NodeProto | onnx.FunctionProto) -> FunctionKey:
    """What a call names, and a function answers to."""
    name = item.op_type if isinstance(item, onnx.NodeProto) else item.name
    return (item.domain, name, item.overload)


def subgraphs(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    """The graphs in a node's attributes."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def check_cost(model: onnx.ModelProto, limits: Limits) -> None:
    """Counts nodes, edges, nesting and the size after inlining; time is linear in the size of the file.

    Raises:
        LimitError: something is larger than its limit.
        InvalidModelError: a function calls itself.
    """
    counter = _Counter(limits)
    counter.graph(model.graph.node, 1)
    main = counter.take()
    functions: dict[FunctionKey, _Body] = {}
    for function in model.functions:
        counter.graph(function.node, 1)
        functions[function_key(function)] = counter.take()
    _check_expansion(main, functions, limits)


@dataclass
class _Body:
    """What lies in the graph or in one function: how often and how deep each operator is used, and tensor bytes."""

    calls: dict[FunctionKey, tuple[int, int]] = field(default_factory=dict)  # operator -> (uses, depth)
    depth: int = 1
    size: int = 0


class _Counter:
    """Counts what lies in the file itself, over the graph and all functions together."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._nodes = 0
        self._edges = 0
        self._body = _Body()

    def take(self) -> _Body:
        """What was counted since the last call."""
        taken, self._body = self._body, _Body()
        return taken

    def graph(self, nodes: Sequence[onnx.NodeProto], depth: int) -> None:
        if depth > self._limits.nesting:
            raise too_large("The model nests subgraphs too deeply.", "nesting-limit", depth, self._limits.nesting)
        body = self._body
        body.depth = max(body.depth, depth)
        for node in nodes:
            self._nodes += 1
            if self._nodes > self._limits.nodes:
                raise too_large("The model has too many nodes.", "node-limit", self._nodes, self._limits.nodes)
            self._edges += len(node.input) + len(node.output) + len(node.attribute)
            key = function_key(node)
            uses, deepest = body.calls.get(key, (0, 0))
            body.calls[key] = (uses + 1, max(deepest, depth))
            body.size += sum(attribute.ByteSize() for attribute in node.attribute if attribute.HasField("t"))
            for inner in subgraphs(node):
                self.graph(inner.node, depth + 1)
        if self._edges > self._limits.edges:
            raise too_large("The model has too many edges.", "edge-limit", self._edges, self._limits.edges)


def _check_expansion(main: _Body, functions: dict[FunctionKey, _Body], limits: Limits) -> None:
    """Nodes, bytes and depth after inlining, by memoised arithmetic: no call is ever expanded here."""
    callees = {key: [name for name in body.calls if name in functions] for key, body in functions.items()}
    try:
        order = list(graphlib.TopologicalSorter(callees).static_order())
    except graphlib.CycleError as error:
        raise InvalidModelError(
            "A function of the model calls itself.",
            code="recursive-function",
            where=shown(error.args[1][0][1]),
            why="Calls go round: " + " -> ".join(shown(key[1]) for key in error.args[1][:8]) + ".",
            hint="Export the model without recursive functions.",
        ) from error
    cost: dict[FunctionKey, _Cost] = {}
    for key in order:
        cost[key] = _expanded(functions[key], cost)
    nodes, size, depth = _expanded(main, cost)
    if nodes > limits.expanded_nodes:
        raise too_large(
            "The model's functions expand to too many nodes.", "expansion-limit", nodes, limits.expanded_nodes
        )
    if size > limits.total_bytes:
        raise too_large("The model's functions expand to too many bytes.", "total-limit", size, limits.total_bytes)
    if depth > limits.nesting:
        raise too_large("Functions and subgraphs are nested too deeply.", "nesting-limit", depth, limits.nesting)


_Cost = tuple[int, int, int]  # nodes, bytes, depth


def _expanded(body: _Body, cost: dict[FunctionKey, _Cost]) -> _Cost:
    """What a body costs once every call in it is replaced by the function's own body."""
    nodes, size, depth = 0, body.size, body.depth
    for key, (uses, at_depth) in body.calls.items():
        inner_nodes, inner_size, inner_depth = cost.get(key, (1, 0, 0))
        nodes += uses * inner_nodes
        size += uses * inner_size
        depth = max(depth, at_depth + inner_depth)
    return nodes, size, depth


def too_large(what: str, code: str, found: int, limit: int) -> LimitError:
    """The error for a count above its limit."""
    number = f"{found:,}" if found < 10**18 else "more than 10^18"
    return LimitError(what, code=code, why=f"Found {number}; the limit is {limit:,}.", hint=RAISE_HINT)


RAISE_HINT = "If you trust the file, load it from Python with larger Limits."
