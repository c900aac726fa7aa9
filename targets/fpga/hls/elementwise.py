"""Operators that touch elements one by one, and those that only move them."""

from __future__ import annotations

import numpy as np

from ....compiler.integer import graph as ir
from . import layout
from .linear import image
from .lowering import Ints, Lowering, Value, refuse
from .types import Fixed, holding


def _pair(low: Lowering, op: ir.QAdd | ir.QMul) -> tuple[Value, Value]:
    """Both inputs, of one shape and order."""
    a, b = (low.values[name] for name in op.inputs)
    if low.graph.tensors[op.inputs[0]].shape != low.graph.tensors[op.inputs[1]].shape:
        raise refuse(op, "broadcast", "The inputs have different shapes.", "Expand the smaller input in the model.")
    if not (a.order == b.order).all():
        raise refuse(op, "layout", "The inputs arrive in different orders.", "Move transposes to the model's input.")
    return a, low.reshaped(b, a.shape, "like")


def lower_add(low: Lowering, op: ir.QAdd) -> Value:
    """A sum. Fixed-point addition aligns the operands exactly, so one rounding by the result's type is left."""
    a, b = _pair(low, op)
    if op.requant.scheme == "pow2":
        for entry, value in enumerate((a, b)):
            low.check_shift(op, entry, value.type.fraction)
    else:
        a, b = (_branch(low, op, value, entry) for entry, value in enumerate((a, b)))
    value = low.emit(
        "Merge", f"{op.output}_add", (a, b), low.result_type(op), a.shape, a.order, attributes={"op": "add"}
    )
    return low.clipped(op, value)


def _branch(low: Lowering, op: ir.QAdd, x: Value, entry: int) -> Value:
    """x * M * 2^-shift in a type that loses nothing."""
    multiplier, shift = _factor(op.requant, entry)
    wide = holding(x.type.max_abs * int(multiplier[0]), int(shift[0]))
    return low.scaled(f"{op.output}_side{entry}", x, multiplier, shift, wide)


def _factor(requant: ir.Requant, entry: int = 0) -> tuple[Ints, Ints]:
    """One entry of a multiplier and its shift, as arrays of length 1."""
    return requant.multiplier.astype(np.int64)[entry : entry + 1], requant.shift.astype(np.int64)[entry : entry + 1]


def lower_mul(low: Lowering, op: ir.QMul) -> Value:
    """An elementwise product; under `fixed` its multiplier follows as a batch normalization."""
    a, b = _pair(low, op)
    exact = holding(a.type.max_abs * b.type.max_abs, a.type.fraction + b.type.fraction)
    result, attributes = low.result_type(op), {"op": "multiply"}
    if op.requant.scheme == "pow2":
        low.check_shift(op, 0, exact.fraction)
        value = low.emit("Merge", f"{op.output}_mul", (a, b), result, a.shape, a.order, attributes=attributes)
    else:
        value = low.emit("Merge", f"{op.output}_product", (a, b), exact, a.shape, a.order, attributes=attributes)
        value = low.scaled(f"{op.output}_scale", value, *_factor(op.requant), result)
    return low.clipped(op, value)


def lower_requant(low: Lowering, op: ir.QRequant) -> Value:
    """A change of scale or range: a cast, or a product with the multiplier."""
    x, result = low.values[op.inputs[0]], low.result_type(op)
    if op.requant.scheme == "pow2":
        low.check_shift(op, 0, x.type.fraction)
        return low.clipped(op, low.cast(f"{op.output}_cast", x, result))
    return low.clipped(op, low.scaled(f"{op.output}_scale", x, *_factor(op.requant), result))


def lower_concat(low: Lowering, op: ir.QConcat) -> Value:
    """A concatenation of images along any axis, or of vectors, two at a time."""
    shape = low.graph.tensors[op.output].shape
    if len(shape) not in (1, 3):
        raise refuse(op, "layout", "The inputs are neither images nor vectors.", "Flatten them first.")
    result = low.result_type(op)
    joined, *parts = (_part(low, op, entry, result) for entry in range(len(op.inputs)))
    for index, part in enumerate(parts):
        name = f"{op.output}_concat" + (str(index) if index < len(parts) - 1 else "")
        joined = _join(low, name, joined, part, op.axis, result)
    return low.clipped(op, joined)


