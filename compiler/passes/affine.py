"""Per-channel affine functions y_c = scale_c * x_c + shift_c: reading them from nodes, and composing them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..model.edit import weight
from ..model.match import Array, constant_operand, dims, is_float, is_op, operand, same_shape, sole_use

AFFINE_OPS = ("Add", "BatchNormalization", "Div", "Mul", "Sub")


@dataclass(frozen=True, eq=False)
class Affine:
    """y = scale * x + shift along one axis. Both arrays are float64 of shape [channels]."""

    scale: Array
    shift: Array

    def then(self, later: Affine) -> Affine:
        """later(self(x)) = (s2 s1) x + (s2 t1 + t2)."""
        return Affine(later.scale * self.scale, later.scale * self.shift + later.shift)

    @property
    def is_finite(self) -> bool:
        return bool(np.isfinite(self.scale).all() and np.isfinite(self.shift).all())


def read_affine(node: ir.Node | None, axis: int, channels: int) -> tuple[ir.Value, Affine] | None:
    """(x, function) where the node is an affine function of x that is constant but for the channel.

    BatchNormalization:  scale = gamma / sqrt(variance + epsilon), shift = beta - mean * scale   (axis 1 only)
    x + c, x - c, c - x, x * c, x / c:  c a scalar, or one number per channel along `axis`.
    """
    if node is None or not is_op(node, *AFFINE_OPS):
        return None
    if node.op_type == "BatchNormalization":
        return _read_batch_norm(node) if axis == 1 else None
    found = constant_operand(node)
    if found is None or not is_float(found[0]) or not same_shape(found[0], node.outputs[0]):
        return None
    source, array, side = found
    constant = per_channel(array, len(dims(source) or ()), axis, channels)
    if constant is None:
        return None
    one, zero = np.ones(channels), np.zeros(channels)
    match node.op_type, side:
        case "Add", _:
            return source, Affine(one, constant)
        case "Sub", 1:
            return source, Affine(one, -constant)
        case "Sub", 0:
            return source, Affine(-one, constant)
        case "Mul", _:
            return source, Affine(constant, zero)
        case "Div", 1 if constant.all():
            return source, Affine(1.0 / constant, zero)
    return None


def _read_batch_norm(node: ir.Node) -> tuple[ir.Value, Affine] | None:
    arrays = [weight(operand(node, index)) for index in range(1, 5)]
    source = node.inputs[0]
    if source is None or len(node.outputs) != 1 or node.attributes.get_int("training_mode", 0) != 0:
        return None
    if any(array is None for array in arrays):
        return None
    gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in arrays)
    deviation = variance + node.attributes.get_float("epsilon", 1e-5)
    if not (deviation > 0).all():
        return None
    scale = gamma / np.sqrt(deviation)
    return source, Affine(scale, beta - mean * scale)


def per_channel(array: Array, rank: int, axis: int, channels: int) -> Array | None:
    """The constant as float64 [channels], or None where it varies along another dimension."""
    if array.ndim > rank:
        return None
    shape = (1,) * (rank - array.ndim) + array.shape
    if any(size != 1 for index, size in enumerate(shape) if index != axis) or shape[axis] not in (1, channels):
        return None
    return np.broadcast_to(array.astype(np.float64).reshape(-1), (channels,)).copy()


def follow(value: ir.Value, axis: int, channels: int) -> tuple[list[ir.Node], Affine]:
    """The chain of affine nodes that alone read `value` and each other, and the function that they compute."""
    chain: list[ir.Node] = []
    total = Affine(np.ones(channels), np.zeros(channels))
    while (use := sole_use(value)) is not None:
        found = read_affine(use[0], axis, channels)
        if found is None or found[0] is not value:
            break
        total = total.then(found[1])
        chain.append(use[0])
        value = use[0].outputs[0]
    return chain, total
