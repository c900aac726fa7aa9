"""The flow with stand-ins for the tools: what is run, what is read, what is not run twice, and what goes wrong."""

from __future__ import annotations

import json
import stat
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from prunus.compiler.errors import LimitError, PrunusError, ToolError, UnsupportedError
from prunus.targets.fpga.synth import FAMILIES, Design, flow, pack, place_and_route, synthesise
from prunus.targets.fpga.synth.families import Family
from prunus.targets.fpga.synth.refusals import refusal

Golden = Callable[[str, str], None]
CELLS = {"LUT4": 10, "CCU2C": 4, "TRELLIS_FF": 7, "$scopeinfo": 1}
REPORT = {
    "fmax": {"clk": {"achieved": 123.4, "constraint": 100.0}},
    "utilization": {"TRELLIS_COMB": {"used": 18, "available": 83640}, "TRELLIS_FF": {"used": 7, "available": 83640}},
}
_YOSYS = f"""
import json, pathlib, sys
pathlib.Path("netlist.json").write_text("[]")
pathlib.Path("counts.json").write_text(json.dumps(dict(design=dict(num_cells_by_type={CELLS!r}))))
"""
_NEXTPNR = f"""
import json, pathlib, sys
pathlib.Path("routed.config").write_text(" ".join(sys.argv[1:]))
pathlib.Path("route.json").write_text(json.dumps({REPORT!r}))
"""
_ECPPACK = """
import pathlib, sys
pathlib.Path(sys.argv[-1]).write_bytes(b"bits")
"""


def install(folder: Path, name: str, body: str) -> None:
    """A program on the PATH that counts its runs."""
    path = folder / name
    count = f"import pathlib\nwith pathlib.Path({str(folder / (name + '.runs'))!r}).open('a') as f: f.write('x')\n"
    path.write_text(f"#!{sys.executable}\n{count}{body}")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)


def runs(folder: Path, name: str) -> int:
    path = folder / f"{name}.runs"
    return len(path.read_text()) if path.exists() else 0


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in (("yosys", _YOSYS), ("nextpnr-ecp5", _NEXTPNR), ("ecppack", _ECPPACK)):
        install(folder, name, body)
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def design(tmp_path: Path) -> Design:
    source, constraints = tmp_path / "top.v", tmp_path / "top.lpf"
    source.write_text("module top; endmodule\n")
    constraints.write_text("")
    parameters = {"size": "85k", "package": "CABGA381", "speed": "6"}
    return Design(tmp_path / "build", (source,), "top", "ecp5", parameters, constraints)


@pytest.mark.parametrize(("adders", "spread"), [(8_994, False), (8_995, True)])  # 2 LUTs each, and 10 more
def test_large_designs_are_placed_with_more_care(tools: Path, design: Design, adders: int, spread: bool) -> None:
    install(tools, "yosys", _YOSYS.replace("'CCU2C': 4", f"'CCU2C': {adders}"))
    synthesise(design)
    place_and_route(design)
    arguments = (design.folder / "routed.config").read_text()
    assert ("--placer-heap-alpha 0.3" in arguments) is spread


def test_from_sources_to_a_bitstream(tools: Path, design: Design) -> None:
    made = synthesise(design)
    assert made.resources == {"lut": 18, "ff": 7, "dsp": 0, "bram": 0}
    routed = place_and_route(design)
    assert routed.clocks_hz == {"clk": (123.4e6, 100e6)}
    assert (routed.used["lut"], routed.available["lut"]) == (18, 83640)
    assert pack(design).read_bytes() == b"bits"
    arguments = (design.folder / "routed.config").read_text()
    assert "--85k" in arguments and "--freq 100" in arguments and str(design.constraints) in arguments


def test_what_has_not_changed_is_not_built_again(tools: Path, design: Design) -> None:
    for _ in range(2):
        synthesise(design)
        place_and_route(design)
    assert (runs(tools, "yosys"), runs(tools, "nextpnr-ecp5")) == (1, 1)
    design.sources[0].write_text("module top; wire w; endmodule\n")
    synthesise(design)
    assert runs(tools, "yosys") == 2
    place_and_route(replace(design, clock_hz=5e7))
    assert runs(tools, "nextpnr-ecp5") == 2


def told(error: PrunusError) -> str:
    return f"{type(error).__name__} {error.code}\n{error}\n"


