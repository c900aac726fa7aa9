"""An untrusted model file becomes a `Model`: checked, within limits, every name plain, at one opset, fully shaped."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import onnx
from google.protobuf.message import Error as ProtobufError  # type: ignore[import-untyped]

from ..errors import InvalidModelError
from .loading.assemble import assemble, give_final_names
from .loading.external import ExternalData
from .loading.files import read_model
from .loading.inputs import fix_inputs
from .loading.limits import Limits, check_cost
from .loading.operands import check_operands
from .loading.qonnx import expand
from .loading.rename import plain
from .loading.sizes import check_sizes
from .loading.typed import type_graph
from .loading.upgrade import declared_opset, to_opset
from .loading.wire import check_wire
from .model import Model
from .shapes import infer
from .untrusted import shown

Dims = Sequence[int | None]
DEFAULT_LIMITS = Limits()


def load(
    path: str | os.PathLike[str],
    *,
    limits: Limits = DEFAULT_LIMITS,
    shapes: Mapping[str, Dims] | None = None,
    roots: Sequence[str | os.PathLike[str]] = (),
) -> Model:
    """Reads an ONNX file that need not be trusted.

    Args:
        path: a regular file, ONNX or packed (model.prz); external data is read from its folder.
        limits: what the model may cost; see `Limits`.
        shapes: static shapes for inputs whose dimensions are dynamic, by the user's input name; None in first
            place keeps a symbolic batch.
        roots: further folders that external data may lie in.

    Returns:
        The model at opset 21. A dynamic first dimension of the inputs is the symbolic dimension `batch`; all others
        are numbers. No value is without type and shape.

    Raises:
        InvalidModelError: damaged, unsafe or not valid ONNX. UnsupportedError: valid, but not for Prunus.
        LimitError: larger than the limits. UsageError: a shape is missing or does not fit.
    """
    file = Path(path)
    data = read_model(file, limits)
    check_wire(data, str(file), limits)
    try:
        proto = onnx.ModelProto.FromString(data)
    except ProtobufError as error:
        raise InvalidModelError(
            "The file is not an ONNX model, or it is damaged.",
            code="not-onnx",
            where=shown(str(file)),
            why=str(error)[:200],
            hint="Export the model again, or download it again and compare its size.",
        ) from error
    digest = hashlib.sha256(data).hexdigest()
    del data
    model = load_proto(proto, limits=limits, shapes=shapes, roots=roots, folder=file.parent)
    provenance = {"file": file.name, "sha256": digest, **model.provenance}
    return replace(model, provenance=MappingProxyType(provenance))


def load_proto(
    proto: onnx.ModelProto,
    *,
    limits: Limits = DEFAULT_LIMITS,
    shapes: Mapping[str, Dims] | None = None,
    roots: Sequence[str | os.PathLike[str]] = (),
    folder: Path | None = None,
) -> Model:
    """The same for a model in memory, which stays as it is. `folder` is where its external data lies."""
    check_cost(proto, limits)
    opset = declared_opset(proto)
    with ExternalData(folder, roots) as external:
        graph = plain(proto, opset, external, limits)
    fix_inputs(graph, shapes or {})
    typed = type_graph(graph, opset)
    check_operands(graph, typed.at_batch_1)
    check_sizes(typed.at_batch_1, graph.names, graph.constants, limits)
    converted = to_opset(graph, opset, typed.types)
    expand(converted, graph.quantizers, graph.constants)
    final = assemble(converted, graph)
    names = give_final_names(final, graph)
    infer(final, names)
    provenance = {"opset": str(opset), "ir_version": str(proto.ir_version), "batch": typed.batch}
    return Model(final, MappingProxyType(names), provenance=MappingProxyType(provenance))
