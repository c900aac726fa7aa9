"""A study of networks on an architecture: costs side by side, an exploration, and files to keep.

Writes `study.json`, `layers.csv`, `sweep.csv` (with a sweep), `report.html`, and in `exports/` the same chip and layers
for Timeloop and SCALE-Sim.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from ...compiler.model.workload import Workload
from ...compiler.output import as_json, write_text
from ...compiler.quantity import Estimate, Quantity
from ...compiler.report.plots import Bar, bar_chart
from ...compiler.report.text import si, title
from .architecture import Architecture, Systolic
from .architecture_file import coefficients
from .compare import gain
from .exchange import scalesim
from .exchange.timeloop import write_timeloop
from .model import summarise
from .network import LayerRun, run_network
from .plots import Dot, roofline, scatter, stacked
from .sweep import OBJECTIVES, Point, pareto

SCHEMA = "prunus.asic-study/1"


def write_study(
    works: Mapping[str, Workload], architecture: Architecture, points: Sequence[Point], out: Path
) -> dict[str, Any]:
    """Compares the networks (by name; the first is the baseline), writes all files and returns study.json's data."""
    runs = {name: run_network(work, architecture) for name, work in works.items()}
    estimates = {name: summarise(works[name], architecture, found) for name, found in runs.items()}
    words = _words(runs)
    front = pareto(points)
    data = {
        "schema": SCHEMA,
        "architecture": architecture.name,
        "networks": {name: _plain(found) for name, found in estimates.items()},
        "comparison": words,
        "coefficients": _coefficients(architecture),
        "sweep": [{"settings": p.settings, "costs": p.costs, "problem": p.problem} for p in points],
        "pareto": [{"settings": points[index].settings, "costs": points[index].costs} for index in front],
    }
    write_text(out / "study.json", as_json(data))
    write_text(out / "layers.csv", _layers_csv(runs))
    if points:
        write_text(out / "sweep.csv", _sweep_csv(points, set(front)))
    (out / "exports").mkdir()
    for name, text in exports(list(works.values())[-1], architecture).items():
        write_text(out / "exports" / name, text)
    write_text(out / "report.html", _page(architecture, runs, estimates, words, points, front))
    return data


def exports(work: Workload, architecture: Architecture) -> dict[str, str]:
    """File name -> text: the chip for Timeloop v4; for SCALE-Sim the layers, and the chip where it can be said."""
    array = architecture.array
    files = {
        "timeloop.yaml": write_timeloop(architecture),
        "scalesim_topology.csv": scalesim.write_topology(work),
    }
    if isinstance(array, Systolic) and array.dataflow != "best":
        files["scalesim.cfg"] = scalesim.write_cfg(architecture)
    return files


def _words(runs: Mapping[str, Sequence[LayerRun]]) -> list[str]:
    """What every network gains on the first one."""
    names = list(runs)
    said = []
    for name in names[1:]:
        said += [f"{name} beside {names[0]}: {sentence}" for sentence in gain(runs[names[0]], runs[name]).in_words()]
    return said


def _quantity(quantity: Quantity) -> dict[str, Any]:
    return {
        "value": quantity.value,
        "low": quantity.low,
        "high": quantity.high,
        "unit": quantity.unit,
        "basis": quantity.basis,
        "source": quantity.source,
    }


def _plain(found: Estimate) -> dict[str, Any]:
    return {
        "costs": {key: _quantity(quantity) for key, quantity in found.costs.items()},
        "parts": {key: {name: _quantity(q) for name, q in parts.items()} for key, parts in found.parts.items()},
        "notes": list(found.notes),
        "layers": [
            {"layer": e.layer, "notes": list(e.notes), "costs": {k: _quantity(q) for k, q in e.costs.items()}}
            for e in found.layers
        ],
    }


def _coefficients(architecture: Architecture) -> list[dict[str, Any]]:
    return [
        {
            "path": path,
            "value": each.value,
            "low": each.low,
            "high": each.high,
            "unit": each.unit,
            "node_nm": each.node_nm,
            "confidence": each.confidence,
            "source": each.source,
        }
        for path, each in sorted(coefficients(architecture).items())
    ]


# -- tables -----------------------------------------------------------------------------------------------------------


