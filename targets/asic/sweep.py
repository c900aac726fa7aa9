"""Many architectures at once: a file varied along axes, and the Pareto front of what comes out.

`rows=8..64,glb=64..1024` varies two axes. Values are `a..b` (spread evenly, so that the whole sweep has about 1,024
architectures), `a..b:step`, or `a|b|c`. An axis is a short name of the table below, or `node.field` of the file, in the
unit that the file uses.
"""

from __future__ import annotations

import copy
import difflib
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np

from ...compiler.errors import PrunusError, UsageError
from ...compiler.model.workload import Workload
from .architecture_file import parse_architecture
from .model import totals
from .network import run_network

SIZE = 1024  # architectures that a sweep without steps aims at
LIMIT = 20_000
OBJECTIVES = ("latency_s", "energy_j", "area_mm2", "usd")

# Short name -> (class of the node or "technology", field, unit).
AXES: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "rows": (("systolic", "row_stationary"), "rows", ""),
    "columns": (("systolic", "row_stationary"), "columns", ""),
    "glb": (("sram",), "size", "KiB"),
    "port": (("sram",), "bandwidth", "B/cycle"),
    "accumulators": (("systolic",), "accumulators", "KiB"),
    "bandwidth": (("dram",), "bandwidth", "GB/s"),
    "lanes": (("vector",), "lanes", ""),
    "atomic_c": (("spatial",), "unroll.C", ""),
    "atomic_k": (("spatial",), "unroll.K", ""),
    "clock": (("technology",), "clock", "MHz"),
}


