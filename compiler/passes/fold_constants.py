"""FoldConstants: what depends on constants alone is computed now, within limits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_types

from ..executor import open_session
from ..model.edit import fresh_name, infer_shapes, make_initializer, weight
from ..model.match import Array, static_dims, static_size
from ..model.model import Model
from ..model.rewrite import replace_value, sweep
from ..model.shapes import all_values
from .base import Context, PassResult
from .layout import BROADCAST, REDUCE, UNARY
from .normal_form import constants, data_movement
from .normal_form.journal import Journal, Rule, apply_rules

MAX_ELEMENTS = 2**20  # of one folded constant, where it is larger than what it is computed from
MAX_TOTAL_ELEMENTS = 2**28  # of all constants folded at once

MAX_MULTIPLICATIONS = 2**32  # of one folded matrix product: seconds

RUNTIME_ERRORS = (
    runtime_types.Fail,
    runtime_types.InvalidArgument,
    runtime_types.InvalidGraph,
    runtime_types.NotImplemented,
    runtime_types.RuntimeException,
)

# Operators whose cost grows with the elements that they read and write. Others could run for hours on a small file
# (Einsum, a convolution with a huge kernel), are random, or must stay visible: quantized weights are an initializer
# behind a DequantizeLinear.
_QUANTIZERS = frozenset({"DequantizeLinear", "QuantizeLinear"})
_FOLDED = (
    (UNARY | BROADCAST | REDUCE) - _QUANTIZERS
    | {"ArgMax", "ArgMin", "BatchNormalization", "BitShift", "Compress", "Concat", "CumSum", "DepthToSpace", "Expand"}
    | {"EyeLike", "Flatten", "Gather", "GatherElements", "GatherND", "GreaterOrEqual", "IsInf", "IsNaN", "LessOrEqual"}
    | {"LogSoftmax", "Mod", "NonZero", "OneHot", "Pad", "Range", "Reshape", "ScatterElements", "ScatterND", "Slice"}
    | {"Softmax", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Trilu", "Unsqueeze"}
)

CONSTANT_RULES: dict[str, tuple[Rule, ...]] = {
    "Constant": (constants.lift_constant,),
    "ConstantOfShape": (constants.materialise_fill,),
    "Shape": (data_movement.fold_shape,),
    "Size": (data_movement.fold_shape,),
}


class FoldConstants:
    """f(c1, c2, ...) -> the constant c = f(c1, c2, ...), as onnxruntime computes it.

    Constant and ConstantOfShape nodes and the shapes of static values count as constants too. A result is stored when
    it has at most `max_elements` elements or is no larger than what it is computed from, so that a small file cannot
    ask for a huge weight. Operators whose cost is not bounded by their operands' sizes, random ones, control flow,
    Quantize/DequantizeLinear and nodes of other domains stay.
    """

    name: ClassVar[str] = "fold_constants"
    summary: ClassVar[str] = "compute what depends on constants alone"
    requires: ClassVar[tuple[str, ...]] = ()
    ensures: ClassVar[tuple[str, ...]] = ("valid", "interface")

    def __init__(self, max_elements: int = MAX_ELEMENTS) -> None:
        self.max_elements = max_elements

    def run(self, model: Model, context: Context) -> PassResult:
        work = model.clone()
        journal = Journal()
        apply_rules(work.graph, CONSTANT_RULES, journal)
        if any(value.shape is None or value.type is None for value in all_values(work.graph)):
            infer_shapes(work)
        while fold(work, journal, self.max_elements) or apply_rules(work.graph, CONSTANT_RULES, journal):
            pass
        if not journal.changed:
            return PassResult(model, False, journal.notes())
        sweep(work.graph)
        return PassResult(work, True, journal.notes())


def fold(model: Model, journal: Journal, max_elements: int = MAX_ELEMENTS) -> bool:
    """Folds everything that is constant in the main graph, in place. Returns whether anything was."""
    nodes = _foldable(model.graph, journal, max_elements)
    if not nodes:
        return False
    results = _evaluate(model, nodes)
    if results is None:
        results = {}
        for node in nodes:
            if all(weight(value) is not None for value in node.inputs if value is not None):
                single = _evaluate(model, [node])
                if single is None:
                    journal.declined("constant-not-evaluated", node, f"onnxruntime cannot compute this {node.op_type}.")
                results.update(single or {})
    for value, array in results.items():
        name, constant = value.name, make_initializer(model.graph, fresh_name(model), array)
        replace_value(value, constant)
        value.name = fresh_name(model)
        constant.name = name
    for node in reversed(nodes):
        if not any(output.uses() for output in node.outputs):
            model.graph.remove(node, safe=True)
    journal.did("folded-constants", len(results))
    return bool(results)


def _foldable(graph: ir.Graph, journal: Journal, max_elements: int) -> list[ir.Node]:
    """The nodes to fold, in topological order."""
    found: list[ir.Node] = []
    known: set[ir.Value] = set()
    total = 0
    for node in graph:
        inputs = [value for value in node.inputs if value is not None]
        if node.domain or not inputs or any(output.is_graph_output() for output in node.outputs):
            continue
        if any(value.const_value is None and value not in known for value in inputs):
            continue
        if node.op_type not in _FOLDED and not _is_small_product(node):
            if node.op_type not in _QUANTIZERS:
                journal.declined("constant-not-folded", node, f"This {node.op_type} of constants is left to run time.")
            continue
        read = sum(static_size(value) or 0 for value in inputs)
        sizes = [static_size(output) for output in node.outputs]
        written = sum(size or 0 for size in sizes)
        if None in sizes or written > max(max_elements, read) or total + written > MAX_TOTAL_ELEMENTS:
            journal.declined(
                "constant-too-large",
                node,
                f"The constant result of this {node.op_type} is not stored: it would have {written or '?'} elements.",
                f"At most {max_elements}, or as many as its inputs have, are.",
            )
            continue
        total += written
        known.update(node.outputs)
        found.append(node)
    return found


def _is_small_product(node: ir.Node) -> bool:
    """MatMul and Gemm, up to 2^32 multiplications: columns of the output times elements of the first operand."""
    sizes = [static_dims(value) for value in (*node.inputs[:2], node.outputs[0])]
    if node.op_type not in ("MatMul", "Gemm") or any(not size for size in sizes):
        return False
    left, output = sizes[0] or (), sizes[2] or ()
    return int(np.prod(left, dtype=np.int64)) * output[-1] <= MAX_MULTIPLICATIONS


def _evaluate(model: Model, nodes: Sequence[ir.Node]) -> dict[ir.Value, Array] | None:
    """The values that nodes outside of `nodes` read, computed by onnxruntime; None where it refuses."""
    inside = set(nodes)
    made = {output: None for node in nodes for output in node.outputs}
    wanted = [value for value in made if any(use.node not in inside for use in value.uses())]
    given = {
        value.name or "": value
        for node in nodes
        for value in node.inputs
        if value is not None and value not in set(made)
    }
    graph = onnx.GraphProto(name="constants", node=[ir.to_proto(node) for node in nodes])
    graph.input.extend(_info(value) for value in given.values())
    graph.output.extend(_info(value) for value in wanted)
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in sorted(model.ir.opset_imports.items())]
    proto = onnx.ModelProto(ir_version=10, graph=graph, opset_import=opsets)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = open_session(proto.SerializeToString(), options)
        arrays = session.run([value.name for value in wanted], {name: weight(value) for name, value in given.items()})
    except RUNTIME_ERRORS:
        return None
    return dict(zip(wanted, arrays, strict=True))


def _info(value: ir.Value) -> onnx.ValueInfoProto:
    return onnx.helper.make_tensor_value_info(value.name or "", int(value.dtype or 0), static_dims(value))
