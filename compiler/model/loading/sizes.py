"""What would a model's values cost? Asked before anything computes one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import onnx

from ...errors import InvalidModelError, LimitError
from ..inference import Inference
from ..untrusted import shown
from .limits import RAISE_HINT, Limits
from .tensors import check_size, check_type, readable

_INT64: int = onnx.TensorProto.INT64


def check_sizes(inference: Inference, names: Mapping[str, str], constants: Iterable[str], limits: Limits) -> None:
    """Checks every value's type, rank and size, and the sum of all sizes.

    Raises:
        LimitError: a value, or all of them, would take too much memory (a `ConstantOfShape` of 4 TiB).
        InvalidModelError: a value has no elements (a kernel larger than its input, a senseless pad).
        UnsupportedError: a value's type is foreign.
    """
    total = 0
    constant = frozenset(constants)
    for name, (kind, dims) in inference.types.items():
        where = names.get(name, name)
        check_type(kind, where)
        empty_list = dims == (0,) and (kind == _INT64 or name in constant)  # of axes; or a Resize's unused region
        if any(dim < 1 for dim in dims) and not empty_list:
            raise InvalidModelError(
                "A value of the model has no elements.",
                code="zero-size",
                where=shown(where),
                why=f"Its shape is {list(dims)}.",
                hint="Look for a kernel, dilation, pad or slice that does not fit its input.",
            )
        total += check_size(kind, dims, where, limits)
    if total > limits.total_bytes:
        raise LimitError(
            "The model's values take too much memory.",
            code="total-limit",
            why=f"Weights and values at batch 1 take {readable(total)}; the limit is {readable(limits.total_bytes)}.",
            hint=RAISE_HINT,
        )
