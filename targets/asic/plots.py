"""SVG charts of a study: roofline, Pareto front, stacked bars. Like those of the report: no script, text escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, log10
from xml.sax.saxutils import escape

from markupsafe import Markup

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 300, 70, 16, 26, 40
SHADES = ("#8a2846", "#c0567a", "#e0a3b5", "#2f6f8f", "#7fb0c8", "#6b7a3a", "#b9a24a", "#8b8f94")


@dataclass(frozen=True)
class Dot:
    """A point of a scatter plot."""

    x: float
    y: float
    tooltip: str
    strong: bool = False


class _Scale:
    """A logarithmic axis."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self.low, self.high = log10(min(values)), log10(max(values))
        margin = max((self.high - self.low) * 0.06, 0.05)
        self.low, self.high = self.low - margin, self.high + margin
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        return self.start + (self.end - self.start) * (log10(value) - self.low) / (self.high - self.low)

    def marks(self) -> list[float]:
        """Round numbers inside the axis: powers of ten on long axes, more of them the shorter the axis."""
        length = self.high - self.low
        steps = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0) if length < 1 else (1.0, 2.0, 5.0) if length < 2.5 else (1.0,)
        powers = range(floor(self.low), floor(self.high) + 1)
        return [s * 10.0**p for p in powers for s in steps if self.low <= log10(s * 10.0**p) <= self.high]


def _short(value: float) -> str:
    for factor, suffix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""), (1e-3, "m"), (1e-6, "µ")):
        if value >= factor:
            return f"{value / factor:.3g}{suffix}"
    return f"{value:.1e}"


def _frame(heading: str, x: _Scale, y: _Scale, labels: tuple[str, str]) -> list[str]:
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(heading)}">',
        f'<text x="{LEFT}" y="14" class="heading">{escape(heading)}</text>',
    ]
    for mark in y.marks():
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(mark):.1f}" y2="{y(mark):.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(mark) + 4:.1f}" class="tick end">{_short(mark)}</text>')
    for mark in x.marks():
        parts.append(f'<line x1="{x(mark):.1f}" x2="{x(mark):.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}" class="grid"/>')
        parts.append(f'<text x="{x(mark):.1f}" y="{HEIGHT - BOTTOM + 14}" class="tick middle">{_short(mark)}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" class="tick end">{escape(labels[0])}</text>')
    parts.append(f'<text x="{WIDTH - RIGHT}" y="14" class="tick end">{escape(labels[1])}</text>')
    return parts


def scatter(heading: str, dots: Sequence[Dot], labels: tuple[str, str]) -> Markup:
    """Points on two logarithmic axes; strong ones are drawn on top."""
    shown = [dot for dot in dots if dot.x > 0 and dot.y > 0]
    if not shown:
        return Markup("")
    x = _Scale([dot.x for dot in shown], LEFT, WIDTH - RIGHT)
    y = _Scale([dot.y for dot in shown], HEIGHT - BOTTOM, TOP)
    parts = _frame(heading, x, y, labels)
    for dot in sorted(shown, key=lambda each: each.strong):
        look = 'r="4" class="dot"' if dot.strong else 'r="2.5" class="faint"'
        parts.append(f'<circle cx="{x(dot.x):.1f}" cy="{y(dot.y):.1f}" {look}>')
        parts.append(f"<title>{escape(dot.tooltip)}</title></circle>")
    return Markup("".join([*parts, "</svg>"]))


def roofline(dots: Sequence[Dot], peak: float, bandwidth: float) -> Markup:
    """Layers under the roof. x: MAC per DRAM byte; y: MAC per second; peak in MAC/s, bandwidth in B/s."""
    shown = [dot for dot in dots if dot.x > 0 and dot.y > 0]
    if not shown:
        return Markup("")
    knee = peak / bandwidth
    x = _Scale([*(dot.x for dot in shown), knee], LEFT, WIDTH - RIGHT)
    y = _Scale([*(dot.y for dot in shown), peak], HEIGHT - BOTTOM, TOP)
    parts = _frame("Roofline: layers under compute and DRAM bandwidth", x, y, ("MAC per DRAM byte", "MAC/s"))
    left = max(10**x.low, 10**y.low / bandwidth)
    corners = [(left, left * bandwidth), (knee, peak), (10**x.high, peak)]
    path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in corners)
    parts.append(f'<polyline points="{path}" class="roof"/>')
    for dot in shown:
        parts.append(f'<circle cx="{x(dot.x):.1f}" cy="{y(dot.y):.1f}" r="3.5" class="dot">')
        parts.append(f"<title>{escape(dot.tooltip)}</title></circle>")
    return Markup("".join([*parts, "</svg>"]))


def stacked(heading: str, rows: Mapping[str, Mapping[str, float]], unit: str) -> Markup:
    """One horizontal bar per row, split into parts of equal order and colour, with a legend."""
    names = list(dict.fromkeys(name for parts in rows.values() for name in parts))
    longest = max((sum(parts.values()) for parts in rows.values()), default=0.0)
    if longest <= 0:
        return Markup("")
    left, width = 150, WIDTH - 150 - 90
    legend = 24 + 18 * ((len(names) + 4) // 5)
    height = legend + 34 * len(rows) + 8
    out = [
        f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(heading)}">',
        f'<text x="0" y="14" class="heading">{escape(heading)}</text>',
    ]
    for index, name in enumerate(names):
        at_x, at_y = 150 * (index % 5), 24 + 18 * (index // 5)
        out.append(f'<rect x="{at_x}" y="{at_y}" width="11" height="11" fill="{SHADES[index % len(SHADES)]}"/>')
        out.append(f'<text x="{at_x + 16}" y="{at_y + 10}" class="tick">{escape(name)}</text>')
    for row, (label, parts) in enumerate(rows.items()):
        y, x = legend + 6 + 34 * row, float(left)
        out.append(f'<text x="{left - 10}" y="{y + 15}" class="tick end">{escape(label)}</text>')
        for name, value in parts.items():
            wide = width * value / longest
            shade = SHADES[names.index(name) % len(SHADES)]
            out.append(f'<rect x="{x:.1f}" y="{y}" width="{wide:.1f}" height="22" fill="{shade}">')
            out.append(f"<title>{escape(f'{name}: {_short(value)}{unit}')}</title></rect>")
            x += wide
        out.append(
            f'<text x="{x + 6:.1f}" y="{y + 15}" class="tick">{_short(sum(parts.values()))}{escape(unit)}</text>'
        )
    return Markup("".join([*out, "</svg>"]))
