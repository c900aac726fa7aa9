"""Interleaving, with timers that only pretend to take time."""

from __future__ import annotations

import pytest

from harness.rounds import MIN_CALLS, interleave


def recorder(name: str, log: list[str], seconds):
    def timer() -> float:
        log.append(name)
        return seconds()

    return timer


def test_everybody_runs_once_in_every_round_in_changing_order() -> None:
    log: list[str] = []
    timers = {name: recorder(name, log, lambda: 1.0) for name in "abcd"}
    found = interleave(timers, rounds=12, slice_seconds=0)
    calls = MIN_CALLS + 1
    slices = [log[i] for i in range(0, len(log), calls)]
    assert all(len(set(log[i : i + calls])) == 1 for i in range(0, len(log), calls))
    orders = [tuple(slices[i : i + 4]) for i in range(0, len(slices), 4)]
    assert len(orders) == 13 and all(sorted(order) == list("abcd") for order in orders)
    assert len(set(orders)) > 6
    assert {name: len(samples) for name, samples in found.items()} == dict.fromkeys("abcd", 12)


def test_a_round_counts_its_shortest_call_and_not_its_first() -> None:
    values = iter([0.1, 5.0, 4.0, 6.0] * 3)
    found = interleave({"a": lambda: next(values)}, rounds=2, slice_seconds=0)
    assert found == {"a": [4.0, 4.0]}


def test_the_first_round_is_thrown_away() -> None:
    values = iter([9.0] * 4 + [1.0] * 4)
    assert interleave({"a": lambda: next(values)}, rounds=1, slice_seconds=0) == {"a": [1.0]}


def test_the_order_depends_on_the_seed_alone() -> None:
    def order(seed: int) -> list[str]:
        log: list[str] = []
        interleave({name: recorder(name, log, lambda: 1.0) for name in "abcd"}, 5, seed, slice_seconds=0)
        return log

    assert order(1) == order(1) != order(2)


def test_slow_contestants_do_not_hide_behind_fast_ones() -> None:
    found = interleave({"slow": lambda: 2.0, "fast": lambda: 1.0}, rounds=3, slice_seconds=0)
    assert min(found["slow"]) / max(found["fast"]) == pytest.approx(2)
