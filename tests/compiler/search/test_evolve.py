"""Architecture search: better than uniform widths, and the same result whether it was interrupted or not."""

from __future__ import annotations

from pathlib import Path

import pytest
from search_target import DEVICE, SteppedTarget, half_redundant, samples

from prunus.compiler.errors import UsageError
from prunus.compiler.search.evolve import SHARES, Searched, search
from prunus.compiler.search.space import Genes, Space

pytest.importorskip("optuna")
TRIALS = 60


@pytest.fixture(scope="module")
def space() -> Space:
    return Space(half_redundant(), SteppedTarget(), DEVICE, samples(64), "energy_j")


@pytest.fixture(scope="module")
def searched(space: Space, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    return search(space, TRIALS, tmp_path_factory.mktemp("search") / "journal", signature="a")


@pytest.mark.parametrize("share", [0.9, 0.75, 0.35])
def test_the_front_beats_uniform_widths_at_equal_cost(space: Space, searched: Searched, share: float) -> None:
    assert share in SHARES
    uniform = space.uniform(share)
    cheaper = [trial for trial in searched.front if trial.cost <= space.cost(uniform)]
    assert min(trial.loss for trial in cheaper) < 0.8 * space.loss(uniform)


def test_so_it_does_when_finished(space: Space, searched: Searched) -> None:
    uniform = space.uniform(0.75)
    found = min((trial for trial in searched.front if trial.cost <= space.cost(uniform)), key=lambda each: each.loss)
    ours, theirs = (space.whole.loss.of(space.build(genes)) for genes in (found.genes, uniform))
    assert ours < theirs


def test_the_front_holds_no_beaten_network(searched: Searched) -> None:
    costs, losses = [each.cost for each in searched.front], [each.loss for each in searched.front]
    assert costs == sorted(costs)
    assert losses == sorted(losses, reverse=True)
    assert not [
        trial
        for trial in searched.trials
        for best in searched.front
        if trial.cost < best.cost and trial.loss < best.loss
    ]


def test_it_varies_blocks_and_bits_too(searched: Searched) -> None:
    assert {trial.genes.weight_bits for trial in searched.trials} == {4, 6, 8}
    assert {bool(trial.genes.skipped) for trial in searched.trials} == {False, True}


def test_an_interrupted_search_goes_on_to_the_same_result(space: Space, searched: Searched, tmp_path: Path) -> None:
    class Interruption(Exception):
        pass

    def stop(count: int) -> None:
        if count == 17:
            raise Interruption

    journal = tmp_path / "journal"
    with pytest.raises(Interruption):
        search(space, TRIALS, journal, signature="a", after_trial=stop)
    again = search(space, TRIALS, journal, signature="a")
    assert again.resumed_from == 17
    assert again.trials == searched.trials
    assert again.front == searched.front


def test_a_finished_search_is_only_read(space: Space, searched: Searched, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    few = search(space, 4, journal, signature="a")
    assert few.trials == searched.trials[:4]
    assert search(space, 4, journal, signature="a").resumed_from == 4


def test_what_is_wrong_is_named(space: Space, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    search(space, 1, journal, signature="a")
    with pytest.raises(UsageError) as caught:
        search(space, 2, journal, signature="b")
    assert caught.value.code == "other-search"
    with pytest.raises(UsageError) as caught:
        search(space, 0, journal)
    assert caught.value.code == "bad-trials"
    damaged = tmp_path / "damaged"
    damaged.write_text("no journal\n" * 3)
    with pytest.raises(UsageError) as caught:
        search(space, 1, damaged)
    assert caught.value.code == "bad-journal"


def test_blocks_that_share_operators_do_not_go_together(space: Space) -> None:
    """Of an addition one branch stays."""
    assert len(space.blocks) == 1  # the shortcut branch would take the layers before it along
    assert space.compatible((0,)) == (0,)
    gone = Genes(space.unpruned.widths, (0,), 8)
    assert space.cost(gone) < space.cost(space.unpruned)
    assert space.loss(gone) > 0.01
