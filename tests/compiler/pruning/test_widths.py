"""The search for widths on the whole network."""

from __future__ import annotations

import numpy as np
import pytest
from planted import branches, samples

from prunus.compiler.analysis.channels import Channels, channel_groups
from prunus.compiler.data import Data
from prunus.compiler.errors import UsageError
from prunus.compiler.model.model import Model
from prunus.compiler.pruning import surgeon
from prunus.compiler.pruning.criteria import importance
from prunus.compiler.pruning.select import select
from prunus.compiler.pruning.structures import ChannelStructure
from prunus.compiler.pruning.widths import LEAST_SAMPLES, Search, affordable_trials, search_widths

FRACTION = 0.5


def left(channels: Channels, removed: np.ndarray, weight: str) -> int:
    return int((~removed[channels.units[weight, 0]]).sum())


@pytest.fixture(scope="module")
def case() -> tuple[Model, Channels, Data, np.ndarray, np.ndarray]:
    model, data = branches(1e-3), samples(96)
    channels = channel_groups(model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(surgeon, "reach", lambda model, layers, *_: {layer.weight.name: 1.0 for layer in layers})
        scores = importance(model, channels, "obs", 0, data)
    first = select(model, channels, FRACTION, "obs", data=data, scores=scores).removed
    return model, channels, data, scores, first


def test_takes_from_where_the_output_does_not_depend_on_it(case) -> None:
    """The scores of each layer alone know nothing of the factor behind the first branch."""
    model, channels, data, scores, first = case
    assert left(channels, first, "wb") <= 9
    found = search_widths(model, channels, scores, first, data, Search(FRACTION, 30))
    assert left(channels, found.removed, "wa") <= 3 and left(channels, found.removed, "wb") >= 10
    assert found.damage < 0.5 * found.first_damage
    assert channels.macs(found.removed) <= (1 - FRACTION) * channels.macs()


def test_the_seed_decides(case) -> None:
    model, channels, data, scores, first = case
    one, same = (search_widths(model, channels, scores, first, data, Search(FRACTION, 6, seed=1)) for _ in range(2))
    assert np.array_equal(one.removed, same.removed)


def test_keeps_to_multiples_of_channels(case) -> None:
    model, channels, data, scores, first = case
    how = Search(FRACTION, 10, ChannelStructure(multiple=4))
    found = search_widths(model, channels, scores, channels.keep_all() | first, data, how).removed
    if not np.array_equal(found, first):
        assert all((~found[group.units]).sum() % 4 == 0 for group in channels.prunable)


def test_is_a_scope_of_the_selection(case) -> None:
    model, channels, data, scores, first = case
    searched = select(model, channels, FRACTION, "obs", data=data, scope="searched", scores=scores)
    assert searched.trials > 0 and searched.met
    assert left(channels, searched.removed, "wb") > left(channels, first, "wb")
    assert select(model, channels, FRACTION, "obs", data=data).trials == 0
    assert select(model, channels, FRACTION, "obs", data=data.first(8), scope="searched").trials == 0
    with pytest.raises(UsageError) as failure:
        select(model, channels, FRACTION, "l2", scope="searched")
    assert failure.value.code == "needs-data"


def test_what_is_gone_stays_gone(case) -> None:
    """The iterative schedule gives units that went before a score of minus infinity."""
    model, channels, data, scores, first = case
    before = channels.keep_all()
    before[channels.units["wb", 0][:4]] = True
    known = np.where(before, -np.inf, scores)
    found = search_widths(model, channels, known, first | before, data, Search(FRACTION, 10))
    assert found.removed[before].all()


def test_is_left_out_where_it_would_cost_too_much_or_know_too_little(case, monkeypatch) -> None:
    model, channels, _, _, _ = case
    assert affordable_trials(model, channels, samples(LEAST_SAMPLES)) > 0
    assert affordable_trials(model, channels, samples(LEAST_SAMPLES - 1)) == 0
    monkeypatch.setattr(Channels, "macs", lambda self, removed=None: 10**10)
    assert affordable_trials(model, channels, samples(64)) == 0
