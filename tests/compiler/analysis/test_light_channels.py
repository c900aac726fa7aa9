"""The channels of the nine light topologies: committed lists of what may go and of what stays and why; what is reached.

The lists are tests/golden/channels/*.txt. A channel that is pinned without need shows up there as a change.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from light import LARGE_LIGHT_NAMES, SMALL_LIGHT_NAMES, random_light_model

from prunus.compiler.analysis.channels import ChannelGroup, Channels, channel_groups
from prunus.compiler.model.load import load_proto
from prunus.compiler.model.model import Model
from prunus.compiler.passes.base import Context
from prunus.compiler.pipeline import Pipeline
from prunus.compiler.pruning.select import select

REACHED = 0.95  # of the MACs that the free channels hold, when as much as possible is asked for
NAMES = [*SMALL_LIGHT_NAMES, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE_LIGHT_NAMES)]


def prepared(name: str) -> Model:
    """The model as channel pruning gets it."""
    return Pipeline.default(last="remove_dead_channels").run(load_proto(random_light_model(name)), Context()).model


def least_macs(channels: Channels) -> int:
    """What is left when every free group keeps one unit."""
    removed = channels.keep_all()
    for group in channels.prunable:
        removed[group.units[1:]] = True
    return channels.macs(removed)


def listing(model: Model, channels: Channels) -> Iterator[str]:
    """One line for every group: free or the reason, its units, and where its channels are made or read first."""
    whole, least = channels.macs(), least_macs(channels)
    yield f"{whole} MACs, {whole - least} of them ({100 * (1 - least / whole):.2f} %) in free channels"
    for group in channels.groups:
        pin = group.pinned_because
        state = "free" if pin is None else f"{pin.code} ({model.original(pin.where)})"
        first = (group.producers or group.members)[0]
        place = f"{model.original(first.initializer)}[{first.axis}]"
        yield f"{state}: {group.size} units, {channels_of(channels, group)} channels, {first.role} {place}"


def channels_of(channels: Channels, group: ChannelGroup) -> int:
    """The channels in the first place of a group: more than its units where groups of a convolution are tied."""
    first = (group.producers or group.members)[0]
    units = channels.units[first.initializer, first.axis]
    return int(((units >= group.first) & (units < group.first + group.size)).sum())


@pytest.mark.parametrize("name", NAMES)
def test_free_and_pinned_channels(name: str, golden) -> None:
    model = prepared(name)
    channels = channel_groups(model)
    golden(f"channels/{name}.txt", "\n".join(listing(model, channels)) + "\n")
    whole, least = channels.macs(), least_macs(channels)
    reached = (whole - select(model, channels, 0.9999, "random").macs_after) / (whole - least)
    assert reached >= REACHED
