"""Shape inference for a whole model: a symbolic batch, every other dimension a number, nothing left unknown.

A model with a symbolic batch is inferred twice, with two concrete batch sizes: a dimension that stays the same is
static, one that grows in proportion is a multiple of the batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx_ir as ir

from ..errors import UnsupportedError
from .inference import Inference, ValueType
from .untrusted import shown

BATCH = "batch"
PROBES = (2, 3)  # batch sizes; 1 would hide behind broadcasting
SymbolicType = tuple[int, tuple[int | str, ...]]  # element type, dimensions
_SMALL_BYTES = 512  # of constants whose values inference may need


def all_values(graph: ir.Graph) -> Iterator[ir.Value]:
    """Every named value of a graph and its subgraphs: inputs, initializers, node outputs."""
    yield from _own_values(graph)
    for node in ir.traversal.RecursiveGraphIterator(graph):
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
    return any(value.shape and not value.shape.is_static(0) for value in graph.inputs)


def infer(model: ir.Model, names: Mapping[str, str] | None = None) -> None:
    """Infers every value's type and shape in place, from the graph inputs and the weights alone.

    `names` maps plain names to the user's, for messages.

    Raises:
        InvalidModelError: a node does not fit its inputs (code `shape-mismatch`).
        UnsupportedError: a shape depends on data, or on the batch other than in proportion (`shape-unknown`), or a
            value is no tensor (`not-a-tensor`).
    """
    names = names or {}
    if has_symbolic_batch(model.graph):
        small, large = (_infer_for(model, batch, names) for batch in PROBES)
        found = combine(small, large, names)
    else:
        found = dict(_infer_for(model, 1, names))
    fixed = {value.name for value in model.graph.inputs}
    for value in all_values(model.graph):
        if value.name not in fixed and value.const_value is None and value.name in found:
            kind, dims = found[value.name]
            value.type, value.shape = ir.TensorType(ir.DataType(kind)), ir.Shape(dims)


def _infer_for(model: ir.Model, batch: int, names: Mapping[str, str]) -> dict[str, ValueType]:
    """Element type and dimensions of every value, for one batch size."""
    inference = Inference(model.opset_imports[""], names=names)
    for value in _own_values(model.graph):
        name, const = value.name or "", value.const_value
        if const is not None:
            small = const.numpy() if const.nbytes <= _SMALL_BYTES else None
            inference.declare(name, int(const.dtype), tuple(const.shape.numpy()), small)
        else:
            dims = tuple(dim if isinstance(dim, int) else batch for dim in value.shape or ())
            inference.declare(name, int(value.dtype or 0), dims)
    inference.add_nodes(ir.serde.serialize_node(node) for node in model.graph)
    return inference.types


def combine(
    small: Mapping[str, ValueType], large: Mapping[str, ValueType], names: Mapping[str, str]
) -> dict[str, SymbolicType]:
    """Types with a symbolic batch, from those at the two probing batch sizes."""
    return {
        name: (kind, _symbolic(names.get(name, name), dims, large[name][1])) for name, (kind, dims) in small.items()
    }


def _symbolic(name: str, small: tuple[int, ...], large: tuple[int, ...]) -> tuple[int | str, ...]:
    """One shape from the shapes at the two probing batch sizes."""
    first, second = PROBES
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
                where=shown(name),
                why=f"It is {at_first} for a batch of {first} and {at_second} for a batch of {second}.",
                hint="Fix the batch size with --shape.",
            )
    return tuple(dims)
