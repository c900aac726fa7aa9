"""The result of the analysis: groups of channels that go together, and what a cut has to rewrite besides weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from .labels import Pin

Role = Literal["producer", "consumer", "follower"]
Units = npt.NDArray[np.int64]  # per position of a dimension its unit, -1 where the position can never go
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, order=True)
class Member:
    """One axis of one initializer. A producer computes the channels, a consumer sums over them, a follower has one
    parameter (or slice) for each of them: a bias, a scale, a depthwise kernel."""

    initializer: str
    axis: int
    role: Role


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that occur in exactly the same places. The group's units are `first` … `first + size - 1`.

    Any one of them can be removed without the others, unless `pinned_because` says why not.
    """

    members: tuple[Member, ...]
    size: int
    first: int
    pinned_because: Pin | None = None

    @property
    def units(self) -> Units:
        return np.arange(self.first, self.first + self.size, dtype=np.int64)

    @property
    def producers(self) -> tuple[Member, ...]:
        return tuple(member for member in self.members if member.role == "producer")


# What a cut rewrites besides weights. `node` is the name of a node's first output: every node has one.


@dataclass(frozen=True, eq=False)
class CountPatch:
    """An attribute that is the number of units that stay: `group` of a depthwise convolution, `hidden_size`."""

    node: str
    attribute: str
    units: Units


@dataclass(frozen=True, eq=False)
class ShapePatch:
    """A constant list of sizes (input `index`): entries of dimensions that shrink. None marks those that do not."""

    node: str
    index: int
    dims: tuple[Units | None, ...]


@dataclass(frozen=True, eq=False)
class SplitPatch:
    """Sizes of the parts of a Split."""

    node: str
    parts: tuple[Units, ...]


@dataclass(frozen=True, eq=False)
class SlicePatch:
    """Start and end of one axis (`entry` of the lists) of a Slice that takes positions start … end - 1."""

    node: str
    entry: int
    start: int
    end: int
    units: Units


@dataclass(frozen=True, eq=False)
class IndexPatch:
    """Constant indices of a Gather into a dimension that shrinks."""

    node: str
    units: Units


Patch = CountPatch | ShapePatch | SplitPatch | SlicePatch | IndexPatch


@dataclass(frozen=True, eq=False)
class Site:
    """A sum over channels: input `index` of `node` has them on `axis`; `weight` is the consumer's (initializer, axis)
    when the other operand is an initializer as it stands."""

    node: str
    index: int
    axis: int
    units: Units
    weight: tuple[str, int] | None


@dataclass(frozen=True, eq=False)
class Product:
    """A layer's multiply-accumulates for a batch of one: `constant` times the positions left on each of `dims`."""

    node: str
    constant: int
    dims: tuple[Units, ...]


@dataclass(frozen=True, eq=False)
class Channels:
    """All channel groups of a model, in graph order, and where their units occur.

    `units` gives per (initializer, axis) the unit of every position. `count` is the number of units; a removal is a
    mask of that length, True for each unit to remove. `values` gives per computed value and axis the units of a
    dimension that may shrink, or the size of one that never does.
    """

    groups: tuple[ChannelGroup, ...]
    count: int
    units: Mapping[tuple[str, int], Units]
    patches: tuple[Patch, ...] = ()
    sites: tuple[Site, ...] = ()
    products: tuple[Product, ...] = ()
    values: Mapping[str, tuple[Units | int, ...]] = field(default_factory=dict)

    @cached_property
    def places(self) -> Mapping[str, Mapping[int, Units]]:
        """The units on every axis that may shrink, of every computed value that has one."""
        return {
            name: {axis: units for axis, units in enumerate(dims) if isinstance(units, np.ndarray)}
            for name, dims in self.values.items()
        }

    @property
    def prunable(self) -> tuple[ChannelGroup, ...]:
        return tuple(group for group in self.groups if group.pinned_because is None)

    def keep_all(self) -> Mask:
        """The removal that removes nothing."""
        return np.zeros(self.count, dtype=np.bool_)

    def macs(self, removed: Mask | None = None) -> int:
        """Multiply-accumulates of all layers for a batch of one, after a removal."""
        removed = self.keep_all() if removed is None else removed
        return sum(
            product.constant * int(np.prod([kept(units, removed).sum() for units in product.dims], dtype=np.int64))
            for product in self.products
        )


def kept(units: Units, removed: Mask) -> Mask:
    """Which positions of a dimension stay."""
    mask: npt.NDArray[Any] = np.append(removed, False)[units]  # -1 finds the appended entry: it always stays
    return ~mask
