"""Coupled channels: which slices of which weights can only be removed together, and which cannot be removed at all.

Every dimension of every value carries a vector of labels, one per position. Each operator's rule (`rules.RULES`) says
how the labels of its inputs become those of its outputs: a convolution ties its input's labels to one axis of its
weight and hands on the labels of another, a concatenation concatenates, a transposition permutes, an addition ties
position by position. Tied labels form one *unit*; units that occur in exactly the same places form a `ChannelGroup`.

    channels = channel_groups(model)
    for group in channels.prunable: print(group.size, group.members)
"""

from __future__ import annotations

from .analyse import channel_groups
from .groups import ChannelGroup, Channels, Member, Product, Site, Units
from .labels import Pin
from .reasons import REASONS, Reason

__all__ = [
    "REASONS",
    "ChannelGroup",
    "Channels",
    "Member",
    "Pin",
    "Product",
    "Reason",
    "Site",
    "Units",
    "channel_groups",
]
