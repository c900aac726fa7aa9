"""Hostile names out, plain names in.

A model's graph is rebuilt from what Prunus knows and needs: operators, checked attributes, data flow. Every name is
replaced, function calls are inlined, weights are taken out; documentation, metadata and whatever else a file may carry
stay behind. The new names depend on the structure alone, so two models that differ in names only become the same bytes.
"""

from __future__ import annotations

import heapq
from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from ...errors import InvalidModelError, UnsupportedError
from ..shapes import SymbolicType
from ..untrusted import Text, kept, shown
from .external import ExternalData
from .limits import FunctionKey, Limits, function_key, subgraphs
from .operators import check_operator
from .qonnx import FakeQuantizer, is_qonnx, read_quantizer
from .qoperator import expanded
from .tensors import read_tensor

Array = npt.NDArray[Any]
_Bound = dict[Text, onnx.AttributeProto | None]  # the attributes of a function, None where the call leaves one out

_FIELDS = {  # where each type of attribute keeps its value
    onnx.AttributeProto.FLOAT: "f",
    onnx.AttributeProto.INT: "i",
    onnx.AttributeProto.STRING: "s",
    onnx.AttributeProto.FLOATS: "floats",
    onnx.AttributeProto.INTS: "ints",
    onnx.AttributeProto.STRINGS: "strings",
}


@dataclass
class Plain:
    """A graph without a single name of the user's; constants apart from it."""

    graph: onnx.GraphProto = field(default_factory=lambda: onnx.GraphProto(name="graph"))
    constants: dict[str, Array] = field(default_factory=dict)  # in the order of first use
    names: dict[str, str] = field(default_factory=dict)  # plain -> the user's
    declared: dict[str, onnx.ValueInfoProto] = field(default_factory=dict)  # inputs, as the file declares them
    quantizers: dict[str, FakeQuantizer] = field(default_factory=dict)  # by the output of the Identity in its place
    inputs: dict[str, SymbolicType] = field(default_factory=dict)  # inputs, once `fix_inputs` has settled their types


def plain(model: onnx.ModelProto, opset: int, external: ExternalData, limits: Limits) -> Plain:
    """Rebuilds the main graph under plain names (`v1`, `m1`, …; the final names are given once the graph is final).

    Raises:
        InvalidModelError: undefined or doubly defined values, cycles, senseless nodes or tensors.
        UnsupportedError: what Prunus does not compile. LimitError: what is too large.
    """
    return _Renamer(model, opset, external, limits).run()


@dataclass
class _Scope:
    """What is in sight: values that have a plain name, and constants of the file that get one when first used."""

    names: ChainMap[Text, str]
    initializers: Mapping[Text, onnx.TensorProto]

    def child(self) -> _Scope:
        return _Scope(self.names.new_child(), self.initializers)


