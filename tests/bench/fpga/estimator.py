"""The RTL cost model beside yosys and nextpnr, on architectures that it was not fitted to.

    python tests/bench/fpga/estimator.py [--route] [--fit] [--only NAME …] [--json FILE]

LUTs are those of the network alone (LUT4 + 2 CCU2C of `synth_ecp5`); Fmax is that of the whole board design on the
ULX3S (ECP5-85k), routed with nextpnr's seed 1. Builds are kept in the cache: an interrupted run goes on. Rows go into
FILE beside those of other designs; `estimator.json` holds what was measured.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from designs import FITTED, HELD_OUT, Design

from prunus.compiler.quantity import Quantity
from prunus.targets import catalog
from prunus.targets.fpga import synth
from prunus.targets.fpga.rtl import build_design, cost, package, pipelined
from prunus.targets.fpga.rtl.board import board_of
from prunus.targets.fpga.rtl.placement import place

LUT_BOUND, FMAX_BOUND = 0.10, 0.20


def predict(design: Design, folder: Path) -> tuple[dict[str, Any], synth.Design]:
    """What the model says, and the sources of the whole board design, written into a folder."""
    device = catalog.device_files()["ulx3s-85f"].device("rtl")
    period = device.data["clock_period_ns"]
    assert isinstance(period, Quantity)
    device = replace(device, data={**device.data, "clock_period_ns": replace(period, value=1e3 / design.clock_mhz)})
    board = board_of(device)
    graph = design.graph(folder)
    placement = place(graph)
    pipeline = pipelined(graph, placement, board)
    out = folder / "project"
    out.mkdir()
    package.write_project(out, graph, placement, pipeline, board, device.title, device.name)
    fabric = cost.FABRICS[board.family]
    counted = cost.count(pipeline, fabric)
    row = {
        "name": design.name,
        "architecture": design.architecture,
        "bits": f"{design.weight_bits}/{design.activation_bits}",
        "depth": pipeline.depth,
        "lut_predicted": round(counted["lut"]),
        "ff_predicted": round(counted["ff"]),
        "fmax_predicted_mhz": round(cost.fmax_hz(pipeline, fabric) / 1e6, 1),
    }
    return row, build_design(out, board)


def measure(design: Design, route: bool) -> dict[str, Any]:
    """Predicted and made: lut and ff, with `route` fmax_mhz."""
    with tempfile.TemporaryDirectory() as scratch:
        found, whole = predict(design, Path(scratch))
    alone = replace(whole, folder=whole.folder / "alone", top="network", sources=(whole.sources[-2],))
    made = synth.synthesise(alone).resources
    found |= {"lut_made": made["lut"], "ff_made": made["ff"]}
    if route:
        synth.synthesise(whole)
        routed = synth.place_and_route(whole)
        found["fmax_made_mhz"] = round(min(reached for reached, _ in routed.clocks_hz.values()) / 1e6, 1)
    return found


def error(row: dict[str, Any], key: str, unit: str = "") -> float:
    return float(row[f"{key}_predicted{unit}"] / row[f"{key}_made{unit}"] - 1)


def line(row: dict[str, Any]) -> str:
    text = (
        f"{row['name']:18} {row['bits']:>5} {row['depth']:3d} stages  "
        f"LUT {row['lut_made']:6d} predicted {row['lut_predicted']:6d} ({error(row, 'lut'):+6.1%})"
    )
    if "fmax_made_mhz" in row:
        text += f"  Fmax {row['fmax_made_mhz']:6.1f} predicted {row['fmax_predicted_mhz']:6.1f} "
        text += f"({error(row, 'fmax', '_mhz'):+6.1%}) MHz"
    return text


def keep(row: dict[str, Any], path: Path) -> None:
    """Puts a row into a file, in place of an older one of the same design."""
    kept = {each["name"]: each for each in json.loads(path.read_text())} if path.is_file() else {}
    rows = (kept | {row["name"]: row}).values()
    path.write_text("[\n" + ",\n".join(json.dumps(each) for each in rows) + "\n]\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--route", action="store_true", help="place and route, too (minutes a design)")
    parser.add_argument("--fit", action="store_true", help="the designs that the model was fitted to instead")
    parser.add_argument("--only", nargs="*", help="names of designs")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(f"{platform.machine()}, python {platform.python_version()}, numpy {np.__version__}")
    rows = []
    for design in FITTED if options.fit else HELD_OUT:
        if options.only and design.name not in options.only:
            continue
        rows.append(measure(design, options.route))
        print(line(rows[-1]), flush=True)
        if options.json:
            keep(rows[-1], options.json)
    missed = [row["name"] for row in rows if abs(error(row, "lut")) > LUT_BOUND]
    missed += [r["name"] for r in rows if "fmax_made_mhz" in r and abs(error(r, "fmax", "_mhz")) > FMAX_BOUND]
    print(f"{len(rows)} designs, outside of the bounds (LUT 10 %, Fmax 20 %): {', '.join(missed) or 'none'}")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
