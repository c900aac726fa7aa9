"""Budgets: bounds in units, shares of the unpruned network, and refusals."""

from __future__ import annotations

import numpy as np
import pytest

from prunus.compiler.errors import UsageError
from prunus.compiler.quantity import Estimate, Quantity
from prunus.compiler.search.budget import Share, absolute
from prunus.compiler.search.decisions import steps, thin

UNPRUNED = Estimate({"latency_s": Quantity.exact(2e-3, "s", "modelled", "a test")})


def test_shares_become_units() -> None:
    found = absolute({"latency_s": Share(0.6), "ram_bytes": 1024.0}, UNPRUNED, "board")
    assert found == {"latency_s": pytest.approx(1.2e-3), "ram_bytes": 1024.0}


@pytest.mark.parametrize(
    ("name", "key", "bound", "code"),
    [
        ("unknown", "latncy", 1.0, "unknown-budget"),
        ("negative", "latency_s", -1.0, "bad-budget"),
        ("zero", "latency_s", 0.0, "bad-budget"),
        ("nan", "latency_s", float("nan"), "bad-budget"),
        ("no-share", "latency_s", Share(0.0), "bad-budget"),
        ("above-100-per-cent", "latency_s", Share(1.2), "bad-budget"),
        ("not-stated", "lut", Share(0.5), "unknown-cost"),
    ],
)
def test_bounds_that_mean_nothing_are_refused(name: str, key: str, bound: float | Share, code: str, golden) -> None:
    with pytest.raises(UsageError) as caught:
        absolute({key: bound}, UNPRUNED, "board")
    assert caught.value.code == code
    golden(f"errors/budget-{name}.txt", f"{caught.value}\n  code: {code} (exit code {caught.value.exit_code})\n")


def test_steps_are_the_largest_widths_of_each_plateau() -> None:
    """Cost by width 1 … 8 of a device that works on four channels at a time."""
    costs = np.ceil(np.arange(1, 9) / 4)[:, None]
    assert [row + 1 for row in steps(costs)] == [4, 8]


def test_a_wider_network_that_costs_less_hides_narrower_ones() -> None:
    costs = np.array([[1.0], [3.0], [2.0], [4.0]])
    assert steps(costs) == [0, 2, 3]


def test_thin_keeps_the_ends() -> None:
    assert thin(range(100), 5) == (0, 25, 50, 74, 99)
    assert thin([3, 4], 5) == (3, 4)