class _Renamer:
    def __init__(self, model: onnx.ModelProto, opset: int, external: ExternalData, limits: Limits) -> None:
        self._model = model
        self._opset = opset
        self._external = external
        self._limits = limits
        self._plain = Plain()
        self._count = 0
        self._functions = {function_key(function): function for function in model.functions}
        self._sorted: dict[FunctionKey, list[onnx.NodeProto]] = {}
        if len(self._functions) != len(model.functions):
            raise _invalid("duplicate-name", "", "Two functions have the same name.")
        if len(model.graph.sparse_initializer):
            raise UnsupportedError(
                "The model stores sparse tensors.", code="sparse-tensor", hint="Export the weights as dense tensors."
            )

    def run(self) -> Plain:
        graph, result = self._model.graph, self._plain
        initializers = _unique(graph.initializer, "initializer")
        scope = _Scope(ChainMap(), initializers)
        for name, info in _unique(graph.input, "input").items():
            if name not in initializers:  # old files list their weights as inputs, too
                result.declared[self._define(name, scope.names)] = info
        if not graph.output:
            raise _invalid("no-outputs", "", "The graph has no outputs.", "Name the outputs when exporting.")
        self._add_nodes(_in_order(graph.node), scope, {}, result.graph.node, lift=True)
        for name in _unique(graph.output, "output"):
            result.graph.output.append(onnx.ValueInfoProto(name=self._resolve(name, scope)))
        return result

    def _define(self, name: Text, scope: MutableMapping[Text, str]) -> str:
        self._count += 1
        fresh = f"v{self._count}"
        scope[name] = fresh
        self._plain.names[fresh] = kept(name)
        return fresh

    def _resolve(self, name: Text, scope: _Scope) -> str:
        """The plain name of a value that a node or the graph's outputs use."""
        if name in scope.names:
            return scope.names[name]
        if name in scope.initializers:
            fresh = self._define(name, scope.names.maps[-1])
            self._plain.constants[fresh] = self._read(scope.initializers[name], name)
            return fresh
        raise _invalid("undefined-value", name, "It is used, but no node, input or initializer defines it.")

    def _read(self, tensor: onnx.TensorProto, where: Text) -> Array:
        return read_tensor(tensor, where, self._external, self._limits)

    def _add_nodes(
        self, nodes: Iterable[onnx.NodeProto], scope: _Scope, bound: _Bound, into: Any, *, lift: bool
    ) -> None:
        """Appends plain copies. `bound`: attributes of the enclosing call; `lift`: constants leave the graph."""
        for node in nodes:
            key = function_key(node)
            node = _with_bound_attributes(node, bound)
            if key in self._functions:
                self._inline(node, key, scope, into, lift=lift)
                continue
            if is_qonnx(node):
                self._add_quantizer(node, scope, into, lift=lift)
                continue
            standard = expanded(node, self._opset, self._count)
            if standard is not None:
                self._add_nodes(standard, scope, bound, into, lift=lift)
                continue
            check_operator(node, self._opset, self._limits)
            if node.op_type == "Constant":
                self._add_constant(node, scope, into, lift=lift)
            else:
                self._add_node(node, scope, bound, into)

    def _add_quantizer(self, node: onnx.NodeProto, scope: _Scope, into: Any, *, lift: bool) -> None:
        """An Identity in place of a QONNX quantizer, until the model is at an opset that has quantizers."""
        if not lift:
            raise UnsupportedError(
                "A branch of the model quantizes.", code="qonnx", where=shown(node.name), hint="Export it without If."
            )
        names = [self._resolve(name, scope) if name else "" for name in node.input]
        constants = [self._plain.constants.get(name) for name in names] or [None]
        quantizer = read_quantizer(node, constants[0], constants[1:])
        identity = onnx.NodeProto(op_type="Identity", name=node.name, input=node.input[:1], output=node.output)
        self._add_node(identity, scope, {}, into)
        self._plain.quantizers[into[-1].output[0]] = quantizer

    def _add_node(self, node: onnx.NodeProto, scope: _Scope, bound: _Bound, into: Any) -> None:
        copy = onnx.NodeProto(op_type=node.op_type)
        self._count += 1
        copy.name = f"m{self._count}"
        self._plain.names[copy.name] = kept(node.name)
        copy.input.extend(self._resolve(name, scope) if name else "" for name in node.input)
        for attribute in sorted(node.attribute, key=lambda item: item.name):
            copy.attribute.append(self._attribute(attribute, node, scope, bound))
        copy.output.extend(self._define_once(name, scope) if name else "" for name in node.output)
        into.append(copy)

    def _define_once(self, name: Text, scope: _Scope) -> str:
        outermost = len(scope.names.maps) == 1
        if name in scope.names.maps[0] or (outermost and name in scope.initializers):
            raise _invalid("duplicate-value", name, "Two nodes, inputs or initializers define it.")
        return self._define(name, scope.names.maps[0])

    def _attribute(
        self, attribute: onnx.AttributeProto, node: onnx.NodeProto, scope: _Scope, bound: _Bound
    ) -> onnx.AttributeProto:
        copy = onnx.AttributeProto(name=attribute.name, type=attribute.type)
        if attribute.type == onnx.AttributeProto.TENSOR:
            copy.t.CopyFrom(numpy_helper.from_array(self._read(attribute.t, node.name or node.output[0])))
        elif attribute.type == onnx.AttributeProto.GRAPH:
            copy.g.CopyFrom(self._subgraph(attribute.g, scope, bound))
        else:
            name = _FIELDS[attribute.type]
            value = getattr(attribute, name)
            if isinstance(value, int | float | bytes):
                setattr(copy, name, value)
            else:
                getattr(copy, name).extend(value)
        return copy

    def _subgraph(self, graph: onnx.GraphProto, scope: _Scope, bound: _Bound) -> onnx.GraphProto:
        """A branch: it sees the values around it; its own stay its own."""
        inner = scope.child()
        copy = onnx.GraphProto(name="graph")
        if graph.input or graph.sparse_initializer:
            raise _invalid("subgraph", graph.name, "A branch of an If has inputs of its own.")
        for name, tensor in _unique(graph.initializer, "initializer").items():
            array = self._read(tensor, name)
            copy.initializer.append(numpy_helper.from_array(array, self._define_once(name, inner)))
        self._add_nodes(_in_order(graph.node), inner, bound, copy.node, lift=False)
        copy.output.extend(onnx.ValueInfoProto(name=self._resolve(value.name, inner)) for value in graph.output)
        return copy

    def _add_constant(self, node: onnx.NodeProto, scope: _Scope, into: Any, *, lift: bool) -> None:
        array = self._constant(node)
        name = self._define_once(node.output[0], scope)
        if lift:
            self._plain.constants[name] = array
        else:
            value = onnx.helper.make_attribute("value", numpy_helper.from_array(array))
            into.append(onnx.NodeProto(op_type="Constant", output=[name], attribute=[value]))

    def _constant(self, node: onnx.NodeProto) -> Array:
        """What a Constant node holds, in whichever attribute."""
        where = node.name or node.output[0]
        if len(node.attribute) != 1:
            raise _invalid("constant", where, "A Constant needs exactly one value.")
        value = node.attribute[0]
        if value.name == "value":
            return self._read(value.t, where)
        if value.name in ("value_float", "value_floats"):
            return np.asarray(value.f if value.name == "value_float" else value.floats, dtype=np.float32)
        if value.name in ("value_int", "value_ints"):
            return np.asarray(value.i if value.name == "value_int" else value.ints, dtype=np.int64)
        raise UnsupportedError(
            "The model holds a constant that is not a dense tensor of numbers.",
            code="element-type",
            where=shown(where),
            hint="Export the model with dense numeric constants.",
        )

    def _inline(self, call: onnx.NodeProto, key: FunctionKey, scope: _Scope, into: Any, *, lift: bool) -> None:
        """Puts a function's body in place of a call; its values get names of their own for each call."""
        function = self._functions[key]
        self._check_call(call, function)
        bound: _Bound = dict.fromkeys(function.attribute)
        bound |= {attribute.name: attribute for attribute in [*function.attribute_proto, *call.attribute]}
        given = [self._resolve(name, scope) if name else "" for name in call.input]
        given += [""] * (len(function.input) - len(given))
        inner = _Scope(ChainMap(dict(zip(function.input, given, strict=True))), {})
        if key not in self._sorted:
            self._sorted[key] = _in_order(function.node)
        self._add_nodes(self._sorted[key], inner, bound, into, lift=lift)
        inside = [self._resolve(name, inner) for name in function.output]
        for outer, value in zip(call.output, inside, strict=False):
            if outer:  # an Identity keeps each value's one definition; normalising removes it
                into.append(onnx.NodeProto(op_type="Identity", input=[value], output=[self._define_once(outer, scope)]))

    def _check_call(self, call: onnx.NodeProto, function: onnx.FunctionProto) -> None:
        name = shown(function.name)
        versions = {opset.version for opset in function.opset_import if opset.domain in ("", "ai.onnx")}
        if versions - {self._opset}:
            raise UnsupportedError(
                f"Function {name} uses another opset than the model.",
                code="function-opset",
                where=shown(call.name),
                why=f"The function imports {sorted(versions)}, the model {self._opset}.",
                hint="Inline it first: onnx.inliner.inline_local_functions(model, convert_version=True).",
            )
        if len(call.input) > len(function.input) or len(call.output) > len(function.output):
            raise _invalid("operator-arity", call.name, f"The call does not fit function {name}.")
        if any(
            attribute.HasField("g") or attribute.graphs for attribute in [*call.attribute, *function.attribute_proto]
        ):
            raise UnsupportedError(
                f"Function {name} takes a graph as an attribute.",
                code="function-attribute",
                where=shown(call.name),
                hint="Inline the functions before exporting.",
            )
        if len(set(function.input)) != len(function.input):
            raise _invalid("duplicate-name", function.name, "Two inputs of the function have the same name.")


