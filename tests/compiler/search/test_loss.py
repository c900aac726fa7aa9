"""What channels are worth after refitting."""

from __future__ import annotations

import numpy as np
import pytest
from search_target import half_redundant, samples

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.data import Data
from prunus.compiler.pruning.criteria import importance
from prunus.compiler.pruning.masked import MaskedModel
from prunus.compiler.pruning.patterns import Pattern
from prunus.compiler.search.contest import built
from prunus.compiler.search.decisions import Choice
from prunus.compiler.search.loss import RefitLoss, divergence
from prunus.compiler.search.widths import full_widths, removal


@pytest.fixture(scope="module")
def parts():
    model, data = half_redundant(), samples()
    channels = channel_groups(model)
    scores = importance(model, channels, "obs", 0, data)
    return model, data, channels, scores, RefitLoss(model, channels, scores, data)


def test_the_whole_network_loses_nothing(parts) -> None:
    *_, channels, _, loss = parts
    assert loss(full_widths(channels)) == pytest.approx(0, abs=1e-9)


def test_copies_are_worth_nothing_once_the_reader_is_refitted(parts) -> None:
    """Without the refit their loss is large: the check sees the difference."""
    model, data, channels, scores, loss = parts
    _, *others = full_widths(channels)
    without_copies = (8, *others)
    removed = removal(channels, without_copies, scores)
    assert set(np.flatnonzero(removed) % 8) == set(range(8))  # one of each pair
    masked = MaskedModel(model, channels)
    whole, cut_only = (masked.run(data, 16, mask) for mask in (channels.keep_all(), removed))
    assert loss(without_copies) < 0.01
    assert divergence(whole, cut_only, classes=False) > 0.3


def test_fewer_channels_lose_more(parts) -> None:
    *_, channels, _, loss = parts
    first, _, *others = full_widths(channels)
    losses = [loss((first, width, *others)) for width in (16, 12, 8, 4)]
    assert losses == sorted(losses)
    assert losses[-1] > 0.1


def test_it_tells_what_the_finished_network_loses(parts) -> None:
    model, _, channels, scores, loss = parts
    for widths in ((8, 12, 12), (6, 16, 8)):
        finished = loss.of(built(model, channels, scores, Choice(widths), loss.fitted_on))
        assert finished == pytest.approx(loss(widths), rel=0.5)


def test_fewer_bits_lose_more(parts) -> None:
    *_, channels, _, loss = parts
    whole = full_widths(channels)
    eight, four, two = (loss(whole, tuple((layer, bits) for layer in loss.layers)) for bits in (8, 4, 2))
    assert 0 < eight < four / 20
    assert four < two / 3


def test_labels_that_number_classes_make_it_a_divergence(parts) -> None:
    model, data, channels, scores, _ = parts
    labelled = Data(data.inputs, np.arange(len(data)) % 5)
    loss = RefitLoss(model, channels, scores, labelled)
    uniform = np.log(5)  # no decision diverges further than that on average
    assert 0 < loss((4, 4, 4)) < 3 * uniform


def test_the_outputs_of_another_network_may_be_what_is_kept(parts) -> None:
    model, data, channels, scores, _ = parts
    small = built(model, channels, scores, Choice((8, 8, 8)), data)
    groups = channel_groups(small)
    own = importance(small, groups, "obs", 0, data)
    assert RefitLoss(small, groups, own, data)((8, 8, 8)) == pytest.approx(0, abs=1e-9)
    assert RefitLoss(small, groups, own, data, reference=model)((8, 8, 8)) > 0.01


@pytest.mark.parametrize("pattern", [Pattern("block", (4, 4)), Pattern("n_m", (2, 4)), Pattern("weight")])
def test_zeros_lose_about_what_they_do_in_the_finished_network(parts, pattern: Pattern) -> None:
    """Alone, and with channels gone: the pattern then holds in what is left."""
    model, data, channels, scores, _ = parts
    loss = RefitLoss(model, channels, scores, data, zeros=pattern)
    assert len(loss.zeroable) >= 3
    thin = tuple((layer, 50) for layer in loss.zeroable[-3:])
    for widths in (full_widths(channels), (8, 12, 16)):
        network = built(model, channels, scores, Choice(widths, densities=thin), loss.fitted_on, pattern=pattern)
        assert 0.5 < loss(widths, densities=thin) / loss.of(network) < 2
        assert loss(widths, densities=thin) > 1.2 * loss(widths)


def test_fewer_weights_lose_more(parts) -> None:
    model, data, channels, scores, _ = parts
    loss = RefitLoss(model, channels, scores, data, zeros=Pattern("block", (4, 4)))
    whole, layer = full_widths(channels), loss.zeroable[-1]
    losses = [loss(whole, densities=((layer, percent),)) for percent in (70, 50, 25)]
    assert 0 < losses[0] < losses[1] < losses[2]


def test_weights_that_read_copies_are_worth_less(parts) -> None:
    """The second layer reads every channel of the first group twice: half of its blocks lose least."""
    model, data, channels, scores, _ = parts
    loss = RefitLoss(model, channels, scores, data, zeros=Pattern("block", (4, 4)))
    second, *others = (loss(full_widths(channels), densities=((name, 50),)) for name in loss.zeroable)
    assert second < 0.5 * min(others)
