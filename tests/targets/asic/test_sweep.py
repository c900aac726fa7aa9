"""Sweeps: what is varied, the Pareto front, and the files of a study."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from asic_layers import conv
from hypothesis import given
from hypothesis import strategies as st

from prunus.compiler.errors import UsageError
from prunus.compiler.model.workload import Workload
from prunus.compiler.target import Explores
from prunus.targets.asic.architecture_file import catalogue_data
from prunus.targets.asic.sweep import Axis, Point, explore, pareto, parse_sweep, settings_of, varied
from prunus.targets.catalog import resolve

WORK = Workload((conv(16, 16, 14),))


def test_a_sweep_without_steps_has_about_a_thousand_architectures() -> None:
    axes = parse_sweep("rows=8..64,glb=64..1024")
    assert 1000 <= len(settings_of(axes)) <= 1100
    assert (axes[0].values[0], axes[0].values[-1]) == (8, 64)
    assert (axes[1].values[0], axes[1].values[-1]) == (64, 1024)


def test_steps_and_lists() -> None:
    assert parse_sweep("rows=8..32:8") == [Axis("rows", (8, 16, 24, 32))]
    assert parse_sweep("glb=64|512|128") == [Axis("glb", (64, 128, 512))]


@pytest.mark.parametrize(
    "text", ["", "rows", "rows=", "rows=8..", "rows=64..8", "rows=0..8", "rows=1..9:0", "rows=a|b", "rows=8,rows=9",
             "rows=1..1000000:0.001", "rows=1..300:1,columns=1..300:1"],
)  # fmt: skip
def test_a_bad_sweep_shows_the_form(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_sweep(text)
    assert caught.value.code == "bad-sweep"
    assert "rows=8..64" in (caught.value.hint or "")


def test_an_axis_that_the_chip_lacks_gets_the_nearest_name() -> None:
    with pytest.raises(UsageError) as caught:
        explore(WORK, catalogue_data("npu-16nm"), parse_sweep("row=8|16"))
    assert caught.value.code == "unknown-axis"
    assert "'rows'" in (caught.value.hint or "")


def test_fields_by_path_keep_their_unit() -> None:
    changed = varied(catalogue_data("npu-16nm"), {"buffer.size": 128.0, "bandwidth": 3.2, "rows": 8.0, "clock": 500.0})
    dram, buffer, array, _ = changed["architecture"]["nodes"]
    assert buffer["size"] == "128 KiB"
    assert dram["bandwidth"]["value"] == "3.2 GB/s"
    assert "low" not in dram["bandwidth"]
    assert array["rows"] == 8
    assert changed["architecture"]["technology"]["clock"]["value"] == "500 MHz"
    assert catalogue_data("npu-16nm")["architecture"]["nodes"][2]["rows"] == 32


def test_an_invalid_point_says_why_and_the_others_count() -> None:
    points = explore(WORK, catalogue_data("npu-16nm"), [Axis("glb", (0.001, 64.0))])
    assert points[0].problem.startswith("level-too-small")
    assert points[1].costs["latency_s"] > 0
    assert pareto(points) == [1]


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=12))
def test_nothing_beats_the_front_and_the_front_beats_the_rest(values) -> None:
    points = [Point({}, dict(zip(("latency_s", "energy_j", "area_mm2"), map(float, v), strict=True))) for v in values]
    front = pareto(points)

    def beats(a: int, b: int) -> bool:
        return all(x <= y for x, y in zip(values[a], values[b], strict=True)) and values[a] != values[b]

    for index in range(len(points)):
        assert (index in front) == (not any(beats(other, index) for other in range(len(points))))


def test_processes_give_the_same_points_in_the_same_order() -> None:
    axes = [Axis("rows", tuple(float(r) for r in range(4, 36))), Axis("glb", (32.0, 64.0))]
    data = catalogue_data("npu-16nm")
    assert explore(WORK, data, axes, jobs=2) == explore(WORK, data, axes)


def test_a_study_writes_what_it_promises_twice_the_same(tmp_path: Path) -> None:
    target, device = resolve("npu-16nm")
    assert isinstance(target, Explores)
    works = {"int8": WORK, "<b>pruned": Workload((conv(16, 8, 14),))}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        target.study(works, device, tmp_path / name, "rows=8|16|32,glb=64|256")
    files = sorted(str(path.relative_to(tmp_path / "a")) for path in (tmp_path / "a").rglob("*.*"))
    exports = ["exports/scalesim.cfg", "exports/scalesim_topology.csv", "exports/timeloop.yaml"]
    assert files == [*exports, "layers.csv", "report.html", "study.json", "sweep.csv"]
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    page = (tmp_path / "a/report.html").read_text()
    assert "<b>pruned" not in page
    for heading in ("Roofline", "Cycles per layer", "Energy per inference by level", "Latency against area"):
        assert heading in page
    data = json.loads((tmp_path / "a/study.json").read_text())
    assert len(data["sweep"]) == 6
    assert data["comparison"]
    assert all(each["source"] and each["confidence"] for each in data["coefficients"])
    rows = list(csv.DictReader((tmp_path / "a/sweep.csv").open()))
    assert [row["pareto"] for row in rows].count("yes") == len(data["pareto"])
    energy = data["networks"]["int8"]
    total = sum(part["value"] for part in energy["parts"]["energy_j"].values())
    assert total == pytest.approx(energy["costs"]["energy_j"]["value"])
