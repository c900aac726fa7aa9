"""From Verilog to a bitstream: yosys, nextpnr and the family's packer, each in its own process with a time limit.

A step whose inputs are what they were is not run again: each leaves a stamp, so that an interrupted build goes on.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....compiler.errors import ToolError, UnsupportedError
from ....compiler.target import Progress, no_progress
from ...process import run
from .families import FAMILIES, Family
from .refusals import refusal
from .tools import need

SYNTHESIS_TIMEOUT_S = 1800.0
ROUTE_TIMEOUT_S = 3600.0
PACK_TIMEOUT_S = 600.0
_NETLIST, _COUNTS, _REPORT = "netlist.json", "counts.json", "route.json"


@dataclass(frozen=True)
class Design:
    """Sources and what they are built for. `parameters` fill the family's commands (size, package, speed …)."""

    folder: Path  # of the build's files; made when missing
    sources: tuple[Path, ...]
    top: str
    family: str
    parameters: Mapping[str, str]
    constraints: Path | None = None
    clock_hz: float = 1e8
    seed: int = 1

    @property
    def tools(self) -> Family:
        return FAMILIES[self.family]


@dataclass(frozen=True)
class Synthesised:
    """What yosys made: cells by type, and resources by key of `quantity.UNITS`."""

    cells: Mapping[str, int]
    resources: Mapping[str, int]


@dataclass(frozen=True)
class Routed:
    """What nextpnr made. `clocks_hz`: reached and asked frequency by clock net; `used`, `available`: by resource."""

    clocks_hz: Mapping[str, tuple[float, float]]
    used: Mapping[str, int]
    available: Mapping[str, int]


def synthesise(design: Design, progress: Progress = no_progress) -> Synthesised:
    """Runs yosys. Raises ToolError (`tool-missing`, `synthesis-failed`) or LimitError."""
    progress(f"Synthesising for {design.family} (yosys)", 0.0)
    script = "; ".join(
        (
            "read_verilog " + " ".join(_quoted(_named(design, path)) for path in design.sources),
            design.tools.synth.format(top=design.top, netlist=_NETLIST),
            f"tee -q -o {_COUNTS} stat -json",
        )
    )
    argv = [need("yosys"), "-q", "-p", script]
    _step(design, "synthesis", argv, [*design.sources], (_NETLIST, _COUNTS), "synthesis-failed", SYNTHESIS_TIMEOUT_S)
    return read_counts(design)


def place_and_route(design: Design, progress: Progress = no_progress) -> Routed:
    """Runs nextpnr on what `synthesise` left.

    Raises ToolError (`tool-missing`, `routing-failed`), LimitError, UnsupportedError `device-too-small` with the
    resource that there is not enough of, or UsageError `device-setting` for a pin that cannot be used.
    """
    family = design.tools
    if family.router is None:
        raise UnsupportedError(
            f"No open tool places and routes the family {design.family}.",
            code="no-router",
            hint="Build the project with the vendor's tool, or choose an ECP5, iCE40 or Gowin board.",
        )
    progress(f"Placing and routing ({family.router})", 0.0)
    large = read_counts(design).resources["lut"] >= family.large_lut
    argv = [
        need(family.router),
        *_filled(design, family.route),
        *(family.route_large if large else ()),
        "--freq",
        f"{design.clock_hz / 1e6:g}",
        "--seed",
        str(design.seed),
        "--timing-allow-fail",
        "--quiet",
        "--report",
        _REPORT,
    ]
    inputs = [design.folder / _NETLIST, *([design.constraints] if design.constraints else [])]
    try:
        _step(design, "route", argv, inputs, (family.routed, _REPORT), "routing-failed", ROUTE_TIMEOUT_S)
    except ToolError as error:
        raise refusal(str(error.why), design.tools, design.parameters) or error from error
    return read_report(design.folder / _REPORT, family)


def pack(design: Design, progress: Progress = no_progress) -> Path:
    """The bitstream of a routed design. Raises ToolError or LimitError."""
    family = design.tools
    assert family.packer is not None  # has a router
    progress(f"Packing the bitstream ({family.packer})", 0.0)
    argv = [need(family.packer), *_filled(design, family.pack)]
    inputs = [design.folder / family.routed]
    _step(design, "pack", argv, inputs, (family.bitstream,), "packing-failed", PACK_TIMEOUT_S)
    return design.folder / family.bitstream


def read_counts(design: Design) -> Synthesised:
    """What yosys counted in the build folder."""
    found = json.loads((design.folder / _COUNTS).read_text(encoding="utf-8"))
    cells = {str(name): int(count) for name, count in sorted(found["design"]["num_cells_by_type"].items())}
    return Synthesised(cells, {key: _count(cells, weights) for key, weights in design.tools.cells.items()})


def read_report(path: Path, family: Family) -> Routed:
    """nextpnr's JSON report."""
    found = json.loads(path.read_text(encoding="utf-8"))
    clocks = {
        str(name): (float(clock["achieved"]) * 1e6, float(clock["constraint"]) * 1e6)
        for name, clock in sorted(found["fmax"].items())
    }
    bels = found["utilization"]
    used, available = (
        {
            key: sum(int(bels[name][field]) for name in names if name in bels)
            for key, names in family.utilization.items()
        }
        for field in ("used", "available")
    )
    return Routed(clocks, used, available)


# -- steps --------------------------------------------------------------------------------------------------------


def _step(
    design: Design,
    name: str,
    argv: Sequence[str],
    inputs: Sequence[Path],
    outputs: Sequence[str],
    code: str,
    timeout_s: float,
) -> None:
    """Runs a tool in the build folder unless its outputs are there already, made from these very inputs."""
    design.folder.mkdir(parents=True, exist_ok=True)
    stamp = design.folder / f".{name}"
    digest = _digest(argv[1:], inputs)
    if stamp.is_file() and stamp.read_text() == digest and all((design.folder / each).is_file() for each in outputs):
        return
    stamp.unlink(missing_ok=True)
    what = f"{Path(argv[0]).name}"
    log = run(argv, what=what, cwd=design.folder, timeout_s=timeout_s, code=code, memory_bytes=None)
    (design.folder / f"{name}.log").write_text(log, encoding="utf-8")
    stamp.write_text(digest)


def _digest(arguments: Sequence[str], inputs: Sequence[Path]) -> str:
    found = hashlib.sha256(json.dumps(list(arguments)).encode())
    for path in inputs:
        found.update(hashlib.sha256(path.read_bytes()).digest())
    return found.hexdigest()


def _filled(design: Design, arguments: Sequence[str]) -> list[str]:
    family = design.tools
    values = {
        **design.parameters,
        "netlist": _NETLIST,
        "routed": family.routed,
        "bitstream": family.bitstream,
        "constraints": _named(design, design.constraints) if design.constraints else "",
    }
    return [argument.format_map(values) for argument in arguments]


def _named(design: Design, path: Path) -> str:
    """A file as the tools, which run in the build folder, are told of it. PyPI's have a /tmp of their own, and see what
    lies below the real one only from the working folder."""
    return path.relative_to(design.folder).as_posix() if path.is_relative_to(design.folder) else str(path)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', "") + '"'


def _count(cells: Mapping[str, int], weights: Mapping[str, float]) -> int:
    return int(
        sum(
            weight * count
            for pattern, weight in weights.items()
            for name, count in cells.items()
            if fnmatch.fnmatchcase(name, pattern)
        )
    )


def describe(design: Design) -> dict[str, Any]:
    """How to build the design by hand, as JSON-ready data."""
    return {"family": design.family, "parameters": dict(design.parameters), "clock_hz": design.clock_hz}
