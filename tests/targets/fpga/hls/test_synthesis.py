"""The vendor's tool, played by scripts: its report becomes costs, and what goes wrong is said."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path

import graphs
import pytest

from prunus.compiler.errors import PrunusError
from prunus.targets.catalog import resolve
from prunus.targets.fpga.hls import HlsTarget, synthesis

_, DEVICE = resolve("pynq-z2")
Golden = Callable[[str, str], None]
REPORT = """<?xml version="1.0" encoding="utf-8"?>
<profile>
  <ReportVersion><Version>2023.2</Version></ReportVersion>
  <UserAssignments><unit>ns</unit><Part>xc7z020-clg400-1</Part><TargetClockPeriod>10.00</TargetClockPeriod></UserAssignments>
  <PerformanceEstimates>
    <SummaryOfTimingAnalysis><unit>ns</unit><EstimatedClockPeriod>7.292</EstimatedClockPeriod></SummaryOfTimingAnalysis>
    <SummaryOfOverallLatency>
      <unit>clock cycles</unit>
      <Best-caseLatency>30</Best-caseLatency>
      <Average-caseLatency>31</Average-caseLatency>
      <Worst-caseLatency>32</Worst-caseLatency>
      <Interval-min>8</Interval-min>
      <Interval-max>9</Interval-max>
    </SummaryOfOverallLatency>
  </PerformanceEstimates>
  <AreaEstimates>
    <Resources><BRAM_18K>4</BRAM_18K><DSP>51</DSP><FF>4211</FF><LUT>9050</LUT><URAM>0</URAM></Resources>
    <AvailableResources><BRAM_18K>280</BRAM_18K><DSP>220</DSP><FF>106400</FF><LUT>53200</LUT></AvailableResources>
  </AreaEstimates>
</profile>
"""
FOLDER = "firmware_prj/solution1/syn/report"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    found = tmp_path / "project"
    found.mkdir()
    (found / "build_prj.tcl").write_text("csynth_design\n")
    (found / "build_opt.tcl").write_text(synthesis.options_tcl(export=True))
    return found


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """install(script): puts a program called vitis_hls before all others on the PATH."""

    def write(script: str) -> None:
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "vitis_hls").write_text(f"#!/bin/sh\n{script}")
        (folder / "vitis_hls").chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    return write


def working(report: str) -> str:
    return f"mkdir -p {FOLDER}\ncat > {FOLDER}/firmware_csynth.xml <<'END'\n{report}END\n"


def refusal(project: Path, timeout_s: float = 60) -> str:
    with pytest.raises(PrunusError) as caught:
        found = synthesis.synthesise(project, "firmware", "Vitis", timeout_s)
        assert found is not None
        synthesis.read_report(*found, clock_period_ns=10)
    return f"{type(caught.value).__name__} {caught.value.code}\n{caught.value}\n"


def test_the_report_becomes_costs(project: Path, install: Callable[[str], None]) -> None:
    install(working(REPORT))
    before = sorted(project.rglob("*"))
    found = synthesis.synthesise(project, "firmware", "Vitis")
    assert found is not None and found[1] == "vitis_hls"
    assert sorted(project.rglob("*")) == before, "the artefact stays as it was"
    costs = synthesis.read_report(*found, clock_period_ns=10)
    values = {key: quantity.value for key, quantity in costs.items()}
    assert values == {
        "lut": 9050,
        "ff": 4211,
        "dsp": 51,
        "bram": 4,
        "latency_cycles": 32,
        "interval_cycles": 9,
        "latency_s": pytest.approx(320e-9),
        "throughput_per_s": pytest.approx(1e8 / 9),
    }
    assert {quantity.basis for quantity in costs.values()} == {"synthesised"}
    assert (costs["latency_cycles"].low, costs["latency_cycles"].high) == (30, 32)


def test_a_clock_that_is_missed_slows_the_design_down() -> None:
    slow = synthesis.read_report(REPORT.replace("7.292", "12.5"), "vitis_hls", clock_period_ns=10)
    assert slow["latency_s"].value == pytest.approx(32 * 12.5e-9)


def test_reports_of_vivado_hls_name_the_slices_otherwise() -> None:
    old = REPORT.replace("<DSP>", "<DSP48E>").replace("</DSP>", "</DSP48E>")
    assert synthesis.read_report(old, "vivado_hls", 10)["dsp"].value == 51


def test_no_tool_no_figures(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert synthesis.synthesise(project, "firmware", "Vitis") is None


def test_a_tool_that_fails(project: Path, install: Callable[[str], None], golden: Golden) -> None:
    install("echo 'ERROR: [HLS 200-70] Synthesizability check failed.'\nexit 1\n")
    golden("errors/hls-synthesis-failed.txt", refusal(project))


def test_a_tool_that_hangs_is_ended_with_its_children(
    project: Path, tmp_path: Path, install: Callable[[str], None], golden: Golden
) -> None:
    install(f"sleep 600 &\necho $! > {tmp_path}/child\nwait\n")
    golden("errors/hls-synthesis-hangs.txt", refusal(project, timeout_s=1))
    child = int((tmp_path / "child").read_text())
    status = Path(f"/proc/{child}/stat")
    for _ in range(100):
        if not status.exists() or status.read_text().split()[2] == "Z":
            return
        time.sleep(0.05)
    pytest.fail("the tool's child is still running")


def test_a_tool_that_leaves_no_report(project: Path, install: Callable[[str], None], golden: Golden) -> None:
    install("exit 0\n")
    golden("errors/hls-synthesis-no-report.txt", refusal(project))


@pytest.mark.parametrize(
    ("name", "report"),
    [("undefined-latency", REPORT.replace("<Worst-caseLatency>32", "<Worst-caseLatency>undef")), ("no-xml", "Vitis\n")],
)
def test_a_report_that_cannot_be_read(
    name: str, report: str, project: Path, install: Callable[[str], None], golden: Golden
) -> None:
    install(working(report))
    golden(f"errors/hls-report-{name}.txt", refusal(project))


@pytest.mark.skipif(importlib.util.find_spec("hls4ml") is None, reason="hls4ml is not installed")
def test_an_artefact_carries_what_was_synthesised(tmp_path: Path, install: Callable[[str], None]) -> None:
    install(working(REPORT))
    (tmp_path / "out").mkdir()
    artifact = HlsTarget().lower(graphs.mlp("pow2")[0], DEVICE, tmp_path / "out")
    assert artifact.costs["lut"].value == 9050
    assert "csynth.xml" in artifact.files
    assert not any("firmware_prj" in name for name in artifact.files)