def _part(low: Lowering, op: ir.QConcat, entry: int, result: Fixed) -> Value:
    """One input at the output's scale. Where only types differ, the concatenation itself casts."""
    name, shape = op.inputs[entry], low.graph.tensors[op.inputs[entry]].shape
    x = image(low, op, name) if len(shape) == 3 else low.reshaped(low.values[name], shape, "flat")
    if low.graph.quant(name) == low.graph.quant(op.output):
        return x
    if op.requant.scheme == "pow2":
        low.check_shift(op, entry, x.type.fraction)
        return x
    return low.scaled(f"{op.output}_side{entry}", x, *_factor(op.requant, entry), result)


def _join(low: Lowering, name: str, a: Value, b: Value, axis: int, result: Fixed) -> Value:
    """Two images along `axis` of [channels, height, width], or two vectors."""
    rank = len(a.shape)
    at = (axis - 1) % rank  # the same axis with channels last
    shape = tuple(size + b.shape[at] if i == at else size for i, size in enumerate(a.shape))
    if rank == 1:
        order = np.concatenate([a.order, b.order + a.order.size])
    else:
        order = layout.channels_last((shape[2], shape[0], shape[1]))
    attributes = {"axis": at + 1, "op": f"concatenate{rank}d"}
    return low.emit("Concatenate", name, (a, b), result, shape, order, attributes=attributes)


def lower_reshape(low: Lowering, op: ir.QReshape) -> Value:
    """Nothing moves: only the logical shape changes."""
    return low.values[op.inputs[0]]


def lower_transpose(low: Lowering, op: ir.QTranspose) -> Value:
    """Nothing moves: the same physical elements have other logical places."""
    x = low.values[op.inputs[0]]
    order = layout.after_transpose(x.order, low.graph.tensors[op.inputs[0]].shape, op.perm)
    return Value(x.layer, x.shape, order, x.type)


def lower_pad(low: Lowering, op: ir.QPad) -> Value:
    """Zeros around an image."""
    x = image(low, op, op.inputs[0])
    if op.value != 0 or op.before[0] or op.after[0]:
        raise refuse(op, "pad", "hls4ml pads images with zeros, in height and width.", "Pad inside the convolution.")
    channels, height, width = low.graph.tensors[op.output].shape
    result = Fixed(x.type.width, x.type.fraction, x.type.signed)
    return low.emit(
        "ZeroPadding2D",
        f"{op.output}_pad",
        (x,),
        result,
        (height, width, channels),
        layout.channels_last((channels, height, width)),
        attributes={
            "data_format": "channels_last",
            "in_height": x.shape[0],
            "in_width": x.shape[1],
            "out_height": height,
            "out_width": width,
            "n_chan": channels,
            "pad_top": op.before[1],
            "pad_bottom": op.after[1],
            "pad_left": op.before[2],
            "pad_right": op.after[2],
        },
    )


def lower_resize(low: Lowering, op: ir.QResize) -> Value:
    """A nearest-neighbour resize that repeats every pixel equally often."""
    x = image(low, op, op.inputs[0])
    height, width = len(op.rows), len(op.columns)
    for indices, size in ((op.rows, x.shape[0]), (op.columns, x.shape[1])):
        if len(indices) % size or not np.array_equal(indices, np.arange(size).repeat(len(indices) // size)):
            raise refuse(
                op,
                "resize",
                "hls4ml repeats every pixel equally often.",
                "Resize by whole factors, with coordinates rounded down (asymmetric, floor).",
            )
    return low.emit(
        "Resize",
        f"{op.output}_resize",
        (x,),
        x.type,
        (height, width, x.shape[2]),
        layout.channels_last((x.shape[2], height, width)),
        attributes={
            "data_format": "channels_last",
            "in_height": x.shape[0],
            "in_width": x.shape[1],
            "out_height": height,
            "out_width": width,
            "n_chan": x.shape[2],
            "algorithm": "nearest",
        },
    )
