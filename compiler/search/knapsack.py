"""The multiple-choice knapsack: one option per decision, least loss within linear limits."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

Floats = npt.NDArray[np.float64]
TIME_LIMIT_S = 20.0


def choose_options(losses: Sequence[Floats], costs: Sequence[Floats], room: Floats) -> tuple[int, ...] | None:
    """The option of every decision that together lose least while their costs add up to at most `room`.

    losses: [options] per decision; costs: [options, limits] per decision; room: [limits]. None when nothing fits.
    Solved exactly by branch and bound (HiGHS).
    """
    counts = [len(each) for each in losses]
    flat, table = np.concatenate(losses), np.concatenate(costs)
    owner = np.repeat(np.arange(len(counts)), counts)
    one_each = csr_array((np.ones(len(flat)), (owner, np.arange(len(flat)))), shape=(len(counts), len(flat)))
    bounded = np.isfinite(room)
    table, room = table[:, bounded], room[bounded]
    scale = np.maximum(np.abs(table).max(axis=0, initial=0), np.abs(room)) + np.finfo(np.float64).tiny
    unit = max(float(np.abs(flat).max(initial=0)), np.finfo(np.float64).tiny)
    with _standard_output_kept():
        found = milp(
            flat / unit,
            integrality=np.ones(len(flat)),
            bounds=Bounds(0, 1),
            constraints=[
                LinearConstraint(one_each, 1, 1),
                LinearConstraint((table / scale).T, -np.inf, room / scale),
            ],
            options={"time_limit": TIME_LIMIT_S, "mip_rel_gap": 1e-6, "presolve": False},
        )
    if found.x is None:
        return None
    starts = np.cumsum([0, *counts[:-1]])
    return tuple(int(np.argmax(found.x[start : start + count])) for start, count in zip(starts, counts, strict=True))


@contextmanager
def _standard_output_kept() -> Iterator[None]:
    """What native code prints goes to standard error: HiGHS 1.12 prints a stray line (its issue 2783) that no option
    silences, where a program may expect JSON."""
    flush = ctypes.CDLL(None).fflush if os.name == "posix" else lambda _stream: 0
    if sys.__stdout__ is not None:
        sys.__stdout__.flush()
    flush(None)
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        flush(None)
        os.dup2(kept, 1)
        os.close(kept)