def test_a_missing_tool_names_its_package(design: Design, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prunus.targets.fpga.synth.tools.shutil.which", lambda *args, **options: None)
    with pytest.raises(ToolError) as caught:
        synthesise(design)
    golden("errors/rtl-yosys-missing.txt", told(caught.value))


def test_a_failing_tool_is_quoted_and_leaves_no_stamp(tools: Path, design: Design) -> None:
    install(tools, "yosys", "import sys\nprint('ERROR: syntax')\nsys.exit(3)\n")
    with pytest.raises(ToolError, match="syntax") as caught:
        synthesise(design)
    assert caught.value.code == "synthesis-failed"
    install(tools, "yosys", _YOSYS)
    assert synthesise(design).cells["LUT4"] == 10


def test_a_hanging_tool_is_stopped(
    tools: Path, design: Design, golden: Golden, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tools, "yosys", "import time\ntime.sleep(60)\n")
    monkeypatch.setattr(flow, "SYNTHESIS_TIMEOUT_S", 0.5)
    with pytest.raises(LimitError) as caught:
        synthesise(design)
    golden("errors/rtl-yosys-hangs.txt", told(caught.value))


@pytest.mark.parametrize(
    ("name", "family", "said"),  # as nextpnr 0.11 says it
    [
        (
            "luts",
            "ecp5",
            "ERROR: Unable to place cell 'g[501].s_LUT4_Z', no BELs remaining to implement cell type 'TRELLIS_COMB'",
        ),
        ("luts-gowin", "gowin", "ERROR: Unable to place cell 's_F', no BELs remaining to implement cell type 'LUT2'"),
        ("crowded", "ecp5", "ERROR: Unable to find legal placement for cell 'x', check constraints and utilisation."),
        (
            "pins",
            "ecp5",
            "ERROR: Unable to place cell 'y[196]$tr_io', no BELs remaining to implement cell type 'TRELLIS_IO'",
        ),
        ("pins-ice40", "ice40", "ERROR: Unable to find a placement location for cell 'y[38]$sb_io'"),
        (
            "no-such-pin",
            "ecp5",
            "ERROR: IO pin 'rx$tr_io' constrained to pin 'ZZ9', which does not exist for package 'CABGA256'.",
        ),
        ("no-such-pin-ice40", "ice40", "ERROR: package does not have a pin named '999' (on line 2)"),
        ("no-such-pin-gowin", "gowin", "ERROR: Pin 999 not found (pin# style)"),
    ],
)
def test_what_does_not_fit_is_named(name: str, family: str, said: str, golden: Golden) -> None:
    log = f"It ended with status 1: Warning: something\n{said}\n3 warnings, 1 error"
    found = refusal(log, FAMILIES[family], {"package": "ANY", "size": "small"})
    assert found is not None
    golden(f"errors/rtl-route-{name}.txt", told(found))


def test_a_design_that_does_not_fit_ends_the_build(tools: Path, design: Design) -> None:
    said = "ERROR: Unable to place cell 'x', no BELs remaining to implement cell type 'TRELLIS_COMB'"
    install(tools, "nextpnr-ecp5", f"import sys\nprint({said!r})\nsys.exit(1)\n")
    synthesise(design)
    with pytest.raises(UnsupportedError, match="does not fit") as caught:
        place_and_route(design)
    assert caught.value.code == "device-too-small"


def test_a_router_that_breaks_down_is_no_refusal(tools: Path, design: Design) -> None:
    install(tools, "nextpnr-ecp5", "import sys\nprint('ERROR: internal')\nsys.exit(1)\n")
    synthesise(design)
    with pytest.raises(ToolError, match="internal") as caught:
        place_and_route(design)
    assert caught.value.code == "routing-failed"


def test_families_without_a_router_are_refused(tools: Path, design: Design) -> None:
    with pytest.raises(UnsupportedError, match="No open tool"):
        place_and_route(replace(design, family="xc7"))


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
def test_the_table_is_complete(family: Family) -> None:
    assert "{netlist}" in family.synth and "lut" in family.cells
    if family.router is not None:
        assert family.packer and family.routed and family.bitstream
        assert any("{netlist}" in part for part in family.route)
        assert "lut" in family.utilization


def test_reports_are_read(tmp_path: Path) -> None:
    (tmp_path / "route.json").write_text(json.dumps(REPORT))
    assert flow.read_report(tmp_path / "route.json", FAMILIES["ecp5"]).used == {"lut": 18, "ff": 7, "dsp": 0, "bram": 0}
