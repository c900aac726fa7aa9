"""Cuts of small networks after well-known architectures: all are valid, and all are proven."""

from __future__ import annotations

import onnx
import pytest
from light import LIGHT_NAMES
from pruning_nets import NETS, random_removal
from zoo import ZOO

from prunus.compiler.analysis.channels import REASONS, channel_groups
from prunus.compiler.model.edit import weight
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


WITH_HEADS = ("vit", "vit_split", "vit_decomposed", "swin", "bert", "recommender")


@pytest.mark.parametrize("name", WITH_HEADS)
def test_whole_heads_are_proven(name: str) -> None:
    """Of two heads one goes, with its queries, keys and values, whatever form they have."""
    model = ZOO[name]()
    channels = channel_groups(model, whole_heads=True)
    assert channels.groups != channel_groups(model).groups
    removed = random_removal(channels)
    result = cut(model, channels, removed)
    onnx.checker.check_model(result.to_proto(), full_check=True)
    assert prove(model, channels, removed, result).max_relative_error <= TOLERANCE


def test_a_head_goes_as_a_whole() -> None:
    model = NETS["attention"]()
    channels = channel_groups(model, whole_heads=True)
    first, second = channels.units["wq", 1].reshape(2, 4)
    assert (first == first[0]).all() and (second == second[0]).all() and first[0] != second[0]
    assert (channels.units["wv", 1] == channels.units["wq", 1]).all()
    removed = channels.keep_all()
    removed[first[0]] = True
    result = cut(model, channels, removed)
    heads = next(node for node in result.graph if node.op_type == "Reshape").inputs[1]
    assert weight(heads).tolist() == [0, 7, 1, 4]
    assert prove(model, channels, removed, result).max_relative_error <= TOLERANCE
