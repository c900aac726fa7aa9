"""Types and shapes, node by node, for one batch size: everything is a number, and every step is checked.

onnx's inference for a whole graph crashes on some senseless attributes, names no culprit, and gives up on shapes that
pass through arithmetic. Here each node is first checked against the ranks of its inputs, then given to onnx's
inference for single nodes; small integer results (shapes, axes, sizes) are computed on the way.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from google.protobuf.message import Error as ProtobufError  # type: ignore[import-untyped]
from onnx import numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from ..errors import InvalidModelError, UnsupportedError
from .model import IR_VERSION
from .untrusted import shown

Array = npt.NDArray[Any]
ValueType = tuple[int, tuple[int, ...]]  # element type, dimensions

_REFUSALS = (
    onnx.checker.ValidationError,
    shape_inference.InferenceError,
    ProtobufError,
    RuntimeError,
    ValueError,
)
# what onnx's evaluator and numpy raise for senseless nodes
_FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    TypeError,
    ValueError,
)
_SMALL = 64  # elements of a value that is followed by value, not by shape only
_SMALL_FLOATS = 8  # a Resize's scales
_FOLLOWED = frozenset({
    "Abs", "Add", "And", "Cast", "Ceil", "Clip", "Concat", "ConstantOfShape", "Div", "Equal", "Expand", "Floor",
    "Gather", "Greater", "GreaterOrEqual", "Identity", "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Neg", "Not",
    "Or", "Pow", "Range", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum", "Reshape", "Round", "ScatterND", "Slice",
    "Split", "Sqrt", "Squeeze", "Sub", "Tile", "Transpose", "Unsqueeze", "Where", "Xor",
})  # fmt: skip
_SHAPED_LIKE_INPUT = frozenset({"GroupNormalization", "MeanVarianceNormalization"})  # onnx infers nothing for these


@dataclass
class Inference:
    """What is known so far: types of all values, data of some, and which branches are always taken."""

    opset: int
    types: dict[str, ValueType] = field(default_factory=dict)
    data: dict[str, Array] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)  # name of an If -> index of the attribute with its branch
    names: Mapping[str, str] = field(default_factory=dict)  # for messages
    _protos: dict[str, onnx.TypeProto] = field(default_factory=dict, repr=False)

    def declare(self, name: str, kind: int, dims: tuple[int, ...], data: Array | None = None) -> None:
        """Makes a value known: an input, a constant, a node's output."""
        self.types[name] = (kind, dims)
        self._protos[name] = onnx.helper.make_tensor_type_proto(kind, dims)
        if data is not None:
            self.data[name] = data

    def add_nodes(self, nodes: Iterable[onnx.NodeProto]) -> None:
        """Infers nodes in topological order.

        Raises:
            InvalidModelError: a node does not fit its inputs (code `shape-mismatch`).
            UnsupportedError: a shape depends on data (code `shape-unknown`), a value is no tensor (`not-a-tensor`).
        """
        for node in nodes:
            for name in filter(None, node.input):
                if name not in self.types:
                    raise InvalidModelError(
                        "A node reads a value that nothing before it computes.",
                        code="undefined-value",
                        where=self._label(node),
                        why=f"The value is {shown(self.names.get(name, name))}.",
                        hint="Sort the nodes topologically.",
                    )
            if node.op_type == "If":
                self._add_if(node)
            elif node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
                array = numpy_helper.to_array(node.attribute[0].t)
                self.declare(node.output[0], node.attribute[0].t.data_type, array.shape, array)
            else:
                self._add_node(node)

    def _add_if(self, node: onnx.NodeProto) -> None:
        """An If with a known condition has the types of that branch; else both branches must agree."""
        names = [attribute.name for attribute in node.attribute]
        condition = self.data.get(node.input[0])
        if condition is not None and condition.size == 1:
            self.taken[node.name] = names.index("then_branch" if condition.reshape(-1)[0] else "else_branch")
        indices = [self.taken[node.name]] if node.name in self.taken else range(len(names))
        branches = [node.attribute[index].g for index in indices]
        for branch in branches:
            if len(branch.output) != len(node.output):
                raise self._mismatch(node, "A branch has another number of outputs.")
            for tensor in branch.initializer:
                self.declare(tensor.name, tensor.data_type, tuple(tensor.dims), numpy_helper.to_array(tensor))
            self.add_nodes(branch.node)
        for index, name in enumerate(node.output):
            inner = [branch.output[index].name for branch in branches]
            if len({self.types[found] for found in inner}) != 1:
                raise self._unknown(node, "The branches of an If give different shapes.")
            self.declare(name, *self.types[inner[0]], self.data.get(inner[0]) if len(inner) == 1 else None)

    def _add_node(self, node: onnx.NodeProto) -> None:
        self._check_axes(node)
        if node.op_type in _SHAPED_LIKE_INPUT:
            self.declare(node.output[0], *self.types[node.input[0]])
            return
        inputs = {name: self._protos[name] for name in node.input if name}
        data = {name: numpy_helper.from_array(self.data[name], name) for name in node.input if self._small(name)}
        schema = onnx.defs.get_schema(node.op_type, self.opset, "")
        imports = [onnx.helper.make_opsetid("", self.opset)]
        try:
            found = shape_inference.infer_node_outputs(schema, node, inputs, data, None, imports, ir_version=10)
        except _REFUSALS as error:
            raise self._mismatch(node, str(error)[:300]) from error
        if node.op_type == "Dropout" and self.opset < 10:  # onnx infers nothing for the mask of the old Dropout
            found = dict.fromkeys(node.output, inputs[node.input[0]])
        for name in filter(None, node.output):
            self.declare(name, *self._complete(node, found.get(name)))
        if node.op_type == "Reshape":  # onnx trusts the new shape
            before, after = (math.prod(self.types[name][1]) for name in (node.input[0], node.output[0]))
            if before != after:
                raise self._mismatch(node, f"It makes {after} elements out of {before}.")
        self._follow(node)

    def _complete(self, node: onnx.NodeProto, found: onnx.TypeProto | None) -> ValueType:
        if found is not None and found.WhichOneof("value") not in (None, "tensor_type"):
            raise UnsupportedError(
                "The model uses a value that is not a tensor.",
                code="not-a-tensor",
                where=self._label(node),
                why=f"Its type is {found.WhichOneof('value')}.",
                hint="Export the model without sequences, maps and optional values.",
            )
        tensor = None if found is None else found.tensor_type
        if tensor is None or not tensor.elem_type or not tensor.HasField("shape"):
            raise self._unknown(node, f"The shape that {node.op_type} gives depends on data.")
        if not all(dim.HasField("dim_value") for dim in tensor.shape.dim):
            raise self._unknown(node, f"A dimension that {node.op_type} gives depends on data.")
        return tensor.elem_type, tuple(dim.dim_value for dim in tensor.shape.dim)

    def _follow(self, node: onnx.NodeProto) -> None:
        """Computes a small result whose inputs are known."""
        if node.op_type == "Shape":
            first, last = _attribute(node, "start", 0), _attribute(node, "end", None)
            dims = self.types[node.input[0]][1][first:last]
            self.data[node.output[0]] = np.asarray(dims, dtype=np.int64)
        elif node.op_type == "Size":
            self.data[node.output[0]] = np.asarray(
                min(math.prod(self.types[node.input[0]][1]), 2**63 - 1), dtype=np.int64
            )
        elif node.op_type in _FOLLOWED and all(not name or self._small(name) for name in node.input):
            if any(math.prod(self.types[name][1]) > _SMALL for name in node.output if name):
                return
            feeds = {name: self.data[name] for name in node.input if name}
            try:
                with np.errstate(all="ignore"):
                    results = ReferenceEvaluator(self._alone(node, feeds)).run(None, feeds)
            except _FAILURES:  # the value just stays unknown
                return
            for name, array in zip(filter(None, node.output), results, strict=False):
                if isinstance(array, np.ndarray | np.generic) and np.shape(array) == self.types[name][1]:
                    self.data[name] = np.asarray(array)

    def _alone(self, node: onnx.NodeProto, feeds: Iterable[str]) -> onnx.ModelProto:
        """The node as a model: only that tells onnx's evaluator which version of the operator is meant."""
        graph = onnx.GraphProto(name="graph", node=[node])
        graph.input.extend(onnx.ValueInfoProto(name=name) for name in feeds)
        graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output if name)
        return onnx.ModelProto(
            ir_version=IR_VERSION, graph=graph, opset_import=[onnx.helper.make_opsetid("", self.opset)]
        )

    def _small(self, name: str) -> bool:
        """Whether a value is known and small enough to be a shape, an axis, a scale."""
        array = self.data.get(name)
        return array is not None and array.size <= (_SMALL if array.dtype.kind in "iub" else _SMALL_FLOATS)

    def _check_axes(self, node: onnx.NodeProto) -> None:
        """Axes must lie within the rank: onnx's own inference does not always look."""
        if not node.input or not node.input[0]:
            return
        rank = len(self.types[node.input[0]][1])
        axis = _attribute(node, "axis", 0)
        highest = rank - 1 if node.op_type in ("LayerNormalization", "RMSNormalization") else rank
        lowest = -rank - 1 if node.op_type == "OneHot" else -rank
        batch_dims = _attribute(node, "batch_dims", 0)
        if not lowest <= axis <= max(highest, 0):
            raise self._mismatch(node, f"Axis {axis} lies outside its input of {rank} dimensions.")
        if not 0 <= batch_dims <= rank:
            raise self._mismatch(node, f"Its batch_dims {batch_dims} do not fit an input of {rank} dimensions.")

    def _label(self, node: onnx.NodeProto) -> str:
        return shown(self.names.get(node.name) or self.names.get(node.output[0], node.output[0]))

    def _mismatch(self, node: onnx.NodeProto, why: str) -> InvalidModelError:
        shapes = ", ".join(str(list(self.types[name][1])) if name else "-" for name in node.input[:8])
        return InvalidModelError(
            f"A {node.op_type} does not fit its inputs.",
            code="shape-mismatch",
            where=self._label(node),
            why=f"{why} Input shapes: {shapes}.",
            hint="Check the model with onnx.checker.check_model(model, full_check=True).",
        )

    def _unknown(self, node: onnx.NodeProto, why: str) -> UnsupportedError:
        return UnsupportedError(
            "The shape of a value is not known before running the model.",
            code="shape-unknown",
            where=self._label(node),
            why=why,
            hint="Give static input shapes with --shape, or export the model with constants folded.",
        )


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    return next((attribute.i for attribute in node.attribute if attribute.name == name), default)
