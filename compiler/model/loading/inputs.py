"""What the model's inputs look like: one symbolic batch dimension at most, numbers everywhere else."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

import onnx

from ...errors import InvalidModelError, UnsupportedError, UsageError
from ..shapes import BATCH
from ..untrusted import shown
from .rename import Plain
from .tensors import check_type


def fix_inputs(plain: Plain, shapes: Mapping[str, Sequence[int | None]]) -> None:
    """Settles the types of the inputs from what the file declares and the shapes that the user gave (by his names).

    Raises:
        UsageError: a dimension other than the first is dynamic and no shape is given, or a given one does not fit.
        InvalidModelError: a dimension is not positive. UnsupportedError: an input is no tensor of numbers.
    """
    originals = {name: plain.names[name] for name in plain.declared}
    for name in shapes:
        if name not in originals.values():
            close = difflib.get_close_matches(name, sorted(originals.values()), n=1)
            raise UsageError(
                f"A shape is given for {shown(name)}, which is no input of the model.",
                code="unknown-input",
                why="The inputs are: " + ", ".join(shown(found) for found in list(originals.values())[:8]) + ".",
                hint=f"Did you mean {shown(close[0])}?" if close else None,
            )
    for name, original in originals.items():
        info = plain.declared[name]
        kind = info.type.WhichOneof("value")
        if kind != "tensor_type":
            raise UnsupportedError(
                "An input of the model is not a tensor.",
                code="not-a-tensor",
                where=shown(original),
                why=f"Its type is {kind}." if kind else "It has no type.",
                hint="Export the model with tensor inputs.",
            )
        check_type(info.type.tensor_type.elem_type, original)
        dims = _merge(original, _declared(info, original), shapes.get(original))
        plain.inputs[name] = (info.type.tensor_type.elem_type, dims)


def _declared(info: onnx.ValueInfoProto, original: str) -> list[int | None] | None:
    """The dimensions as the file declares them, None for dynamic ones; None altogether where the rank is open."""
    if not info.type.tensor_type.HasField("shape"):
        return None
    dims: list[int | None] = []
    for dim in info.type.tensor_type.shape.dim:
        dims.append(dim.dim_value if dim.HasField("dim_value") else None)
        if dim.HasField("dim_value") and dim.dim_value < 1:
            raise InvalidModelError(
                "An input of the model has a senseless shape.",
                code="zero-size",
                where=shown(original),
                why=f"Dimension {len(dims) - 1} is {dim.dim_value}.",
                hint="Export the model with positive dimensions, or named ones where they may vary.",
            )
    return dims


def _merge(
    original: str, declared: list[int | None] | None, given: Sequence[int | None] | None
) -> tuple[int | str, ...]:
    """One shape of numbers, the first dimension possibly symbolic."""
    dims = declared
    if given is not None:
        fits = declared is None or (
            len(given) == len(declared)
            and all(old is None or new in (None, old) for old, new in zip(declared, given, strict=True))
        )
        if not fits or any(new is not None and new < 1 for new in given):
            raise UsageError(
                f"The shape given for input {shown(original)} does not fit.",
                code="shape-conflict",
                why=f"The model declares {_text(declared)}; given is {_text(list(given))}.",
                hint="Give a number for each dynamic dimension and keep the others.",
            )
        dims = [new if new is not None else old for old, new in zip(declared or given, given, strict=True)]
    if dims is None or None in dims[1:]:
        raise UsageError(
            f"The shape of input {shown(original)} is dynamic.",
            code="dynamic-shape",
            where=shown(original),
            why=f"The model declares {_text(dims)}; only the first dimension, the batch, may stay open.",
            hint=f"Give its shape, for example --shape {_example(original, dims)}.",
        )
    return tuple(BATCH if dim is None else dim for dim in dims)


def _text(dims: Sequence[int | None] | None) -> str:
    return "no shape" if dims is None else "[" + ", ".join("?" if dim is None else str(dim) for dim in dims) + "]"


def _example(original: str, dims: list[int | None] | None) -> str:
    numbers = (
        [1, 3, 224, 224]
        if dims is None
        else [1 if dim is None and i == 0 else dim or 224 for i, dim in enumerate(dims)]
    )
    return f"{shown(original)}={','.join(map(str, numbers))}"