@dataclass(frozen=True)
class Axis:
    """One thing that varies, and its values."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class Point:
    """One architecture of a sweep. `costs` is empty where it is not valid; `problem` says why."""

    settings: Mapping[str, float]
    costs: Mapping[str, float]
    problem: str = ""


def parse_sweep(text: str) -> list[Axis]:
    """`rows=8..64,glb=64..1024` -> axes. Raises UsageError that shows the form."""
    items = [item.strip() for item in text.split(",") if item.strip()]
    if not items:
        raise _bad(text, "It names no axis.")
    per_axis = max(2, round(SIZE ** (1 / len(items))))
    axes = []
    for item in items:
        name, separator, amount = item.partition("=")
        if not separator or not name:
            raise _bad(item, "An axis needs a name and values.")
        axes.append(Axis(name, tuple(_values(item, amount, per_axis))))
    if len({axis.name for axis in axes}) < len(axes):
        raise _bad(text, "An axis is given twice.")
    count = math.prod(len(axis.values) for axis in axes)
    if count > LIMIT:
        raise _bad(text, f"It has {count:,} architectures; at most {LIMIT:,} are explored.")
    return axes


def _values(item: str, amount: str, per_axis: int) -> list[float]:
    number = r"(\d+(?:\.\d+)?)"
    if match := re.fullmatch(rf"{number}\.\.{number}(?::{number})?", amount):
        low, high, step = float(match[1]), float(match[2]), float(match[3]) if match[3] else None
        if not 0 < low <= high or step == 0:
            raise _bad(item, "A range goes from a positive number to one that is not smaller, in positive steps.")
        if step is not None:
            count = int((high - low) / step + 1e-9) + 1
            if count > LIMIT:
                raise _bad(item, "The step is too small.")
            return [low + index * step for index in range(count)]
        spread = [low + (high - low) * index / (per_axis - 1) for index in range(per_axis)]
        whole = low.is_integer() and high.is_integer()
        return sorted({float(round(value)) if whole else value for value in spread})
    if re.fullmatch(rf"{number}(\|{number})*", amount):
        return sorted({float(value) for value in amount.split("|")})
    raise _bad(item, f"'{amount[:40]}' is neither a range nor a list.")


def _bad(item: str, why: str) -> UsageError:
    return UsageError(
        f"The sweep '{item[:60]}' cannot be read.",
        code="bad-sweep",
        why=why,
        hint="Write --sweep rows=8..64,glb=64..1024 or rows=8|16|32 or rows=8..64:8.",
    )


def varied(data: Mapping[str, Any], settings: Mapping[str, float]) -> dict[str, Any]:
    """The raw data of an architecture with some fields changed. Raises UsageError for an axis that it does not have."""
    changed = copy.deepcopy(dict(data))
    for name, value in settings.items():
        record, field, unit = _place(changed["architecture"], name)
        text: Any = int(value) if not unit and value.is_integer() else f"{value:g} {unit}".strip()
        before = record.get(field)
        record[field] = {**before, "value": text} if isinstance(before, dict) and "value" in before else text
        if isinstance(record[field], dict):
            record[field].pop("low", None)
            record[field].pop("high", None)
    return changed


def _place(architecture: dict[str, Any], name: str) -> tuple[dict[str, Any], str, str]:
    """The record, field and unit of an axis."""
    nodes: Sequence[dict[str, Any]] = architecture.get("nodes", ())
    if name in AXES:
        classes, field, unit = AXES[name]
        records = [architecture["technology"]] if "technology" in classes else nodes
        for record in records:
            if "technology" in classes or record.get("class") in classes:
                outer, _, inner = field.partition(".")
                return (record[outer], inner, unit) if inner else (record, field, unit)
    node, _, field = name.partition(".")
    for record in nodes:
        if record.get("name") == node and field in record:
            before = record[field]["value"] if isinstance(record[field], dict) else record[field]
            return record, field, str(before).partition(" ")[2]
    fields = [f"{r.get('name')}.{key}" for r in nodes for key in r if key not in ("name", "class", "pe")]
    near = difflib.get_close_matches(name, [*AXES, *fields], n=1)
    raise UsageError(
        f"This architecture has no axis '{name[:40]}'.",
        code="unknown-axis",
        hint=f"Did you mean '{near[0]}'?" if near else f"Axes: {', '.join(AXES)}, or NODE.FIELD.",
    )


def settings_of(axes: Sequence[Axis]) -> list[dict[str, float]]:
    """Every combination, the last axis fastest."""
    return [
        dict(zip((axis.name for axis in axes), values, strict=True))
        for values in itertools.product(*(axis.values for axis in axes))
    ]


def explore(
    work: Workload,
    data: Mapping[str, Any],
    axes: Sequence[Axis],
    jobs: int = 1,
    progress: Callable[[float], None] = lambda done: None,
) -> list[Point]:
    """The costs of a network on every architecture of a sweep, in the order of `settings_of`."""
    settings = settings_of(axes)
    varied(data, settings[0])  # an unknown axis is an error at once
    points = []
    for index, point in enumerate(_evaluated(work, data, settings, jobs)):
        points.append(point)
        progress((index + 1) / len(settings))
    return points


def _evaluated(
    work: Workload, data: Mapping[str, Any], settings: Sequence[dict[str, float]], jobs: int
) -> Iterator[Point]:
    if jobs <= 1 or len(settings) < 64:
        for each in settings:
            yield point_of(work, data, each)
        return
    chunks = [list(settings[start : start + 32]) for start in range(0, len(settings), 32)]
    with ProcessPoolExecutor(jobs, get_context("spawn"), _start, (work, dict(data))) as pool:
        for found in pool.map(_points, chunks):
            yield from found


_shared: dict[str, Any] = {}


def _start(work: Workload, data: dict[str, Any]) -> None:
    _shared.update(work=work, data=data)


def _points(chunk: list[dict[str, float]]) -> list[Point]:
    return [point_of(_shared["work"], _shared["data"], each) for each in chunk]


def point_of(work: Workload, data: Mapping[str, Any], settings: Mapping[str, float]) -> Point:
    """One architecture; one that is not valid, or too small for the network, is a point without costs."""
    try:
        architecture = parse_architecture(varied(data, settings), "sweep")
        costs, _ = totals(run_network(work, architecture), architecture)
    except PrunusError as error:
        return Point(dict(settings), {}, f"{error.code}: {error.what}")
    return Point(dict(settings), {key: quantity.value for key, quantity in sorted(costs.items())})


def pareto(points: Sequence[Point], objectives: Sequence[str] = OBJECTIVES) -> list[int]:
    """Indices of the points that no other beats or equals in every objective while beating it in one."""
    known = [index for index, point in enumerate(points) if point.costs]
    keys = [key for key in objectives if known and all(key in points[index].costs for index in known)]
    if not keys:
        return []
    values = np.array([[points[index].costs[key] for key in keys] for index in known])
    front = []
    for row, index in enumerate(known):
        no_worse = np.all(values <= values[row], axis=1)
        if not np.any(no_worse & np.any(values < values[row], axis=1)):
            front.append(index)
    return front
