"""The charts of the report: labelled in units that people read, and escaped."""

from __future__ import annotations

from prunus.compiler.report.plots import Bar, bar_chart, range_chart


def test_small_costs_are_written_with_their_prefix() -> None:
    chart = str(bar_chart("Latency", [Bar("1", 7.84e-7, "x")], "s"))
    assert ">392 ns<" in chart and ">784 ns<" in chart and "e-07" not in chart


def test_charts_escape_and_draw_every_bar() -> None:
    chart = str(bar_chart("<b>", [Bar("<i>", 5, "<u>"), Bar("2", 10, "x")], "MAC"))
    assert chart.count("<rect") == 2
    assert "<b>" not in chart
    assert "<i>" not in chart
    assert "<u>" not in chart
    ranges = str(range_chart([("Latency", 0.5, 1.0, 3.0, "s")]))
    assert "<circle" in ranges
    assert range_chart([]) == ""
