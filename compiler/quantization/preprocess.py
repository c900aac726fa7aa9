"""Folds the arithmetic between a model input and its first quantizer into that quantizer.

Models often begin with (x - mean) * factor. With v = a * x + b and a type (s, z) for v,

    rint(v / s) + z  =  rint(x / (s / a)) + (z + b / s)      where b / s is an integer,

so x itself can be quantized, by scale s / a and zero point z + b / s, and the arithmetic disappears.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from ..integer.graph import QType
from ..model.edit import weight
from ..target import Formats

_EXACT = 1e-5  # how far b / s may be from an integer, in steps


@dataclass(frozen=True, eq=False)
class Affine:
    """A value that equals `factor` * x + `offset` for the graph input `x`, by way of `nodes`."""

    x: ir.Value
    factor: float
    offset: float
    nodes: tuple[ir.Node, ...]


@dataclass(frozen=True)
class Folded:
    """The type of the tensor, and the scale and zero point with which the graph input is quantized into it."""

    type: QType
    scale: float
    zero_point: int


def trace(value: ir.Value) -> Affine | None:
    """The affine function of a graph input that `value` is: Cast, and Add, Sub, Mul, Div with scalar constants."""
    nodes: list[ir.Node] = []
    factor, offset = 1.0, 0.0
    while (node := value.producer()) is not None:
        step = _step(node)
        if step is None:
            return None
        value, a, b = step
        factor, offset = factor * a, factor * b + offset
        nodes.append(node)
    if not nodes or not value.is_graph_input() or factor <= 0 or not np.isfinite([factor, offset]).all():
        return None
    return Affine(value, factor, offset, tuple(nodes))


def _step(node: ir.Node) -> tuple[ir.Value, float, float] | None:
    """(input, a, b) of a node that computes a * input + b."""
    if node.domain or not node.inputs or node.inputs[0] is None:
        return None
    if node.op_type == "Cast":
        return (node.inputs[0], 1.0, 0.0) if node.outputs[0].dtype == ir.DataType.FLOAT else None
    if node.op_type not in ("Add", "Sub", "Mul", "Div"):
        return None
    left, right = node.inputs
    for value, other, swapped in ((left, right, False), (right, left, True)):
        number = weight(other)
        if value is None or number is None or number.size != 1 or (swapped and node.op_type in ("Sub", "Div")):
            continue
        c = float(number.ravel()[0])
        if node.op_type in ("Add", "Sub"):
            return value, 1.0, c if node.op_type == "Add" else -c
        if node.op_type == "Mul" or c != 0:
            return value, c if node.op_type == "Mul" else 1 / c, 0.0
    return None


def fold(affine: Affine, wanted: QType, formats: Formats) -> Folded | None:
    """Folds `affine` into the quantizer of a tensor of type `wanted`, or None where that cannot be exact.

    The scale is raised a little where that makes b / s an integer, unless the device restricts scales; the range is
    widened to hold x = 0, which the zero point of QuantizeLinear must be able to say.
    """
    symmetric = formats.scheme == "pow2" or formats.zero_point == "zero"
    low, high = (((end - wanted.zero_point) * wanted.scale - affine.offset) / affine.factor for end in _ends(wanted))
    limits = _limits(affine.x)
    low, high = max(min(low, 0.0), limits[0]), min(max(high, 0.0), limits[1])  # of x
    if formats.scheme == "pow2":
        scales = [wanted.scale / affine.factor]
    else:
        steps = wanted.qmax - wanted.qmin
        scales = _input_scales(affine, wanted.scale / affine.factor if symmetric else (high - low) / steps)
    for scale in scales:
        zero_point = None if symmetric else round(wanted.qmin - low / scale)
        folded = _at(affine, wanted, scale * affine.factor, zero_point)
        if folded is not None:
            return folded
    return None


def _ends(type_: QType) -> tuple[int, int]:
    return type_.qmin, type_.qmax


def _limits(x: ir.Value) -> tuple[float, float]:
    """The numbers that the type of a graph input can hold."""
    if x.dtype is None or not x.dtype.is_integer():
        return float("-inf"), float("inf")
    info = np.iinfo(x.dtype.numpy())
    return float(info.min), float(info.max)


def _input_scales(affine: Affine, least: float) -> list[float]:
    """Scales for x, best first: 1 for integer inputs that fit, then the smallest that makes b / s an integer."""
    integer = affine.x.dtype is not None and affine.x.dtype.is_integer()
    scales = [1.0] if integer and 0.5 < least <= 1 + _EXACT else []
    origin = abs(affine.offset / affine.factor)  # the x at which v is zero
    steps = int(np.floor(origin / least + _EXACT))
    return [*scales, origin / steps if steps else least]


def _at(affine: Affine, wanted: QType, scale: float, input_zero_point: int | None) -> Folded | None:
    """The folded quantizer at a scale; without a zero point for the input, that of the tensor is 0."""
    scale = float(np.float32(scale))
    exact_shift = affine.offset / scale
    shift = round(exact_shift)
    if abs(exact_shift - shift) > _EXACT * max(1.0, abs(exact_shift)):
        return None
    entering = shift if input_zero_point is None else min(max(input_zero_point, wanted.qmin), wanted.qmax)
    leaving = entering - shift
    if not all(wanted.qmin <= zero_point <= wanted.qmax for zero_point in (entering, leaving)):
        return None
    return Folded(replace(wanted, scale=scale, zero_point=leaving), float(np.float32(scale / affine.factor)), entering)
