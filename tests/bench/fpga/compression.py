"""Logic against accuracy for the digits and the jet tagging MLP: ours beside dense 8 bits and magnitude pruning.

    python tests/bench/fpga/compression.py [digits] [jet] [--synthesise] [--json FILE]

Three ways to compress: dense at 8 bits; weights zeroed by magnitude, without refitting; and ours (weights chosen and
refitted by Optimal Brain Surgeon). Both prune at the same bits. LUTs are counted on the netlist; `--synthesise` asks
yosys for those of the rows that the verdict is about.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from prunus.compiler import Data, Options, Request, compile, load
from prunus.targets import catalog
from prunus.targets.fpga import synth
from prunus.targets.fpga.rtl import RtlTarget, build_design
from prunus.targets.fpga.rtl.board import board_of

ROOT = Path(__file__).resolve().parents[3]
DEVICE = catalog.device_files()["ulx3s-85f"].device("rtl")
HUGE = replace(DEVICE, resources={})  # dense networks do not fit; they are counted all the same
POINTS = 0.01  # of accuracy that may be lost


@dataclass(frozen=True)
class Row:
    """One way to compress a network, and what came of it."""

    way: str
    bits: str
    sparsity: float
    accuracy: float
    lut: float
    made: int | None = None  # LUTs of yosys


def digits() -> dict[str, Any]:
    folder = ROOT / "examples" / "digits"
    return {"model": folder / "mlp.onnx", "data": folder / "digits_flat.npz"}


def jet() -> dict[str, Any]:
    models = Path(os.environ.get("PRUNUS_MODELS", ROOT.parent / "shared" / "models"))
    path, rng = models / "jet_mlp3_fp32.onnx", np.random.default_rng(0)
    name = str(load(path).graph.inputs[0].name)
    calibration, scoring = (
        Data({name: rng.standard_normal((n, 16)).astype(np.float32)}, source="drawn") for n in (512, 4000)
    )
    return {"model": path, "data": scoring, "calibration": calibration}


NETWORKS = {"digits": digits, "jet": jet}
BITS = {"digits": (5, 5), "jet": (7, 7)}


def compress(name: str, way: str, bits: tuple[int, int], sparsity: float, synthesise: bool) -> Row:
    """Compiles without building; `way` is dense, magnitude or ours."""
    options = Options(weight_bits=bits[0], activation_bits=bits[1], weight_sparsity=sparsity, pattern="weight")
    if way == "magnitude":
        options = replace(options, weight_criterion="magnitude", reconstruct=False)
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch, "out")
        request = Request(
            **NETWORKS[name](), target=(RtlTarget(build=False), HUGE), out=out, options=options, verify_samples=1
        )
        report = compile(request).report
        lut = next(each.value for each in report.estimate if each.name == "lut")
        made = None
        if synthesise:
            whole = build_design(out / "artifact", board_of(DEVICE))
            alone = replace(whole, folder=whole.folder / "alone", top="network", sources=(whole.sources[-2],))
            made = synth.synthesise(alone).resources["lut"]
    return Row(way, f"{bits[0]}/{bits[1]}", sparsity, report.accuracy.after, lut, made)


def show(row: Row) -> None:
    made = f"  yosys {row.made:,}" if row.made is not None else ""
    print(
        f"  {row.way:10} {row.bits} {row.sparsity:4.0%} zeros  {row.accuracy:.4f}  {row.lut:9,.0f} LUT{made}",
        flush=True,
    )


def study(name: str, synthesise: bool) -> dict[str, Any]:
    print(name)
    dense = compress(name, "dense", (8, 8), 0.0, synthesise)
    show(dense)
    rows, best = [dense], {}
    for way in ("ours", "magnitude"):
        for sparsity in (0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85):
            row = compress(name, way, BITS[name], sparsity, False)
            show(row)
            rows.append(row)
            if row.accuracy >= dense.accuracy - POINTS:
                best[way] = row
    if synthesise:
        best = {way: compress(name, way, BITS[name], row.sparsity, True) for way, row in best.items()}

    def size(row: Row) -> float:
        return row.lut if row.made is None else row.made

    found: dict[str, Any] = {"network": name, "rows": [vars(row) for row in rows]}
    found |= {way: vars(row) for way, row in best.items()}
    if "ours" in best:
        found["saved_against_dense"] = 1 - size(best["ours"]) / size(dense)
        print(f"  ours within {POINTS:.0%} of dense: {found['saved_against_dense']:.1%} fewer LUTs than dense")
    if len(best) == 2:
        found["saved_against_magnitude"] = 1 - size(best["ours"]) / size(best["magnitude"])
        print(f"  and {found['saved_against_magnitude']:.1%} fewer than magnitude pruning within the same bound")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help=f"all unless named: {', '.join(NETWORKS)}")
    parser.add_argument("--synthesise", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = [study(name, options.synthesise) for name in options.networks or NETWORKS]
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return any(each.get("saved_against_dense", 0) < 0.7 for each in found)


if __name__ == "__main__":
    sys.exit(main())