def _with_bound_attributes(node: onnx.NodeProto, bound: _Bound) -> onnx.NodeProto:
    """The node with references to attributes of the enclosing function replaced by the call's values."""
    if not any(attribute.ref_attr_name for attribute in node.attribute):
        return node
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    del copy.attribute[:]
    for attribute in node.attribute:
        source = attribute.ref_attr_name
        if not isinstance(attribute.name, str) or (source and source not in bound):
            raise _invalid("attribute-reference", attribute.name, "It refers to no attribute of a function around it.")
        value = bound[source] if source else attribute
        if value is not None:  # an attribute that the call leaves out keeps the operator's default
            copy.attribute.add().CopyFrom(value)
            copy.attribute[-1].name = attribute.name
    return copy


def _unique(items: Iterable[Any], what: str) -> dict[Text, Any]:
    named: dict[Text, Any] = {}
    for item in items:
        if not item.name:
            raise _invalid("empty-name", "", f"An {what} of the graph has no name.")
        if item.name in named:
            raise _invalid("duplicate-name", item.name, f"Two {what}s of the graph have this name.")
        named[item.name] = item
    return named


def _in_order(nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes so that each comes after those it reads from; as in the file where that is already so.

    Raises:
        InvalidModelError: two nodes define one value, or nodes form a cycle.
    """
    producer: dict[Text, int] = {}
    for index, node in enumerate(nodes):
        for name in filter(None, node.output):
            if name in producer:
                raise _invalid("duplicate-value", name, "Two nodes define it.")
            producer[name] = index
    sources = [{producer[name] for name in _reads(node) if name in producer} for node in nodes]
    if all(source < index for index, found in enumerate(sources) for source in found):
        return list(nodes)
    users: list[list[int]] = [[] for _ in nodes]
    for index, found in enumerate(sources):
        for source in found:
            users[source].append(index)
    waiting = [len(found) for found in sources]
    ready = [index for index, count in enumerate(waiting) if count == 0]
    order: list[onnx.NodeProto] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(nodes[index])
        for user in users[index]:
            waiting[user] -= 1
            if waiting[user] == 0:
                heapq.heappush(ready, user)
    if len(order) != len(nodes):
        stuck = next(index for index, count in enumerate(waiting) if count > 0)
        raise _invalid("cycle", next(iter(nodes[stuck].output), ""), "It depends on itself.")
    return order


def _reads(node: onnx.NodeProto) -> set[Text]:
    """Names that a node reads, those its subgraphs take from outside included."""
    names = set(filter(None, node.input))
    for graph in subgraphs(node):
        own = {name for inner in graph.node for name in inner.output} | {item.name for item in graph.initializer}
        names |= {name for inner in graph.node for name in _reads(inner)} - own
        names |= {value.name for value in graph.output} - own
    return names


def _invalid(code: str, where: Text, why: str, hint: str | None = None) -> InvalidModelError:
    return InvalidModelError(
        "The graph of the model is not valid.",
        code=code,
        where=shown(where) or None,
        why=why,
        hint=hint
        or "Correct it where the model is made (onnx.checker.check_model finds such faults), and export it again.",
    )
