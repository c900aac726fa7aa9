"""2:4 structured sparsity as sparse tensor cores take it: of four neighbouring input channels at most two count.

The weights of one output channel at one position of the window are cut into groups of four input channels; each group
stores two values and, for each, its place in the group (Mishra et al., "Accelerating Sparse Deep Neural Networks",
2021; TensorRT: "structured sparsity" along the input channels of convolutions and fully connected layers).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...compiler.integer import graph as ir

GROUP, KEPT = 4, 2
INDEX_BITS = 2  # of a value's place in its group


@dataclass(frozen=True, eq=False)
class TwoOfFour:
    """A layer's weights without the zeros that the pattern promises.

    values: [rows, groups, 2], in the order of their places; places: the same shape, 0 to 3. Rows are output channel by
    position of the window; `shape` is that of the weights, [out, in, ...].
    """

    values: npt.NDArray[Any]
    places: npt.NDArray[np.uint8]
    shape: tuple[int, ...]

    @property
    def stored_bits(self) -> int:
        """What values and places take together."""
        return int(self.values.size) * (8 * self.values.itemsize + INDEX_BITS)


def _grouped(weight: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """[out, in, ...] -> [rows, groups, 4], input channels innermost; the last group is filled up with zeros."""
    rows = np.moveaxis(weight, 1, -1).reshape(-1, weight.shape[1])
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % GROUP)))
    return padded.reshape(len(rows), -1, GROUP)


def is_two_of_four(weight: npt.NDArray[Any]) -> bool:
    """Whether every group of four neighbouring input channels holds at most two weights other than zero."""
    return bool((np.count_nonzero(_grouped(weight), axis=-1) <= KEPT).all())


def pack(weight: npt.NDArray[Any]) -> TwoOfFour:
    """Weights [out, in, ...] in the pattern; the inverse is `unpack`. Raises ValueError for others."""
    if not is_two_of_four(weight):
        raise ValueError("more than two of four neighbouring input channels are not zero")
    groups = _grouped(weight)
    places = np.sort(np.argsort(groups == 0, axis=-1, kind="stable")[..., :KEPT], axis=-1)
    return TwoOfFour(np.take_along_axis(groups, places, axis=-1), places.astype(np.uint8), weight.shape)


def unpack(packed: TwoOfFour) -> npt.NDArray[Any]:
    """The weights with their zeros in place."""
    rows, groups, _ = packed.values.shape
    dense = np.zeros((rows, groups, GROUP), packed.values.dtype)
    np.put_along_axis(dense, packed.places.astype(np.int64), packed.values, axis=-1)
    out, channels, *window = packed.shape
    flat = dense.reshape(rows, -1)[:, :channels]
    return np.ascontiguousarray(np.moveaxis(flat.reshape(out, *window, channels), -1, 1))


def takes_part(op: ir.Op) -> bool:
    """Whether sparse tensor cores compute this kind of layer at all: an ungrouped convolution or a product."""
    return isinstance(op, ir.QGemm) or (isinstance(op, ir.QConv) and op.group == 1)
