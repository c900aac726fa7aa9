"""Any opset to the one that Prunus works on, with onnx's version converter, weights left out."""

from __future__ import annotations

from collections.abc import Mapping

import onnx
from google.protobuf.message import Error as ProtobufError  # type: ignore[import-untyped]
from onnx import numpy_helper, version_converter

from ...errors import InvalidModelError, UnsupportedError
from ..model import IR_VERSION, OPSET
from ..shapes import SymbolicType
from .limits import subgraphs
from .rename import Plain

_SMALL_BYTES = 1024  # constants up to this size may be axes, shapes or scales that the converter looks at
_SIMPLE_TYPES = "fiub"  # numpy kinds that the converter's own graph can hold


def declared_opset(model: onnx.ModelProto) -> int:
    """The version of the standard operators that a file declares.

    Raises:
        InvalidModelError: none, or a contradictory one. UnsupportedError: newer than the installed onnx.
    """
    if model.ir_version > onnx.IR_VERSION:
        raise UnsupportedError(
            "The model file is newer than the installed onnx package.",
            code="ir-version",
            why=f"It has IR version {model.ir_version}; onnx {onnx.__version__} reads up to {onnx.IR_VERSION}.",
            hint="Export the model with an older IR version, or update onnx.",
        )
    versions: list[int] = [opset.version for opset in model.opset_import if opset.domain in ("", "ai.onnx")]
    if len(versions) != 1:
        raise InvalidModelError(
            "The model does not say which operator set it uses.",
            code="no-opset" if not versions else "duplicate-opset",
            why="It imports none for the standard domain." if not versions else f"It imports several: {versions[:4]}.",
            hint="Export the model again, or set opset_import with onnx.helper.make_opsetid.",
        )
    newest = onnx.defs.onnx_opset_version()
    if not 1 <= versions[0] <= newest:
        raise UnsupportedError(
            f"Opset {versions[0]} is unknown.",
            code="opset-version",
            why=f"onnx {onnx.__version__} knows 1 to {newest}; Prunus works on {OPSET}.",
            hint=f"Export the model with opset {OPSET}.",
        )
    return versions[0]


def to_opset(plain: Plain, opset: int, types: Mapping[str, SymbolicType]) -> onnx.ModelProto:
    """The plain graph at opset 21, checked by onnx; its large constants are graph inputs (after the model's own).

    `types` holds the type of every value; the converter needs some of them.

    Raises:
        InvalidModelError: onnx's checker refuses the graph.
        UnsupportedError: the converter has no way from this opset to ours.
    """
    proto = _skeleton(plain, opset, types)
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, ProtobufError, RuntimeError, ValueError) as error:
        raise InvalidModelError(
            "onnx refuses the model.",
            code="checker",
            why=str(error)[:500],
            hint="Check the model with onnx.checker.check_model, and export it again.",
        ) from error
    if opset != OPSET:
        _check_subgraphs(proto.graph, opset)
        proto = _convert(proto, opset)
    proto.ir_version = IR_VERSION
    return proto


def _skeleton(plain: Plain, opset: int, types: Mapping[str, SymbolicType]) -> onnx.ModelProto:
    def info(name: str) -> onnx.ValueInfoProto:
        return onnx.helper.make_tensor_value_info(name, *types[name])

    graph = onnx.GraphProto()
    graph.CopyFrom(plain.graph)
    graph.input.extend(info(name) for name in plain.inputs)
    for name, array in plain.constants.items():
        if array.nbytes <= _SMALL_BYTES and array.dtype.kind in _SIMPLE_TYPES:
            graph.initializer.append(numpy_helper.from_array(array, name))
        else:
            graph.input.append(info(name))
    outputs = [value.name for value in graph.output]
    del graph.output[:]
    graph.output.extend(info(name) for name in outputs)
    graph.value_info.extend(info(name) for node in graph.node for name in node.output if name and name not in outputs)
    return onnx.ModelProto(ir_version=IR_VERSION, graph=graph, opset_import=[onnx.helper.make_opsetid("", opset)])


def _convert(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    wanted = [value.name for value in proto.graph.output]
    try:
        converted = version_converter.convert_version(proto, OPSET)
        onnx.checker.check_model(converted)
    except (
        version_converter.ConvertError,
        onnx.checker.ValidationError,
        ProtobufError,
        RuntimeError,
        ValueError,
        IndexError,
    ) as error:
        raise _no_way(opset, str(error)[:500]) from error
    if [value.name for value in converted.graph.output] != wanted:
        raise _no_way(opset, "The converter changed the outputs of the model.")
    return converted


def _check_subgraphs(graph: onnx.GraphProto, opset: int) -> None:
    """The converter leaves branches of an If as they are; that is right only where no operator changed since."""
    for node in graph.node:
        for inner in subgraphs(node):
            for child in inner.node:
                since = onnx.defs.get_schema(child.op_type, opset, "").since_version
                if since != onnx.defs.get_schema(child.op_type, OPSET, "").since_version:
                    raise _no_way(opset, f"Operator {child.op_type} inside a branch changed in between.")
            _check_subgraphs(inner, opset)


def _no_way(opset: int, why: str) -> UnsupportedError:
    return UnsupportedError(
        f"The model cannot be converted from opset {opset} to {OPSET}.",
        code="opset-conversion",
        why=why,
        hint=f"Export the model with opset {OPSET}, or the nearest your exporter offers.",
    )
