"""Values of options: budgets, shapes, metrics, fractions."""

from __future__ import annotations

import pytest

from prunus.compiler.cli import options
from prunus.compiler.cli.show import printable
from prunus.compiler.errors import UsageError
from prunus.compiler.search.budget import Share


def test_budget_takes_units() -> None:
    assert options.parse_budget("latency=1.5ms, lut=20000,ram=64kb,energy=3uJ") == {
        "latency_s": pytest.approx(1.5e-3),
        "lut": 20000.0,
        "ram_bytes": 64000.0,
        "energy_j": pytest.approx(3e-6),
    }
    assert options.parse_budget(None) == {}


def test_budget_takes_shares_of_the_unpruned_network() -> None:
    assert options.parse_budget("latency=60%,lut=12.5 %") == {"latency_s": Share(0.6), "lut": Share(0.125)}


@pytest.mark.parametrize(
    ("text", "code", "hint"),
    [
        ("latncy=1ms", "unknown-budget", "latency"),
        ("latency=1", "bad-budget", "ms"),
        ("latency=-1ms", "bad-budget", "ms"),
        ("lut=0", "bad-budget", "no unit"),
        ("lut=1.2.3", "bad-budget", "no unit"),
        ("lut", "bad-budget", "lut=NUMBER"),
        ("lut=0%", "bad-budget", "60%"),
        ("latency=101%", "bad-budget", "60%"),
        ("latency=-5%", "bad-budget", "60%"),
    ],
)
def test_bad_budgets(text: str, code: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        options.parse_budget(text)
    assert caught.value.code == code
    assert hint in (caught.value.hint or "")


def test_shapes() -> None:
    assert options.parse_shapes(["image=3x224x224", "a=b=4"]) == {"image": (3, 224, 224), "a=b": (4,)}
    assert options.parse_shapes(()) is None
    for bad in ("image", "image=", "image=3x0", "image=-1"):
        with pytest.raises(UsageError):
            options.parse_shapes([bad])


def test_functions_are_imported_by_path() -> None:
    assert options.load_function("metric", "math:fsum") is not None
    assert options.load_function("metric", None) is None
    for bad in ("no.such.module:f", "math:nothing", "math", "math:pi"):
        with pytest.raises(UsageError, match="--metric") as caught:
            options.load_function("metric", bad)
        assert caught.value.code == "bad-function"


def test_terminal_output_shows_control_characters_as_text() -> None:
    shown = printable("a\x1b[31m\n\u202eb[bold]")
    assert "\x1b" not in shown
    assert "\n" not in shown
    assert "\u202e" not in shown
    assert "\\[bold]" in shown
    assert printable("x" * 100, 10) == "x" * 10 + "…"
