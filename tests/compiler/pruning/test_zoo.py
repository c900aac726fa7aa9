"""Cuts of small networks after well-known architectures: all are valid, and all are proven."""

from __future__ import annotations

import onnx
import pytest
from light import LIGHT_NAMES
from pruning_nets import NETS, random_removal
from zoo import ZOO

from prunus.compiler.analysis.channels import REASONS, channel_groups
from prunus.compiler.pruning.cut import cut
from prunus.compiler.pruning.prove import prove

TOLERANCE = 1e-5  # relative to the largest output


def test_there_are_enough_of_them() -> None:
    assert len(ZOO) >= 30 and len(NETS) >= 30 and len(LIGHT_NAMES) == 9
    assert not ZOO.keys() & NETS.keys()


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("name", ZOO)
def test_cuts_are_valid_and_proven(name: str, share: float) -> None:
    model = ZOO[name]()
    channels = channel_groups(model)
    removed = random_removal(channels, share, seed=int(10 * share))
    result = cut(model, channels, removed)
    onnx.checker.check_model(result.to_proto(), full_check=True)
    assert channel_groups(result).macs() == channels.macs(removed) < channels.macs()
    proof = prove(model, channels, removed, result)
    assert proof.samples == 5
    assert proof.max_relative_error <= TOLERANCE


@pytest.mark.parametrize("name", ZOO)
def test_one_channel_of_every_group_is_enough(name: str) -> None:
    """The largest cut there is."""
    model = ZOO[name]()
    channels = channel_groups(model)
    removed = channels.keep_all()
    for group in channels.prunable:
        removed[group.units[1:]] = True
    result = cut(model, channels, removed)
    onnx.checker.check_model(result.to_proto(), full_check=True)
    assert prove(model, channels, removed, result).max_relative_error <= TOLERANCE


@pytest.mark.parametrize("name", ZOO)
def test_what_stays_has_a_reason(name: str) -> None:
    for group in channel_groups(ZOO[name]()).groups:
        pin = group.pinned_because
        assert pin is None or (REASONS[pin.code].text and pin.where)
