"""Which axes of an input are channels, height and width: what its way to the first convolution says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..model.match import attribute_ints, dims, is_op

Array = npt.NDArray[Any]

_LOOKS_AT_PLACES = ("AveragePool", "Conv", "ConvTranspose", "GlobalAveragePool", "LpPool", "MaxPool")
_MOVES_PLACES = ("Reshape", "Squeeze", "Transpose", "Unsqueeze")
_KEEPS_PLACES = (
    "Add", "BatchNormalization", "Cast", "Clip", "DequantizeLinear", "Div", "Identity", "Mul", "Neg", "Pad",
    "QuantizeLinear", "Relu", "Sub",
)  # fmt: skip


@dataclass(frozen=True)
class Layout:
    """`order`: the array's axes as samples, channels, height and width; -1 for an axis of one that it does not have."""

    order: tuple[int, int, int, int]
    rank: int

    @staticmethod
    def flat(rank: int) -> Layout:
        """Of an input without places: everything behind the samples counts as channels."""
        return Layout((0, 1, -1, -1), rank)

    def pictures(self, array: Array) -> Array:
        """A view [n, channels, height, width]."""
        if self.rank != sum(axis >= 0 for axis in self.order):
            return array.reshape(len(array), -1, 1, 1)
        present = array.transpose([axis for axis in self.order if axis >= 0])
        missing = tuple(place for place, axis in enumerate(self.order) if axis < 0)
        return np.expand_dims(present, missing)

    def restored(self, pictures: Array, shape: Sequence[int]) -> Array:
        """The array of this shape, whose pictures these are."""
        if self.rank != sum(axis >= 0 for axis in self.order):
            return pictures.reshape(shape)
        present = pictures.squeeze(tuple(place for place, axis in enumerate(self.order) if axis < 0))
        return np.ascontiguousarray(present.transpose(np.argsort([axis for axis in self.order if axis >= 0])))


def layout_of(value: ir.Value) -> Layout | None:
    """The layout of an input with one or two spatial axes; None where nothing on its way tells it."""
    rank = len(dims(value) or ())
    axes = list(range(rank))  # of the value that the walk has come to: which of the input's each is; -1: a new one
    while True:
        readers = [use.node for use in value.uses()]
        if any(is_op(node, *_LOOKS_AT_PLACES) for node in readers):
            return _layout(axes, rank)
        node = next((node for node in readers if is_op(node, *_MOVES_PLACES, *_KEEPS_PLACES)), None)
        if node is None:
            return None
        result = node.outputs[0]
        found = _followed(node, axes, value, result)
        if found is None:
            return None
        axes, value = found, result


def _followed(node: ir.Node, axes: list[int], value: ir.Value, result: ir.Value) -> list[int] | None:
    before, after = dims(value), dims(result)
    if before is None or after is None:
        return None
    if is_op(node, "Transpose"):
        permutation = attribute_ints(node, "perm") or tuple(reversed(range(len(before))))
        return [axes[place] for place in permutation]
    if is_op(node, *_MOVES_PLACES):  # axes of one may come, go and move; all others stay in order
        wide = [place for place, size in enumerate(before) if size != 1]
        if [before[place] for place in wide] != [size for size in after if size != 1]:
            return None
        narrow = [axes[place] for place, size in enumerate(before) if size == 1]
        rest = iter(axes[place] for place in wide)
        return [next(rest) if size != 1 else (narrow.pop(0) if narrow else -1) for size in after]
    return axes if len(before) == len(after) else None


def _layout(axes: list[int], rank: int) -> Layout | None:
    """From the axes [samples, channels, places ...] of what a convolution reads."""
    if len(axes) not in (3, 4) or axes[0] != 0 or sum(axis >= 0 for axis in axes) != rank:
        return None
    height, width = (-1, axes[2]) if len(axes) == 3 else (axes[2], axes[3])
    return Layout((0, axes[1], height, width), rank)
