"""Checks of a loaded model that need its shapes: what would its values cost, before anything computes one of them."""

from __future__ import annotations

import onnx_ir as ir

from ..errors import InvalidModelError, LimitError
from . import shapes
from .limits import RAISE_HINT, Limits
from .model import Model
from .tensors import check_size, check_type, readable
from .untrusted import shown


def check_sizes(model: Model, limits: Limits) -> None:
    """Checks every value's rank and size at batch 1, and their sum.

    Raises:
        LimitError: a value, or all of them, would take too much memory (a `ConstantOfShape` of 4 TiB).
        InvalidModelError: a value has no elements (a kernel larger than its input, a senseless pad).
    """
    total = 0
    for value in shapes.all_values(model.graph):
        name = model.original(value.name or "")
        dims = dims_at_batch_1(value)
        kind = int(value.dtype or 0)
        check_type(kind, name)
        if any(dim < 1 for dim in dims) and not _may_be_empty(value, dims):
            producer = value.producer()
            raise InvalidModelError(
                "A value of the model has no elements.",
                code="zero-size",
                where=shown(name),
                why=f"Its shape is {list(dims)}" + (f", computed by a {producer.op_type}." if producer else "."),
                hint="Look for a kernel, dilation, pad or slice that does not fit its input.",
            )
        total += check_size(kind, dims, name, limits)
    if total > limits.total_bytes:
        raise LimitError(
            "The model's values take too much memory.",
            code="total-limit",
            why=f"Weights and values at batch 1 take {readable(total)}; the limit is {readable(limits.total_bytes)}.",
            hint=RAISE_HINT,
        )


def dims_at_batch_1(value: ir.Value) -> tuple[int, ...]:
    """The value's dimensions for a batch of one (`batch_x4` counts 4)."""
    return tuple(dim if isinstance(dim, int) else _factor(str(dim)) for dim in value.shape or ())


def _factor(symbol: str) -> int:
    factor = symbol.removeprefix(f"{shapes.BATCH}_x")
    return int(factor) if factor.isdigit() else 1


def _may_be_empty(value: ir.Value, dims: tuple[int, ...]) -> bool:
    """An empty list of axes or dimensions, or a Resize's unused region: constants of shape [0]."""
    return value.const_value is not None and dims == (0,)
