"""Labels on tensor dimensions, and which of them are one and the same channel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]
Index = npt.NDArray[Any]


@dataclass(frozen=True)
class Pin:
    """Why a dimension cannot shrink: a key of `reasons.REASONS`, and the plain name of the node or value behind it."""

    code: str
    where: str


@dataclass(frozen=True)
class Fixed:
    """A dimension that never changes its size."""

    size: int
    pin: Pin

    def take(self, index: Index) -> Fixed:
        return Fixed(len(index), self.pin)


@dataclass(frozen=True, eq=False)
class Free:
    """A dimension that may shrink; `labels` has one entry per position.

    `source` is the (initializer, axis) whose positions these are, unchanged and in order, where there is one.
    """

    labels: Labels
    source: tuple[str, int] | None = None

    @property
    def size(self) -> int:
        return len(self.labels)

    def take(self, index: Index) -> Free:
        return Free(self.labels[index])


Dim = Fixed | Free
Dims = list[Dim]


@dataclass
class LabelSpace:
    """Hands out labels and remembers which were tied and pinned; the classes are computed once, at the end."""

    count: int = 0
    pins: list[tuple[Labels, Pin]] = field(default_factory=list)
    _left: list[Labels] = field(default_factory=list)
    _right: list[Labels] = field(default_factory=list)

    def fresh(self, size: int) -> Labels:
        start, self.count = self.count, self.count + size
        return np.arange(start, self.count, dtype=np.int64)

    def union(self, left: Labels, right: Labels) -> None:
        """Ties two vectors of equal length, position by position."""
        if left is not right:
            self._left.append(left)
            self._right.append(right)

    def pin(self, labels: Labels, pin: Pin) -> None:
        self.pins.append((labels, pin))

    def roots(self) -> Labels:
        """For every label the smallest label of its class."""
        if not self._left:
            return np.arange(self.count, dtype=np.int64)
        return components(self.count, np.concatenate(self._left), np.concatenate(self._right))


def components(count: int, left: Labels, right: Labels) -> Labels:
    """Connected components of `count` vertices under the edges left[i]-right[i]: the smallest vertex of each one's.

    Hooking and pointer jumping on whole arrays (Shiloach and Vishkin, 1982): a few rounds, no loop over vertices.
    """
    parent = np.arange(count, dtype=np.int64)
    while True:
        left, right = parent[left], parent[right]
        differ = left != right
        if not differ.any():
            return parent
        left, right = left[differ], right[differ]
        np.minimum.at(parent, np.maximum(left, right), np.minimum(left, right))
        while not np.array_equal(grandparent := parent[parent], parent):
            parent = grandparent
