"""report.html: one offline page from the report's data, every string of the model escaped by the template engine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from ..quantity import UNITS
from .plots import Bar, bar_chart, front_chart, range_chart
from .schema import EstimateInfo, LayerInfo, PassInfo, ReportData
from .text import OUTLOOK_COSTS, cost, percent, si, title


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"si": si, "percent": percent, "title_of": title, "cost": cost}
    return environment


def render(report: ReportData) -> str:
    """The page as text. Holds no time stamp, so equal runs give equal pages."""
    template = _environment().get_template("report.html.jinja")
    return template.render(
        r=report,
        plots=[plot for plot in (_macs_plot(report.layers), _cost_plot(report.layers)) if plot],
        gains=_gains(report.estimate, report.baseline),
        ranges=range_chart([(title(e.name), e.low, e.value, e.high, e.unit) for e in report.estimate if e.value > 0]),
        outlook_costs=[key for key in OUTLOOK_COSTS if report.outlook and key in report.outlook.cost],
        front=_front(report.passes),
        notes=[(each.name, note) for each in report.passes for note in each.notes],
    )


def _front(passes: Sequence[PassInfo]) -> str:
    """The networks that the budget solver found worth having: cost against loss."""
    details = next((each.details for each in passes if each.details.get("front")), None)
    if details is None:
        return ""
    key = next(iter(details["unpruned"]))
    points = [(row["costs"][key], row["loss"]) for row in details["front"]]
    return front_chart(
        points, f"{title(key)}, {UNITS[key]}", "loss of accuracy on held-out samples, without quantization"
    )


def _macs_plot(layers: Sequence[LayerInfo]) -> str:
    bars = [
        Bar(f"{index + 1}", layer.macs, f"{layer.op}: {si(layer.macs)} MAC")
        for index, layer in enumerate(layers)
        if layer.macs
    ]
    return bar_chart("Multiply-accumulates per layer", bars, "MAC") if bars else ""


def _cost_plot(layers: Sequence[LayerInfo]) -> str:
    """The layers' own cost in the first of these units that the device's model states."""
    for key, unit in (("latency_cycles", "cycles"), ("latency_s", "s"), ("lut", "LUT"), ("energy_j", "J")):
        bars = [
            Bar(f"{index + 1}", layer.cost[key], f"{layer.op}: {si(layer.cost[key], unit)}")
            for index, layer in enumerate(layers)
            if layer.cost.get(key)
        ]
        if bars:
            return bar_chart(f"{title(key)} per layer (modelled)", bars, unit)
    return ""


def _gains(estimate: Sequence[EstimateInfo], baseline: Sequence[EstimateInfo]) -> dict[str, float]:
    """How many times less each cost is than for the unpruned int8 network; modelled beside modelled only."""
    before = {each.name: each.value for each in baseline}
    return {
        each.name: before[each.name] / each.value
        for each in estimate
        if each.basis == "modelled" and each.value > 0 and before.get(each.name, 0) > 0
    }
