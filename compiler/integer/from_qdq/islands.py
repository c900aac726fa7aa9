"""What stays in floating point: maximal float regions, each a self-contained ONNX model inside one Island operator."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir

from ...errors import UnsupportedError
from ...model.model import IR_VERSION
from ...model.shapes import BATCH
from .. import graph as ir
from .reader import Reader
from .reasons import REASONS
from .values import Constant, Function, Integer, NotIntegerError, Pending, View

Ends = tuple[Sequence[str], Sequence[str]]  # names of what goes in, and of what comes out

MOVEMENT = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity", "Dropout"})
# Reasons that merely follow from a neighbour's; a region is named after the first other one that it holds.
_CONSEQUENCES = ("no-output-q", "no-input-q", "terminal-softmax")


def add_islands(reader: Reader) -> ir.Graph:
    """Completes the graph: dequantizations and islands where float values are asked for, dead operators removed."""
    outputs = [_output_name(reader, value) for value in reader.model.graph.outputs]
    wanted = [value for value in reader.model.graph.outputs if not isinstance(reader.values[str(value.name)], Integer)]
    produced = {str(value.name): value for node in reader.model.graph for value in node.outputs if value.name}
    wanted += [produced[op.inputs[0]] for op in reader.ops if isinstance(op, ir.Quantize) and op.inputs[0] in produced]
    nodes, asked = _float_nodes(reader, wanted), {str(value.name) for value in wanted}
    for region in _regions(nodes, _phases(reader, nodes, asked)):
        _emit_island(reader, region, nodes, asked)
    ops = _alive(_sorted(reader.ops), outputs)
    inputs = tuple(str(value.name) for value in reader.model.graph.inputs if str(value.name) in reader.tensors)
    used = {*inputs, *outputs, *(name for op in ops for name in (*op.inputs, *op.outputs))}
    tensors = {name: tensor for name, tensor in reader.tensors.items() if name in used}
    name = reader.model.graph.name or "model"
    return ir.Graph(name, inputs, tuple(outputs), tensors, tuple(ops), reader.formats.scheme)


def _output_name(reader: Reader, value: onnx_ir.Value) -> str:
    known = reader.values[str(value.name)]
    if isinstance(known, Constant):
        raise UnsupportedError(
            "A graph output does not depend on the inputs.",
            code="constant-output",
            where=reader.model.original(str(value.name)),
            hint="Remove the output; it is the same for every input.",
        )
    return reader.tensor(value) if isinstance(known, Integer) else str(value.name)


# -- which nodes are float, and which of them belong together -------------------------------------------------------


def _float_nodes(reader: Reader, wanted: Iterable[onnx_ir.Value]) -> list[onnx_ir.Node]:
    """The nodes needed to compute the wanted float values, in graph order; emits a Dequantize at every border."""
    found: set[onnx_ir.Node] = set()
    seen: set[str] = set()
    todo = list(wanted)
    while todo:
        value = todo.pop()
        name = str(value.name)
        if name in seen:
            continue
        seen.add(name)
        known = reader.values[name]
        if isinstance(known, View):
            reader.dequantize(value)
        elif not isinstance(known, Constant):
            node = value.producer()
            if node is not None and node not in found:
                found.add(node)
                todo.extend(v for v in node.inputs if v is not None)
    return [node for node in reader.model.graph if node in found]


def _ends(node: onnx_ir.Node) -> Ends:
    return [str(v.name) for v in node.inputs if v is not None], [str(v.name) for v in node.outputs if v.name]


def _order(items: Sequence[Ends]) -> list[int]:
    """A topological order of the items, the original order wherever there is a choice."""
    producer = {name: index for index, (_, outputs) in enumerate(items) for name in outputs}
    needs = [{producer[name] for name in inputs if name in producer} for inputs, _ in items]
    users: list[list[int]] = [[] for _ in items]
    for index, sources in enumerate(needs):
        for source in sources:
            users[source].append(index)
    missing = [len(sources) for sources in needs]
    ready = [index for index, count in enumerate(missing) if count == 0]
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for user in users[index]:
            missing[user] -= 1
            if missing[user] == 0:
                heapq.heappush(ready, user)
    return order


def _phases(reader: Reader, nodes: list[onnx_ir.Node], wanted: set[str]) -> list[int]:
    """Per float node: how often the way from the inputs to it crosses from integer to float, at most.

    No way between two nodes of one phase leads through an integer operator, so they may share an island. A node whose
    values are used in later phases only waits for the first of those.
    """
    items: list[Ends] = [*((op.inputs, op.outputs) for op in reader.ops), *(_ends(node) for node in nodes)]
    order = _order(items)
    phase: dict[str, int] = {}
    for index in order:
        inputs, outputs = items[index]
        crosses = index < len(reader.ops) and isinstance(reader.ops[index], ir.Dequantize)
        phase.update(dict.fromkeys(outputs, max((phase.get(name, 0) for name in inputs), default=0) + crosses))
    first_use: dict[str, int] = {name: phase[name] for name in wanted if name in phase}
    for index in reversed([index for index in order if index >= len(reader.ops)]):
        inputs, outputs = items[index]
        own = min(first_use[name] for name in outputs if name in first_use)
        phase.update(dict.fromkeys(outputs, own))
        for name in inputs:
            first_use[name] = min(own, first_use.get(name, own))
    return [phase[items[len(reader.ops) + index][1][0]] for index in range(len(nodes))]


def _regions(nodes: list[onnx_ir.Node], phases: list[int]) -> list[list[onnx_ir.Node]]:
    """The connected parts of each phase, in graph order."""
    index_of = {name: index for index, node in enumerate(nodes) for name in _ends(node)[1]}
    root = list(range(len(nodes)))

    def find(index: int) -> int:
        while root[index] != index:
            root[index] = root[root[index]]
            index = root[index]
        return index

    for index, node in enumerate(nodes):
        for name in _ends(node)[0]:
            if name in index_of and phases[index_of[name]] == phases[index]:
                first, second = sorted((find(index_of[name]), find(index)))
                root[second] = first
    regions: dict[int, list[onnx_ir.Node]] = {}
    for index, node in enumerate(nodes):
        regions.setdefault(find(index), []).append(node)
    return list(regions.values())


# -- one island -------------------------------------------------------------------------------------------------------


def _emit_island(reader: Reader, region: list[onnx_ir.Node], nodes: list[onnx_ir.Node], wanted: set[str]) -> None:
    inside = {name for node in region for name in _ends(node)[1]}
    outside = {name for node in nodes if node not in region for name in _ends(node)[0]} | wanted
    values = {str(v.name): v for node in region for v in (*node.inputs, *node.outputs) if v is not None}
    read = dict.fromkeys(name for node in region for name in _ends(node)[0])
    inputs = [n for n in read if n not in inside and not isinstance(reader.values[n], Constant)]
    outputs = [name for node in region for name in _ends(node)[1] if name in outside]
    for name in (*inputs, *outputs):
        _border(reader, values[name])
    reason, detail = _reason(reader, region)
    op = ir.Island(
        name=reader.op_name(str(region[0].name)),
        inputs=tuple(inputs),
        output=outputs[0],
        extra_outputs=tuple(outputs[1:]),
        origin=tuple(str(node.name) for node in region),
        model=_island_model(reader, region, inputs, outputs, values),
        reason=reason,
        hint=f"{detail[0].upper()}{detail[1:]}. {REASONS[reason]}" if detail else REASONS[reason],
    )
    reader.ops.append(op)


def _border(reader: Reader, value: onnx_ir.Value) -> None:
    """Registers a float tensor that enters or leaves an island; it must carry the batch."""
    name = str(value.name)
    if name in reader.tensors:
        return
    try:
        shape = reader.sample_shape(value)
    except NotIntegerError as refusal:
        raise UnsupportedError(
            "A value at the border of a float part has no batch dimension in front.",
            code="batch-not-leading",
            where=reader.model.original(name),
            why=f"Its shape is {value.shape}.",
            hint="Keep the batch as the first dimension of every value.",
        ) from refusal
    dtype = onnx_ir.DataType.FLOAT if value.dtype is None else value.dtype
    reader.tensors[name] = ir.Tensor(name, shape, None, str(dtype.numpy()))


def _reason(reader: Reader, region: list[onnx_ir.Node]) -> tuple[str, str]:
    """(code, detail): the first reason in the region that is not the consequence of another one."""
    found: list[tuple[str, str]] = []
    for node in region:
        refusal = reader.refusals.get(str(node.name))
        if refusal is not None:
            found.append((refusal.code, refusal.detail))
        elif node.op_type not in MOVEMENT and isinstance(reader.values[_ends(node)[1][0]], Pending | Function):
            found.append(("no-output-q", ""))
    found = found or [("no-input-q", "")]
    rank = {code: index for index, code in enumerate(_CONSEQUENCES)}
    return min(found, key=lambda reason: rank.get(reason[0], -1))


def _island_model(
    reader: Reader,
    region: list[onnx_ir.Node],
    inputs: list[str],
    outputs: list[str],
    values: dict[str, onnx_ir.Value],
) -> bytes:
    """The region as a model of its own: symbolic batch, plain names, weights inside as floats."""
    graph = onnx.GraphProto(name="island")
    for names, infos in ((inputs, graph.input), (outputs, graph.output)):
        for name in names:
            tensor = reader.tensors[name]
            kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
            infos.append(onnx.helper.make_tensor_value_info(name, kind, [BATCH, *tensor.shape]))
    for node in region:
        copy = onnx_ir.to_proto(node)
        if node.op_type == "Reshape":
            _free_batch(reader, node, copy, graph)
        graph.node.append(copy)
    for name in dict.fromkeys(name for node in graph.node for name in node.input):
        constant = reader.values.get(name)
        if isinstance(constant, Constant):
            graph.initializer.append(onnx.numpy_helper.from_array(_stated(constant), name))
    opsets = sorted(reader.model.ir.opset_imports.items())
    model = onnx.ModelProto(
        ir_version=IR_VERSION, graph=graph, opset_import=[onnx.helper.make_opsetid(*opset) for opset in opsets]
    )
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _stated(constant: Constant) -> npt.NDArray[Any]:
    """The numbers of a constant as the model states them: dequantized weights as float32.

    A DequantizeLinear inside the island would invite the runtime to compute in integers after all.
    """
    return constant.q if constant.scale is None else constant.real.astype(np.float32)


def _free_batch(reader: Reader, node: onnx_ir.Node, copy: onnx.NodeProto, graph: onnx.GraphProto) -> None:
    """Lets a Reshape to a fixed batch follow the batch that comes in."""
    shape = reader.constant(node.inputs[1])
    if shape is None or shape.q.size == 0 or shape.q.reshape(-1)[0] <= 0:
        return
    try:
        sample = reader.sample_shape(node.outputs[0])
    except NotIntegerError:
        return
    copy.input[1] = reader.fresh(copy.input[1])
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, *sample], np.int64), copy.input[1]))


# -- order ----------------------------------------------------------------------------------------------------------


def _sorted(ops: list[ir.Op]) -> list[ir.Op]:
    return [ops[index] for index in _order([(op.inputs, op.outputs) for op in ops])]


def _alive(ops: list[ir.Op], outputs: Iterable[str]) -> list[ir.Op]:
    """The operators that an output depends on; `ops` in topological order."""
    needed = set(outputs)
    kept: list[ir.Op] = []
    for op in reversed(ops):
        if needed & set(op.outputs):
            needed.update(op.inputs)
            kept.append(op)
    return kept[::-1]