def _layers_csv(runs: Mapping[str, Sequence[LayerRun]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    head = ["network", "layer", "operator", "macs", "cycles", "array_cycles", "bound", "lower_bound_cycles"]
    writer.writerow([*head, "next_best_cycles", "dram_bytes", "buffer_bytes", "tile", "innermost", "dataflow"])
    for name, found in runs.items():
        for run in found:
            m = run.found.best.mapping if run.found else None
            runner_up = run.found.next_best if run.found else None
            writer.writerow(
                [
                    name,
                    run.layer.name,
                    run.layer.op,
                    run.layer.macs,
                    f"{run.cycles:.0f}",
                    f"{run.compute_cycles:.0f}",
                    run.bound,
                    f"{run.lower_bound_cycles:.0f}",
                    f"{runner_up.cycles:.0f}" if runner_up else "",
                    f"{run.dram_bytes:.0f}",
                    f"{sum(run.buffer_bytes):.0f}",
                    f"{m.tp}x{m.tq}x{m.tc}x{m.tk}" if m else "",
                    m.innermost if m else "",
                    m.dataflow if m else "",
                ]
            )
    return stream.getvalue()


def _sweep_csv(points: Sequence[Point], front: set[int]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    axes = list(points[0].settings)
    keys = sorted({key for point in points for key in point.costs})
    writer.writerow([*axes, *keys, "pareto", "problem"])
    for index, point in enumerate(points):
        settings = [f"{point.settings[axis]:g}" for axis in axes]
        costs = [f"{point.costs[key]:.6g}" if key in point.costs else "" for key in keys]
        writer.writerow([*settings, *costs, "yes" if index in front else "no", point.problem])
    return stream.getvalue()


# -- page -------------------------------------------------------------------------------------------------------------


@cache
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _page(
    architecture: Architecture,
    runs: Mapping[str, Sequence[LayerRun]],
    estimates: Mapping[str, Estimate],
    words: Sequence[str],
    points: Sequence[Point],
    front: Sequence[int],
) -> str:
    last = list(runs)[-1]
    keys = list(dict.fromkeys(key for found in estimates.values() for key in found.costs))
    return (
        _environment()
        .get_template("study.html.jinja")
        .render(
            title=architecture.title or architecture.name,
            subtitle=f"{architecture.elements:,} multipliers at {si(architecture.technology.clock.value, 'Hz')}",
            variants=list(estimates),
            costs=[{"title": title(k), "cells": [_cell(e.costs.get(k)) for e in estimates.values()]} for k in keys],
            words=words,
            notes=[f"{name}: {note}" for name, found in estimates.items() for note in found.notes],
            energy_plot=stacked("Energy per inference by level", _parts(estimates, "energy_j"), "J"),
            area_plot=stacked("Area by block", {"chip": _parts(estimates, "area_mm2")[last]}, " mm²"),
            roofline_plot=_roofline(runs[last], architecture),
            layer_plot=_bars(runs[last]),
            explored=len(points),
            front=[_front_row(points[index]) for index in front],
            pareto_plot=_front_plot(points, set(front), "area_mm2", "latency_s", ("mm²", "s")),
            energy_area_plot=_front_plot(points, set(front), "energy_j", "latency_s", ("J per inference", "s")),
            layers=[_layer_row(run) for run in runs[last]],
            coefficients=[_coefficient_row(each) for each in _coefficients(architecture)],
        )
    )


def _cell(quantity: Quantity | None) -> dict[str, str]:
    if quantity is None:
        return {"value": "", "range": ""}
    spread = f"{si(quantity.low, quantity.unit)} … {si(quantity.high, quantity.unit)}"
    return {"value": si(quantity.value, quantity.unit), "range": spread if quantity.low != quantity.high else ""}


def _parts(estimates: Mapping[str, Estimate], key: str) -> dict[str, dict[str, float]]:
    return {
        name: {part: quantity.value for part, quantity in found.parts.get(key, {}).items()}
        for name, found in estimates.items()
    }


def _roofline(runs: Sequence[LayerRun], architecture: Architecture) -> str:
    clock = architecture.technology.clock.value
    dots = [
        Dot(
            run.layer.macs / max(run.dram_bytes, 1),
            run.layer.macs / max(run.cycles, 1) * clock,
            f"{run.layer.name}: {si(run.layer.macs)} MAC, bound by {run.bound}",
        )
        for run in runs
        if run.layer.macs
    ]
    bandwidth = architecture.per_cycle(architecture.dram.bandwidth) * architecture.dram.efficiency.value * clock
    return roofline(dots, architecture.elements * clock, bandwidth)


def _bars(runs: Sequence[LayerRun]) -> str:
    bars = [
        Bar(str(index + 1), run.cycles, f"{run.layer.name}: {run.cycles:,.0f} cycles, bound by {run.bound}")
        for index, run in enumerate(runs)
        if run.cycles
    ]
    return bar_chart("Cycles per layer", bars, "cycles") if bars else ""


def _front_plot(points: Sequence[Point], front: set[int], x: str, y: str, labels: tuple[str, str]) -> str:
    dots = [
        Dot(point.costs[x], point.costs[y], _settings(point), index in front)
        for index, point in enumerate(points)
        if x in point.costs and y in point.costs
    ]
    return scatter(f"{title(y)} against {title(x).lower()}", dots, labels) if dots else ""


def _settings(point: Point) -> str:
    return ", ".join(f"{key} {value:g}" for key, value in point.settings.items())


def _front_row(point: Point) -> dict[str, str]:
    units = {"latency_s": "s", "energy_j": "J", "area_mm2": "mm2", "usd": "USD"}
    row = {key: f"{value:g}" for key, value in point.settings.items()}
    return row | {title(key): si(point.costs[key], units[key]) for key in OBJECTIVES if key in point.costs}


def _layer_row(run: LayerRun) -> dict[str, str]:
    m = run.found.best.mapping if run.found else None
    how = f"bound by {run.bound}"
    if m:
        how += f"; tile {m.tp}x{m.tq}, {m.tc} in, {m.tk} out; {m.innermost} innermost; {m.dataflow}"
    return {
        "layer": run.layer.name,
        "op": run.layer.op,
        "macs": si(run.layer.macs) if run.layer.macs else "",
        "cycles": f"{run.cycles:,.0f}",
        "bound": f"{run.lower_bound_cycles:,.0f}",
        "dram": si(run.dram_bytes, "B"),
        "how": how,
    }


def _coefficient_row(each: Mapping[str, Any]) -> dict[str, str]:
    spread = f"{each['low']:.4g} … {each['high']:.4g}" if each["low"] != each["high"] else ""
    return {
        "path": each["path"],
        "value": f"{each['value']:.4g} {each['unit']}",
        "range": spread,
        "node": f"{each['node_nm']:g} nm" if each["node_nm"] else "",
        "confidence": each["confidence"],
        "source": each["source"],
    }
