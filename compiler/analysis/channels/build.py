"""From ties and pins to units and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from .groups import ChannelGroup, Channels, Member, Patch, Product, Role, Site, Units
from .labels import Dims, Free, Labels, LabelSpace, Pin

_ROLE_ORDER: tuple[Role, ...] = ("producer", "consumer", "follower")


@dataclass
class Records:
    """What the rules noted on the way. Label vectors stand where the result has units."""

    initializers: list[str] = field(default_factory=list)  # in the order of first use
    roles: dict[tuple[str, int], set[Role]] = field(default_factory=dict)
    patches: list[Patch] = field(default_factory=list)
    sites: list[Site] = field(default_factory=list)
    products: list[Product] = field(default_factory=list)


def build_channels(space: LabelSpace, records: Records, known: Mapping[str, Dims]) -> Channels:
    """Resolves the ties, splits units into groups by where they occur, and translates every label into its unit."""
    _, classes = np.unique(space.roots(), return_inverse=True)  # class number of every label, ordered by first label
    count = int(classes.max()) + 1 if len(classes) else 0
    places = _places(known, classes)
    colours = _refine(count, places)
    reasons, colours = _pins(space, classes, colours)
    axes = {source: classes[dim.labels] for source, dim in _initializer_axes(records, known)}
    members = _members(axes, records.roles, colours)
    return _assemble(records, classes, colours, reasons, axes, members, known)


def _initializer_axes(records: Records, known: Mapping[str, Dims]) -> list[tuple[tuple[str, int], Free]]:
    return [
        ((name, axis), dim)
        for name in records.initializers
        for axis, dim in enumerate(known[name])
        if isinstance(dim, Free)
    ]


def _places(known: Mapping[str, Dims], classes: Labels) -> list[Labels]:
    """The distinct label vectors of all values, as sorted sets of classes."""
    seen: dict[int, Labels] = {}
    for dims in known.values():
        for dim in dims:
            if isinstance(dim, Free) and id(dim.labels) not in seen:
                seen[id(dim.labels)] = np.unique(classes[dim.labels])
    return list(seen.values())


def _refine(count: int, places: list[Labels]) -> Labels:
    """Colours classes so that two share a colour exactly when they occur in the same places (partition refinement).

    This makes each dimension of each value a union of whole groups: as long as every group keeps a unit, none is empty.
    """
    colours = np.zeros(count, dtype=np.int64)
    sizes = [count]
    for place in places:
        found, inverse, counts = np.unique(colours[place], return_inverse=True, return_counts=True)
        for position, (colour, inside) in enumerate(zip(found.tolist(), counts.tolist(), strict=True)):
            if inside < sizes[colour]:  # the place splits this colour: what is inside gets a new one
                colours[place[inverse == position]] = len(sizes)
                sizes[colour] -= inside
                sizes.append(inside)
    return colours


def _pins(space: LabelSpace, classes: Labels, colours: Labels) -> tuple[dict[int, Pin], Labels]:
    """The first reason of every pinned colour; a colour of which only a part is pinned is split."""
    first = np.full(len(colours), len(space.pins), dtype=np.int64)
    for number, (labels, _) in enumerate(space.pins):
        np.minimum.at(first, classes[labels], number)
    pairs, colours = np.unique(np.stack([colours, first], axis=1), axis=0, return_inverse=True)
    reasons = {
        colour: space.pins[number][1] for colour, (_, number) in enumerate(pairs.tolist()) if number < len(space.pins)
    }
    return reasons, np.ravel(colours)


def _members(
    axes: Mapping[tuple[str, int], Labels], roles: Mapping[tuple[str, int], set[Role]], colours: Labels
) -> dict[int, list[Member]]:
    """Per colour the initializer axes in which it occurs. An axis with several roles is listed once for each."""
    members: dict[int, list[Member]] = {}
    for (name, axis), axis_classes in axes.items():
        of_axis = [role for role in _ROLE_ORDER if role in roles.get((name, axis), {"follower"})]
        for colour in np.unique(colours[axis_classes]).tolist():
            members.setdefault(colour, []).extend(Member(name, axis, role) for role in of_axis)
    return members


def _assemble(
    records: Records,
    classes: Labels,
    colours: Labels,
    reasons: Mapping[int, Pin],
    axes: Mapping[tuple[str, int], Labels],
    members: Mapping[int, list[Member]],
    known: Mapping[str, Dims],
) -> Channels:
    """Numbers the units group by group, and puts them in place of labels everywhere."""
    unit_of_class = np.full(len(colours), -1, dtype=np.int64)
    groups: list[ChannelGroup] = []
    count = 0
    found, first = np.unique(colours, return_index=True)
    for colour in found[np.argsort(first)].tolist():
        of_colour = tuple(members.get(colour, ()))
        roles = {member.role for member in of_colour}
        if not roles & {"producer", "consumer"}:
            continue  # kernel positions and the like: nothing that is ever cut
        inside = np.flatnonzero(colours == colour)
        reason = reasons.get(colour) or _unusable(of_colour, len(inside))
        groups.append(ChannelGroup(of_colour, len(inside), count, reason))
        unit_of_class[inside] = np.arange(count, count + len(inside))
        count += len(inside)

    initializers = set(records.initializers)

    def translate(item: Any) -> Any:
        changes = {entry.name: _units(getattr(item, entry.name), unit_of_class, classes) for entry in fields(item)}
        return replace(item, **changes)

    return Channels(
        groups=tuple(groups),
        count=count,
        units={source: unit_of_class[axis] for source, axis in axes.items()},
        patches=tuple(map(translate, records.patches)),
        sites=tuple(map(translate, records.sites)),
        products=tuple(map(translate, records.products)),
        values={
            name: tuple(unit_of_class[classes[dim.labels]] if isinstance(dim, Free) else dim.size for dim in dims)
            for name, dims in known.items()
            if name not in initializers
        },
    )


def _unusable(members: Sequence[Member], size: int) -> Pin | None:
    """Why units that no operator pins cannot be removed all the same."""
    if not any(member.role == "producer" for member in members):
        return Pin("no-producer", members[0].initializer)
    return Pin("all-or-nothing", members[0].initializer) if size == 1 else None


def _units(field_value: Any, unit_of_class: Units, classes: Labels) -> Any:
    """Label vectors, and tuples of them, as unit vectors; anything else as it is."""
    if isinstance(field_value, np.ndarray):
        return unit_of_class[classes[field_value]]
    if isinstance(field_value, tuple):
        return tuple(_units(part, unit_of_class, classes) for part in field_value)
    return field_value
