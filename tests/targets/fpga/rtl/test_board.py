"""Boards: top modules and constraints as golden texts, PLL settings, device files with mistakes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from prunus.compiler.errors import UsageError
from prunus.targets import catalog
from prunus.targets.fpga.rtl.board import board_of, constraints, pll, top

BOARDS = sorted(name for name, file in catalog.device_files().items() if "rtl" in (file.backend, *file.backends))
Golden = Callable[[str, str], None]


def test_there_are_boards_of_every_family() -> None:
    families = {board_of(catalog.device_files()[name].device("rtl")).family for name in BOARDS}
    assert families == {"ecp5", "ice40", "gowin"}


@pytest.mark.parametrize("name", BOARDS)
def test_golden_top_and_constraints(name: str, golden: Golden) -> None:
    board = board_of(catalog.device_files()[name].device("rtl"))
    file, text = constraints(board)
    golden(f"rtl/boards/{name}.txt", f"{top(board, 96, 40)}\n// {file}\n{text}")


@pytest.mark.parametrize("mhz", [50.0, 100.0, 125.0, 83.0])
def test_the_pll_makes_the_clock_or_a_slower_one(mhz: float) -> None:
    divide, multiply, output = pll(25e6, mhz * 1e6)
    made = 25e6 * multiply / divide
    assert 0.9 * mhz * 1e6 <= made <= mhz * 1e6
    assert 4e8 <= made * output <= 8e8


def test_a_clock_that_no_pll_makes_is_an_error() -> None:
    with pytest.raises(UsageError, match="No setting of the PLL"):
        pll(25e6, 2e6)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"pins": {"clock": "G2", "rx": "M1", "tx": "L4"}}, "pins.led"),
        ({"pins": {"clock": "G2", "rx": 'M1"; bad', "tx": "L4", "led": "B2"}}, "pins.rx"),
        ({"pins": {"clock": "G2", "rx": "M1", "tx": "M1", "led": "B2"}}, "pins.tx"),
        ({"pins": {"clock": "G2", "rx": "M1", "tx": "L4", "led": "B2", "high": ["G2"]}}, "pins.high"),
        ({"family": "stratix"}, "family"),
        ({"parameters": None}, "parameters"),
        ({"oscillator_hz": None}, "oscillator_hz"),
    ],
)
def test_mistakes_in_device_files_are_named(change: dict[str, Any], word: str) -> None:
    device = catalog.device_files()["ulx3s-85f"].device("rtl")
    with pytest.raises(UsageError, match=word) as caught:
        board_of(replace(device, data={**device.data, **change}))
    assert caught.value.code == "device-setting"


def test_only_ecp5_multiplies_its_clock() -> None:
    device = catalog.device_files()["icebreaker"].device("rtl")
    fast = catalog.device_files()["ulx3s-85f"].device("rtl").data["clock_period_ns"]
    with pytest.raises(UsageError, match="clock_period_ns"):
        board_of(replace(device, data={**device.data, "clock_period_ns": fast}))
