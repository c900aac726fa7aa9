"""Which tensors of a float model become integers, and which of them share one type: read from the graph alone.

Every output of an integer operator is a point: it gets one QuantizeLinear -> DequantizeLinear pair, placed after the
Relu or Clip that follows the operator. So is every float value that an integer operator reads.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import onnx_ir as ir

from ..target import Formats
from .operators import NONNEGATIVE, Linear, Operator, Refusal, bounds, classify

ANCHORS = ("linear", "binary", "pool")  # worth leaving floating point for; the other roles follow their inputs
SAME_TYPE = ("move", "clamp")  # input and output share one type
Source = Literal["integer", "float", "input"]


@dataclass(frozen=True, eq=False)
class Point:
    """One tensor stored as integers. `source` says who makes it: an integer operator, a float one, or the caller."""

    value: ir.Value
    source: Source


@dataclass(frozen=True, eq=False)
class Group:
    """Points of one type. `roots` are the points whose ranges decide it; `softmax` marks a type fixed at 1/256.

    `border` says that integers begin or end here: the caller or a float operator gives or reads one of the points.
    """

    points: tuple[Point, ...]
    roots: tuple[ir.Value, ...]
    nonnegative: bool
    softmax: bool = False
    border: bool = False


@dataclass(frozen=True, eq=False)
class Plan:
    """What `qdq.write` carries out. `integer` holds the operators that run on integers, in graph order."""

    groups: tuple[Group, ...]
    integer: tuple[Operator, ...]
    refused: tuple[tuple[ir.Node, Refusal], ...]

    @property
    def linears(self) -> tuple[Linear, ...]:
        return tuple(each for each in self.integer if isinstance(each, Linear))


def plan(graph: ir.Graph, formats: Formats, floating: Collection[str] = ()) -> Plan:
    """Plans the quantization of a float graph whose values have types and shapes. Nodes in `floating` stay."""
    return _Planner(graph, formats, floating).plan()


class _Planner:
    """Works on one graph; the steps run in the order of `plan`."""

    def __init__(self, graph: ir.Graph, formats: Formats, floating: Collection[str]) -> None:
        self.graph = graph
        self.formats = formats
        self.floating = frozenset(floating)
        self.operators: dict[ir.Node, Operator] = {}
        self.refused: list[tuple[ir.Node, Refusal]] = []
        self.fused: set[ir.Node] = set()  # Relu, Clip and bias nodes that belong to the operator before them
        self.results: dict[ir.Node, tuple[ir.Value, ...]] = {}  # what an operator and its fused nodes leave behind
        self.points: dict[ir.Value, Point] = {}
        self.parent: dict[ir.Value, ir.Value] = {}

    def plan(self) -> Plan:
        self._classify()
        self._settle_followers()
        self._make_points()
        self._unite()
        integer = tuple(self.operators[node] for node in self.graph if node in self.operators)
        return Plan(self._groups(), integer, tuple(self.refused))

    # -- which operators ------------------------------------------------------------------------------------------

    def _classify(self) -> None:
        for node in self.graph:
            if node in self.fused:
                continue
            found = classify(node)
            if node.name in self.floating:
                found = Refusal("float-fallback", "its quantization did too much damage")
            if isinstance(found, Refusal):
                self.refused.append((node, found))
                continue
            self.operators[node] = found
            self.results[node] = tuple(node.outputs) if found.role not in ANCHORS else (self._fuse(found),)

    def _fuse(self, operator: Operator) -> ir.Value:
        """Absorbs the bias, Relu and Clip nodes right after an operator; returns the value that they end in."""
        value = operator.node.outputs[0]
        if isinstance(operator, Linear) and operator.bias_node is not None:
            self.fused.add(operator.bias_node)
            value = operator.output
        while True:
            users = [user for user, _ in value.uses()]
            if len(users) != 1 or value.is_graph_output() or users[0].graph is not self.graph:
                return value
            found = classify(users[0])
            if isinstance(found, Refusal) or found.role != "clamp":
                return value
            self.fused.add(users[0])
            value = users[0].outputs[0]

    def _settle_followers(self) -> None:
        """Operators that are no anchors stay in floating point unless their neighbours are integer."""
        anchored = {node for node, each in self.operators.items() if each.role in ANCHORS}
        anchored |= self.fused
        for node in self.graph:
            operator = self.operators.get(node)
            if operator is None or node in anchored or operator.role == "softmax":
                continue
            if any(value.producer() in anchored for value in operator.inputs):
                anchored.add(node)
        for node in reversed(self.graph):
            operator = self.operators.get(node)
            if operator is None or node in anchored or operator.role == "unary":
                continue
            used = any(user in anchored for output in node.outputs for user, _ in output.uses())
            if used and (operator.role != "softmax" or self.formats.softmax == "integer"):
                anchored.add(node)
        floating = [node for node in self.operators if node not in anchored]
        softmaxes = [node for node in floating if self.operators[node].role == "softmax"]
        for node in floating:
            del self.operators[node]
        self.refused += [(node, self._softmax_refusal(node)) for node in softmaxes]

    def _softmax_refusal(self, node: ir.Node) -> Refusal:
        if self._reaches_integers(node):
            return Refusal("softmax-float", self.formats.reasons.get("softmax", "the device keeps Softmax in float"))
        return Refusal("softmax-terminal", "compare the logits where integers matter")

    def _reaches_integers(self, node: ir.Node) -> bool:
        """Whether an integer operator comes after a node."""
        seen, waiting = {node}, [node]
        while waiting:
            for user in (user for output in waiting.pop().outputs for user, _ in output.uses()):
                if user in self.operators or user in self.fused:
                    return True
                if user not in seen:
                    seen.add(user)
                    waiting.append(user)
        return False

    # -- which tensors --------------------------------------------------------------------------------------------

    def _make_points(self) -> None:
        made = {value for node in self.operators for value in self.results[node]}
        for node in self.graph:
            operator = self.operators.get(node)
            if operator is None:
                continue
            for value in operator.inputs:
                if value not in made and value not in self.points:
                    self.points[value] = Point(value, "input" if value.is_graph_input() else "float")
            for value in self.results[operator.node]:
                if value.is_graph_output() or any(True for _ in value.uses()):
                    self.points[value] = Point(value, "integer")

    # -- which of them share a type -------------------------------------------------------------------------------

    def _find(self, value: ir.Value) -> ir.Value:
        while self.parent.get(value, value) is not value:
            value = self.parent[value]
        return value

    def _union(self, a: ir.Value, b: ir.Value) -> None:
        a, b = self._find(a), self._find(b)
        if a is not b:
            self.parent[b] = a

    def _unite(self) -> None:
        for operator in self.operators.values():
            if operator.role in SAME_TYPE:
                for value in self.results[operator.node]:
                    self._union(operator.inputs[0], value)
        for operator in self.operators.values():
            if operator.role == "concat":
                for value in operator.inputs:
                    if self._feeds_only(value, operator.node):
                        self._union(operator.node.outputs[0], value)

    def _feeds_only(self, value: ir.Value, concat: ir.Node) -> bool:
        """Whether a tensor (with all that shares its type) is read by nothing but `concat`: a common scale is free."""
        root = self._find(value)
        for member in [other for other in self.points if self._find(other) is root]:
            if member.is_graph_output() or self.points[member].source == "input":
                return False
            for user, _ in member.uses():
                operator = self.operators.get(user)
                if user is not concat and (operator is None or operator.role not in SAME_TYPE):
                    return False
        return True

    def _groups(self) -> tuple[Group, ...]:
        members: dict[ir.Value, list[Point]] = {}
        for value, point in self.points.items():
            members.setdefault(self._find(value), []).append(point)
        nonnegative: dict[ir.Value, bool] = {}
        for value in self.points:
            nonnegative[value] = self._nonnegative(value, nonnegative)
        groups = []
        for points in members.values():
            roots = tuple(point.value for point in points if self._is_root(point.value))
            softmax = any(
                self.operators[producer].role == "softmax"
                for root in roots
                if (producer := root.producer()) is not None and producer in self.operators
            )
            border = any(self._is_border(point) for point in points)
            groups.append(Group(tuple(points), roots, all(nonnegative[root] for root in roots), softmax, border))
        return tuple(groups)

    def _is_border(self, point: Point) -> bool:
        """Whether someone other than an integer operator makes or reads a point."""
        readers = (user for user, _ in point.value.uses())
        return (
            point.source != "integer"
            or point.value.is_graph_output()
            or any(user not in self.operators and user not in self.fused for user in readers)
        )

    def _is_root(self, value: ir.Value) -> bool:
        """Whether the range of a point is not implied by that of others in its group."""
        producer = value.producer()
        operator = self.operators.get(producer) if producer is not None else None
        if operator is None:
            return True
        if operator.role in SAME_TYPE:
            return False
        united = all(self._find(each) is self._find(value) for each in operator.inputs)
        return operator.role != "concat" or not united

    def _nonnegative(self, value: ir.Value, known: dict[ir.Value, bool]) -> bool:
        """Whether a value cannot be below zero, whatever the data."""
        producer = value.producer()
        if producer is None:
            return False
        if producer.op_type == "Clip":
            return bounds(producer)[0] >= 0
        if producer.op_type in NONNEGATIVE:
            return True
        operator = self.operators.get(producer)
        if operator is None or operator.role not in ("move", "concat", "pool", "binary"):
            return False
        return all(known.get(each, False) for each in operator.inputs)
