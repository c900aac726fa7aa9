"""Costs as people read them."""

from __future__ import annotations

import pytest

from prunus.compiler.report.text import percent, si


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "s", "0 s"),
        (0.00123, "s", "1.23 ms"),
        (2.5e9, "", "2.5 G"),
        (53200, "LUT", "53,200 LUT"),
        (1e-15, "J", "0.001 pJ"),
    ],
)
def test_si(value: float, unit: str, text: str) -> None:
    assert si(value, unit) == text


def test_percent() -> None:
    assert percent(0.98765) == "98.77 %"
