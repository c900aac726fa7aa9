"""Interleaved timing: what is compared runs in turns, in an order drawn anew for every round.

A shared machine is slower in some seconds than in others. In rounds of a few milliseconds each contestant meets the
same good and bad times, and the shortest call of a round is the one that nobody interrupted.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping

Timer = Callable[[], float]  # runs once; the seconds it took
MIN_CALLS = 3


# `cpu` counts what this process computes, with all its threads, and not the time that the machine gave to others:
# right for one thread on a busy machine, where long calls never run undisturbed.
CLOCKS: Mapping[str, Timer] = {"wall": time.perf_counter, "cpu": time.process_time}


def clocked(call: Callable[[], object], clock: str = "wall") -> Timer:
    """Times a call from outside."""
    now = CLOCKS[clock]

    def timed() -> float:
        start = now()
        call()
        return now() - start

    return timed


def interleave(
    contestants: Mapping[str, Timer], rounds: int, seed: int = 0, slice_seconds: float = 0.004
) -> dict[str, list[float]]:
    """The shortest call of every contestant in every round, in seconds.

    A slice is one call to warm the caches, then calls for about `slice_seconds`, at least MIN_CALLS. One more round
    before the first is thrown away.
    """
    order, rng = list(contestants), random.Random(seed)
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(rounds + 1):
        rng.shuffle(order)
        for name in order:
            shortest = _slice(contestants[name], slice_seconds)
            if number:
                found[name].append(shortest)
    return found


def _slice(timer: Timer, slice_seconds: float) -> float:
    timer()
    shortest, calls, end = timer(), 1, time.perf_counter() + slice_seconds
    while calls < MIN_CALLS or time.perf_counter() < end:
        shortest = min(shortest, timer())
        calls += 1
    return shortest
