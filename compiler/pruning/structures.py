"""What may remain of a structure: how many channels a group can lose."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, gcd

from ..analysis.channels import ChannelGroup, Channels


@dataclass(frozen=True)
class ChannelStructure:
    """Whole channels. At least `minimum_share` of every group stays, and always a multiple of `multiple` channels."""

    multiple: int = 1
    minimum_share: float = 0.1

    def removable(self, group: ChannelGroup, width: int, wanted: int) -> int:
        """The largest allowed number of units up to `wanted`; `width` is the number of channels in a unit."""
        step = self.multiple // gcd(self.multiple, width)
        least = max(1, ceil(group.size * self.minimum_share))
        stay = max(least, group.size - wanted)
        return max(0, group.size - ceil(stay / step) * step)


def unit_width(channels: Channels, group: ChannelGroup) -> int:
    """The channels that one unit has in the layer that computes it: more than one in grouped convolutions."""
    producer = group.producers[0]
    units = channels.units[producer.initializer, producer.axis]
    return int((units == group.first).sum())
