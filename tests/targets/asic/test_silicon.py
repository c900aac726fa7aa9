"""The model beside published silicon. Each row is predicted without it; the bench prints all of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench" / "asic"
if str(BENCH) not in sys.path:
    sys.path.append(str(BENCH))

import eyeriss  # noqa: E402
import nvdla  # noqa: E402
from reference import figures  # noqa: E402

from prunus.targets.asic.architecture_file import catalogue  # noqa: E402


@pytest.fixture
def published() -> dict:
    try:
        return figures()
    except OSError as error:
        pytest.skip(f"no published figures: {error}")


def test_eyeriss_time_with_nothing_fitted(published) -> None:
    table = published["eyeriss_v1_alexnet"]
    for name, ms in zip(table["layer"], table["processing_ms"], strict=True):
        assert eyeriss.run(name, eyeriss.chip())[0] == pytest.approx(ms, rel=0.10), name


def test_eyeriss_power_with_the_clock_of_the_other_layers(published) -> None:
    table = published["eyeriss_v1_alexnet"]
    power = dict(zip(table["layer"], table["power_mW"], strict=True))
    for name, mw in power.items():
        clock = eyeriss.fit_clock([other for other in power if other != name], power)
        assert eyeriss.run(name, eyeriss.chip(clock))[1] == pytest.approx(mw, rel=0.20), name
    stated = catalogue()["eyeriss-v1"].array.pe.clock_energy.value
    assert stated == pytest.approx(eyeriss.fit_clock(list(power), power), rel=0.01)


def test_eyeriss_v2_element_on_sparse_layers(published) -> None:
    errors = []
    for row in published["eyeriss_v2_pe"]:
        others = [other for other in published["eyeriss_v2_pe"] if other is not row]
        chip = eyeriss.element(eyeriss.fit_correlation(others))
        errors.append(abs(eyeriss.sparse_cycles(row, chip) / row["cycles_measured"] - 1))
    assert max(errors) <= 0.08
    assert sum(errors) / len(errors) <= 0.02


def test_a_dense_element_would_miss_by_far(published) -> None:
    """The companion: without skipping, the same comparison fails."""
    row = published["eyeriss_v2_pe"][0]
    dense = eyeriss.sparse_problem(row).macs / row["cycles_measured"] - 1
    assert dense > 1


@pytest.mark.slow
def test_nvdla_rows_from_the_others(published) -> None:
    table = published["nvdla_primer"]
    rows = [dict(zip(table["cols"], row, strict=True)) for row in table["rows"]]
    bounds = {"mm2_28nm": 0.10, "mm2_16nm": 0.10, "resnet50_int8_fps_1GHz": 0.15, "avg_mW_16nm": 0.20}
    for row in rows:
        found = nvdla.predict(row, nvdla.fit([other for other in rows if other is not row]))
        for key, bound in bounds.items():
            assert found[key] == pytest.approx(row[key], rel=bound), (row["MACs"], key)


@pytest.mark.slow
def test_the_catalogue_states_what_was_fitted(published) -> None:
    table = published["nvdla_primer"]
    fitted = nvdla.fit([dict(zip(table["cols"], row, strict=True)) for row in table["rows"]])
    for name in ("nvdla-small", "nvdla-large"):
        chip = catalogue()[name]
        assert chip.array.pe.area.value == pytest.approx(fitted.pe * fitted.shrink, rel=0.01)
        assert chip.buffers[0].area.value == pytest.approx(fitted.sram_per_kb * fitted.shrink, rel=0.01)
        assert chip.array.pe.clock_energy.value == pytest.approx(fitted.clock_pj, rel=0.02)
        assert chip.dram.efficiency.value == pytest.approx(fitted.efficiency, rel=0.02)
