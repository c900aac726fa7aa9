"""Static dimensions of values: the batch as one, or as a large prime that no other dimension contains."""

from __future__ import annotations

import re

import onnx_ir as ir

from ...model.edit import infer_shapes
from ...model.model import Model
from ...model.shapes import BATCH

PRIME = 1_000_003  # stands for the batch where factors of dimensions are matched
_MULTIPLE = re.compile(rf"{BATCH}(?:_x(\d+))?\Z")


def with_shapes(model: Model) -> Model:
    """The model itself when every value has a full shape, else a copy with shapes inferred."""
    if all(_known(output.shape) for node in model.graph for output in node.outputs if output.name):
        return model
    copy = model.clone()
    infer_shapes(copy)
    return copy


def _known(shape: ir.Shape | None) -> bool:
    return shape is not None and all(isinstance(dim, int) or _MULTIPLE.match(str(dim.value)) for dim in shape)


def static_dims(value: ir.Value, batch: int = 1) -> tuple[int, ...]:
    """The dimensions with the symbolic batch (and multiples of it) replaced."""
    if value.const_value is not None:
        return tuple(int(size) for size in value.const_value.shape.numpy())
    return tuple(_static(dim, batch) for dim in value.shape or ())


def _static(dim: int | ir.SymbolicDim, batch: int) -> int:
    if isinstance(dim, int):
        return dim
    match = _MULTIPLE.match(str(dim.value))
    return batch * int(match[1] or 1) if match else batch  # a graph input's own name for its batch
