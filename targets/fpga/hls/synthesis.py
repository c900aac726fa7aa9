"""Runs AMD's HLS tool where one is on the PATH, and reads its report: modelled figures become synthesised ones.

The tool works in a scratch copy of the project, in a process group of its own with a time limit, so the artefact holds
the same files with and without it, but for the report.
"""

from __future__ import annotations

import re
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from ....compiler.errors import ToolError
from ....compiler.quantity import UNITS, Quantity
from ...process import run

TIMEOUT_S = 4 * 3600.0
_OPTIONS = {"reset": 1, "csim": 0, "synth": 1, "cosim": 0, "validation": 0, "export": 1, "vsynth": 0, "fifo_opt": 0}
_VIVADO_OPTIONS = " ".join(f"{key}={value}" for key, value in _OPTIONS.items())
_AREA = {"lut": ("LUT",), "ff": ("FF",), "dsp": ("DSP", "DSP48E"), "bram": ("BRAM_18K",)}  # by names in the report
_CYCLES = {
    "latency_cycles": ("Best-caseLatency", "Worst-caseLatency"),
    "interval_cycles": ("Interval-min", "Interval-max"),
}


@dataclass(frozen=True)
class Vendor:
    """The product behind one of hls4ml's backends, and the command lines that build a project with it. `runs`: whether
    it is run here, because its report can be read."""

    product: str
    commands: tuple[str, ...]
    runs: bool = True

    @property
    def tools(self) -> tuple[str, ...]:
        return tuple(command.split()[0] for command in self.commands)

    def command(self) -> list[str] | None:
        """The command line of the first tool that is on the PATH and is to be run."""
        found = (shlex.split(each) for each in self.commands if shutil.which(each.split()[0]))
        return next(found, None) if self.runs else None


VENDORS: Mapping[str, Vendor] = {
    "Vitis": Vendor("AMD Vitis HLS", ("vitis-run --mode hls --tcl build_prj.tcl", "vitis_hls -f build_prj.tcl")),
    "Vivado": Vendor("Xilinx Vivado HLS", (f"vivado_hls -f build_prj.tcl '{_VIVADO_OPTIONS}'",)),
    "Catapult": Vendor("Siemens Catapult", ("catapult -shell -f build_prj.tcl",), runs=False),
}


def options_tcl(export: bool) -> str:
    """The file `build_opt.tcl` of a project."""
    chosen = {**_OPTIONS, "export": int(export)}
    return "array set opt {\n" + "".join(f"    {key:10} {value}\n" for key, value in chosen.items()) + "}\n"


def synthesise(project: Path, name: str, backend: str, timeout_s: float = TIMEOUT_S) -> tuple[str, str] | None:
    """Synthesises a written project. Returns the report as XML and the tool's name; None where no tool is there.

    Raises ToolError `hls-failed` with the tail of its log, ToolError `hls-report` when it leaves none, and
    LimitError `time-out`.
    """
    vendor = VENDORS[backend]
    command = vendor.command()
    if command is None:
        return None
    with tempfile.TemporaryDirectory(prefix="prunus-hls-synth-") as scratch:
        copy = Path(scratch, "project")
        shutil.copytree(project, copy)
        (copy / "build_opt.tcl").write_text(options_tcl(export=False), encoding="utf-8")
        run(command, what=vendor.product, cwd=copy, timeout_s=timeout_s, code="hls-failed", memory_bytes=None)
        report = copy / f"{name}_prj" / "solution1" / "syn" / "report" / f"{name}_csynth.xml"
        if not report.is_file():
            raise ToolError(
                f"{vendor.product} ended without a report.",
                code="hls-report",
                where=report.relative_to(copy).as_posix(),
                hint="Run build.sh of the artefact to see what it says.",
            )
        return report.read_text(encoding="utf-8", errors="replace"), command[0]


def read_report(text: str, tool: str, clock_period_ns: float) -> dict[str, Quantity]:
    """Costs from a `csynth.xml`. Latency in seconds is at the design's own clock, or the slower one that the tool
    estimates. Raises ToolError `hls-report`."""
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise _unreadable(tool, str(error)) from error
    source = f"{tool}, C synthesis"
    found = {
        key: _exact(key, _number(root, "AreaEstimates/Resources", names, tool), source) for key, names in _AREA.items()
    }
    for key, (low, high) in _CYCLES.items():
        least, most = (_number(root, "PerformanceEstimates/SummaryOfOverallLatency", (n,), tool) for n in (low, high))
        found[key] = Quantity(most, least, most, UNITS[key], "synthesised", source)
    made = _number(root, "PerformanceEstimates/SummaryOfTimingAnalysis", ("EstimatedClockPeriod",), tool)
    period_s = max(made, clock_period_ns) * 1e-9
    latency, interval = found["latency_cycles"], found["interval_cycles"]
    found["latency_s"] = Quantity(
        latency.value * period_s, latency.low * period_s, latency.high * period_s, "s", "synthesised", source
    )
    found["throughput_per_s"] = _exact("throughput_per_s", 1 / (max(interval.value, 1) * period_s), source)
    return found


def _exact(key: str, value: float, source: str) -> Quantity:
    return Quantity.exact(value, UNITS[key], "synthesised", source)


def _number(root: ElementTree.Element, folder: str, names: tuple[str, ...], tool: str) -> float:
    """The first of the named entries. HLS writes `undef` for cycles that depend on data."""
    for name in names:
        text = root.findtext(f"{folder}/{name}")
        if text is not None and re.fullmatch(r"\d+(\.\d+)?", text.strip()):
            return float(text)
    raise _unreadable(tool, f"no number in {folder}/{names[0]}")


def _unreadable(tool: str, why: str) -> ToolError:
    return ToolError(
        "The report of C synthesis cannot be read.",
        code="hls-report",
        where=tool,
        why=why,
        hint="Take the tool off the PATH to go on with modelled figures.",
    )
