"""Small SVG charts drawn by hand: no library, no script, text escaped, the same bytes for the same data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from xml.sax.saxutils import escape

from markupsafe import Markup

from .text import si

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 760, 200, 64, 26, 24


@dataclass(frozen=True)
class Bar:
    """One bar: its label under the axis, its value, and the text shown when the pointer rests on it."""

    label: str
    value: float
    tooltip: str


def _axis(limit: float) -> list[float]:
    """Three round grid lines up to `limit`."""
    step = 10.0 ** (len(str(int(limit))) - 1) if limit >= 1 else limit / 2
    while limit / step < 2:
        step /= 2
    while limit / step > 5:
        step *= 2
    return [step * index for index in range(1, int(limit / step) + 1)]


def bar_chart(heading: str, bars: Sequence[Bar], unit: str) -> Markup:
    """Vertical bars in `unit`, with a light grid. heading and labels are escaped."""
    top = max(bar.value for bar in bars) or 1.0
    plot_width, plot_height = WIDTH - LEFT - 8, HEIGHT - TOP - BOTTOM
    slot = plot_width / len(bars)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(heading)}">',
        f'<text x="{LEFT}" y="14" class="heading">{escape(heading)}</text>',
    ]
    for line in _axis(top):
        y = TOP + plot_height * (1 - line / top)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 8}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" class="tick end">{si(line, unit)}</text>')
    every = max(1, round(len(bars) / 30))
    for index, bar in enumerate(bars):
        height = plot_height * bar.value / top
        x, y = LEFT + slot * (index + 0.12), TOP + plot_height - height
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{slot * 0.76:.1f}" height="{height:.1f}" class="bar">'
            f"<title>{escape(bar.tooltip)}</title></rect>"
        )
        if index % every == 0:
            middle = LEFT + slot * (index + 0.5)
            parts.append(f'<text x="{middle:.1f}" y="{HEIGHT - 10}" class="tick middle">{escape(bar.label)}</text>')
    return Markup("".join([*parts, "</svg>"]))


def range_chart(rows: Sequence[tuple[str, float, float, float, str]]) -> Markup:
    """One line per cost: its range relative to its value, from a tenth to ten times, on a logarithmic axis.

    rows: (name, low, value, high, unit).
    """
    if not rows:
        return Markup("")
    height = 26 * len(rows) + 30
    left, width = 180, WIDTH - 180 - 20

    def place(ratio: float) -> float:
        return left + width * (log10(min(max(ratio, 0.1), 10.0)) + 1) / 2

    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="ranges of the estimates">']
    for mark in (0.1, 0.5, 1.0, 2.0, 10.0):
        x = place(mark)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="6" y2="{height - 24}" class="grid"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - 8}" class="tick middle">×{mark:g}</text>')
    for index, (name, low, value, high, _unit) in enumerate(rows):
        y = 18 + 26 * index
        start, end = place(low / value), place(high / value)
        parts.append(f'<text x="{left - 10}" y="{y + 4}" class="tick end">{escape(name)}</text>')
        parts.append(f'<rect x="{start:.1f}" y="{y - 5}" width="{max(end - start, 2):.1f}" height="10" class="range"/>')
        parts.append(f'<circle cx="{place(1.0):.1f}" cy="{y}" r="4" class="dot"/>')
    return Markup("".join([*parts, "</svg>"]))


def front_chart(points: Sequence[tuple[float, float]], across: str, up: str) -> Markup:
    """A cloud of (cost, loss), and a line through those that no other point beats in both. `across`, `up`: the axes."""
    width, height = WIDTH - LEFT - 8, HEIGHT - TOP - BOTTOM
    most_x, most_y = (max((point[axis] for point in points), default=0.0) or 1.0 for axis in (0, 1))

    def place(point: tuple[float, float]) -> tuple[float, float]:
        return LEFT + width * point[0] / most_x, TOP + height * (1 - point[1] / most_y)

    front: list[tuple[float, float]] = []
    for point in sorted(points):
        if not front or point[1] < front[-1][1]:
            front.append(point)
    axes = f"{LEFT},{TOP} {LEFT},{TOP + height} {LEFT + width},{TOP + height}"
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, front))
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(up)} over {escape(across)}">',
        f'<text x="{LEFT}" y="14" class="heading">{escape(up)}</text>',
        f'<text x="{WIDTH - 8}" y="{HEIGHT - 8}" text-anchor="end" class="tick end">{escape(across)}, '
        f"up to {most_x:.3g}</text>",
        f'<text x="{LEFT - 6}" y="{TOP + 4}" text-anchor="end" class="tick end">{most_y:.3g}</text>',
        f'<polyline points="{axes}" fill="none" stroke="gray"/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="silver"/>' for x, y in map(place, points)),
        f'<polyline points="{line}" fill="none" stroke="seagreen" stroke-width="2"/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="seagreen"/>' for x, y in map(place, front)),
    ]
    return Markup("".join([*parts, "</svg>"]))
