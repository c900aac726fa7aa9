"""Physical layouts: where each element of a logical (NCHW) tensor stands in hls4ml's channels-last arrays and streams.

An order is an index array: physical element i of a tensor is its logical element `order[i]`, both counted row by row.
Transposes and reshapes move no data: they change which logical index a physical element has. A fully connected layer
after a flatten takes its weights in the order in which elements arrive.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import numpy as np
import numpy.typing as npt

Order = npt.NDArray[np.int64]
Shape = tuple[int, ...]


def by_axes(shape: Shape, axes: tuple[int, ...]) -> Order:
    """The order of a tensor stored as `tensor.transpose(axes)`."""
    return np.arange(int(np.prod(shape))).reshape(shape).transpose(axes).ravel()


def channels_last(shape: Shape) -> Order:
    """The order of a [channels, height, width] tensor stored as [height, width, channels]."""
    return by_axes(shape, (1, 2, 0))


def is_identity(order: Order) -> bool:
    return bool((order == np.arange(order.size)).all())


def after_transpose(order: Order, shape: Shape, perm: tuple[int, ...]) -> Order:
    """The order that the same physical data has once the logical tensor of `shape` is transposed by `perm`."""
    moved = by_axes(shape, perm)  # logical element j of the result is element moved[j] of the input
    position = np.empty_like(moved)
    position[moved] = np.arange(moved.size)
    return position[order]


def axes_of(order: Order, shape: Shape) -> tuple[int, ...] | None:
    """The axes with `by_axes(shape, axes) == order`, identity first, or None."""
    if len(shape) > 4:
        return tuple(range(len(shape))) if is_identity(order) else None
    return next((axes for axes in permutations(range(len(shape))) if (by_axes(shape, axes) == order).all()), None)


def input_candidates(shape: Shape) -> Iterator[tuple[int, ...]]:
    """Axes in which a graph input may be stored, likeliest first: channels last, as it is, then the rest."""
    rank = len(shape)
    first = [(1, 2, 0)] if rank == 3 else []
    rest = permutations(range(rank)) if rank <= 4 else [tuple(range(rank))]
    yield from dict.fromkeys([*first, tuple(range(rank)), *rest])


def to_physical(array: npt.NDArray[np.generic], order: Order) -> npt.NDArray[np.generic]:
    """[n, *shape] -> [n, size] in physical order."""
    return array.reshape(len(array), -1)[:, order]


def to_logical(flat: npt.NDArray[np.generic], order: Order, shape: Shape) -> npt.NDArray[np.generic]:
    """[n, size] in physical order -> [n, *shape]."""
    logical = np.empty_like(flat)
    logical[:, order] = flat
    return logical.reshape(len(flat), *shape)
