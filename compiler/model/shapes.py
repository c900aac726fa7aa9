"""Shape inference for a whole model: a symbolic batch, every other dimension a number, nothing left unknown.

onnx's own inference loses sight of a symbolic batch in `Reshape`, `Shape` and their kin. So a model with a symbolic
batch is inferred twice, with two concrete batch sizes: a dimension that stays the same is static, one that grows in
proportion is a multiple of the batch. Large weights stay outside; their types and shapes are enough.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx
import onnx_ir as ir
from google.protobuf.message import Error as ProtobufError  # type: ignore[import-untyped]

from ..errors import InvalidModelError, PrunusError, UnsupportedError

BATCH = "batch"
_PROBES = (2, 3)  # batch sizes; 1 would hide behind broadcasting
_SMALL_BYTES = 1024  # constants up to this size may be shapes, axes or scales, and go into the inference

ValueShape = tuple[int, tuple[int, ...]]  # element type, dimensions


def all_values(graph: ir.Graph) -> Iterator[ir.Value]:
    """Every named value of a graph and its subgraphs: inputs, initializers, node outputs."""
    for node in [None, *ir.traversal.RecursiveGraphIterator(graph)]:
        if node is None:
            yield from _own_values(graph)
            continue
        yield from (output for output in node.outputs if output.name)
        for attribute in node.attributes.values():
            for inner in _subgraphs(attribute):
                yield from _own_values(inner)


def _own_values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from (value for value in graph.initializers.values() if not value.is_graph_input())


def _subgraphs(attribute: ir.Attr) -> tuple[ir.Graph, ...]:
    if attribute.is_ref():
        return ()
    if attribute.type == ir.AttributeType.GRAPH:
        return (attribute.as_graph(),)
    return tuple(attribute.as_graphs()) if attribute.type == ir.AttributeType.GRAPHS else ()


def has_symbolic_batch(graph: ir.Graph) -> bool:
    """Whether some input has a first dimension without a number."""
    return any(
        value.shape is not None and value.shape.rank() and not value.shape.is_static(0) for value in graph.inputs
    )


def infer(model: ir.Model) -> None:
    """Infers every value's type and shape in place, from the graph inputs and the weights alone.

    Raises:
        InvalidModelError: shapes or types contradict each other (code `shape-mismatch`), or the graph works for
            one batch size only although its inputs are symbolic (code `batch-not-free`).
        UnsupportedError: a shape depends on data (`shape-unknown`) or the type is no tensor (`not-a-tensor`).
    """
    if not has_symbolic_batch(model.graph):
        found = {name: (kind, ir.Shape(dims)) for name, (kind, dims) in _infer_for(model, 1).items()}
    else:
        small, large = (_infer_for(model, batch) for batch in _PROBES)
        found = {name: (kind, _symbolic(name, dims, large[name][1])) for name, (kind, dims) in small.items()}
    inputs = {value.name for value in model.graph.inputs}
    for value in all_values(model.graph):
        if value.name in inputs or value.const_value is not None or value.name not in found:
            continue
        kind, shape = found[value.name]
        value.type, value.shape = ir.TensorType(ir.DataType(kind)), shape


def _symbolic(name: str, small: tuple[int, ...], large: tuple[int, ...]) -> ir.Shape:
    """One shape from the shapes at the two probing batch sizes."""
    first, second = _PROBES
    dims: list[int | str] = []
    for at_first, at_second in zip(small, large, strict=True):
        factor = at_first // first
        if at_first == at_second:
            dims.append(at_first)
        elif (at_first, at_second) == (factor * first, factor * second):
            dims.append(BATCH if factor == 1 else f"{BATCH}_x{factor}")
        else:
            raise UnsupportedError(
                "A dimension depends on the batch size in a way that is not proportional.",
                code="shape-unknown",
                where=name,
                why=f"It is {at_first} for a batch of {first} and {at_second} for a batch of {second}.",
                hint="Fix the batch size with --shape.",
            )
    return ir.Shape(dims)


def _infer_for(model: ir.Model, batch: int) -> dict[str, ValueShape]:
    """Element type and dimensions of every node output, for one batch size."""
    proto = skeleton(model, batch)
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, ProtobufError, RuntimeError, ValueError, TypeError) as error:
        raise InvalidModelError(
            "Shapes or types in the graph contradict each other.",
            code="shape-mismatch",
            why=str(error)[:500],
            hint="Check the model with onnx.checker.check_model(model, full_check=True).",
        ) from error
    known: dict[str, ValueShape] = {}
    _collect(inferred.graph, known)
    for value in all_values(model.graph):
        if value.producer() is not None and value.name not in known:
            raise UnsupportedError(
                "The shape of a value cannot be inferred.",
                code="shape-unknown",
                where=value.name,
                why=f"Operator {value.producer().op_type} has an output whose shape depends on data.",  # type: ignore[union-attr]
                hint="Give static input shapes with --shape, or export the model with constants folded.",
            )
    return known


def _collect(graph: onnx.GraphProto, known: dict[str, ValueShape]) -> None:
    for info in [*graph.value_info, *graph.output]:
        tensor = info.type.tensor_type
        dims = tensor.shape.dim
        if info.type.WhichOneof("value") not in (None, "tensor_type"):
            raise UnsupportedError(
                "The model uses a value that is not a tensor.",
                code="not-a-tensor",
                where=info.name,
                why=f"Its type is {info.type.WhichOneof('value')}.",
                hint="Export the model without sequences, maps and optional values.",
            )
        if tensor.elem_type and tensor.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            known[info.name] = (tensor.elem_type, tuple(dim.dim_value for dim in dims))
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g] if attribute.HasField("g") else attribute.graphs:
                _collect(inner, known)


def skeleton(model: ir.Model, batch: int | None = None) -> onnx.ModelProto:
    """The model without its large weights (they become inputs) and without inferred shapes.

    `batch` replaces every symbolic first dimension of an input; None keeps it.
    """
    graph = onnx.GraphProto(name="graph")
    for value in model.graph.inputs:
        graph.input.append(_value_info(value, batch))
    for value in model.graph.initializers.values():
        if value.const_value is None:
            raise PrunusError("An initializer has no data.", code="initializer-without-data", where=value.name)
        if value.const_value.nbytes <= _SMALL_BYTES:
            graph.initializer.append(ir.to_proto(value.const_value))
            graph.initializer[-1].name = value.name or ""
        elif not value.is_graph_input():
            graph.input.append(_value_info(value, batch))
    for node in model.graph:
        graph.node.append(ir.to_proto(node))
    graph.output.extend(onnx.ValueInfoProto(name=value.name or "") for value in model.graph.outputs)
    opsets = [onnx.helper.make_opsetid(domain, version) for domain, version in sorted(model.opset_imports.items())]
    return onnx.ModelProto(ir_version=10, graph=graph, opset_import=opsets)


def _value_info(value: ir.Value, batch: int | None) -> onnx.ValueInfoProto:
    const = value.const_value
    kind = const.dtype if const is not None else value.dtype
    shape = const.shape if const is not None else value.shape
    dims = [dim if isinstance(dim, int) else (batch if batch is not None else str(dim)) for dim in shape or ()]
    return onnx.helper.make_tensor_value_info(value.name or "", int(kind or 0), dims)
