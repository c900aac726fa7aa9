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
from .operators import constant

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
        number = constant(other)
        if value is None or number is None or number.size != 1 or (swapped and node.op_type in ("Sub", "Div")):
            continue
        c = float(number.ravel()[0])
        if node.op_type in ("Add", "Sub"):
            return value, 1.0, c if node.op_type == "Add" else -c
        if node.op_type == "Mul" or c != 0:
            return value, c if node.op_type == "Mul" else 1 / c, 0.0
    return None


def fold(affine: Affine, wanted: QType, fixed_scale: bool) -> Folded | None:
    """Folds `affine` into the quantizer of a tensor of type `wanted`, or None where that cannot be exact.

    `wanted.scale` is raised a little where that makes b / s an integer, unless the device restricts scales.
    """
    if fixed_scale:
        return _at(affine, wanted, wanted.scale)
    for input_scale in _input_scales(affine, wanted):
        folded = _at(affine, wanted, input_scale * affine.factor)
        if folded is not None:
            return folded
    return None


def _input_scales(affine: Affine, wanted: QType) -> list[float]:
    """Scales for x, best first: 1 for integer inputs that fit, then those for which b / s is an integer."""
    least = wanted.scale / affine.factor
    scales = []
    integer = affine.x.dtype is not None and affine.x.dtype.is_integer()
    if integer and 0.5 < least <= 1 + _EXACT:
        scales.append(1.0)
    origin = abs(affine.offset / affine.factor)  # the x at which v is zero
    steps = int(np.floor(origin / least + _EXACT))
    scales.append(origin / steps if steps else least)
    return scales


def _at(affine: Affine, wanted: QType, scale: float) -> Folded | None:
    scale = float(np.float32(scale))
    shift = affine.offset / scale
    if abs(shift - round(shift)) > _EXACT * max(1.0, abs(shift)):
        return None
    input_scale = float(np.float32(scale / affine.factor))
    for zero_point in _zero_points(wanted, scale):
        if wanted.qmin <= zero_point + round(shift) <= wanted.qmax:
            return Folded(replace(wanted, scale=scale, zero_point=zero_point), input_scale, zero_point + round(shift))
    return None


def _zero_points(wanted: QType, scale: float) -> list[int]:
    """The zero point that belongs to the new scale, then its neighbours; 0 stays 0, since the device may demand it."""
    if wanted.zero_point == 0:
        return [0]
    moved = wanted.qmin + round((wanted.zero_point - wanted.qmin) * wanted.scale / scale)
    return [zero_point for zero_point in (moved, moved + 1, moved - 1) if wanted.qmin <= zero_point <= wanted.qmax]
