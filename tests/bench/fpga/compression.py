"""Logic against accuracy for the digits and the jet tagging MLP: ours beside dense 8 bits and magnitude pruning.

    python tests/bench/fpga/compression.py [digits] [jet] [--synthesise] [--json FILE]

* dense      8 bits, nothing pruned, nothing trained
* ours       few bits; weights zeroed by Optimal Brain Surgeon; trained as float, then as integers
* same-bits  the same bits and training, but weights zeroed by magnitude: what the choice of weights is worth
* magnitude  the same training and zeros by magnitude, at 8 bits: what is done without a look at the cost

Of each way the smallest network within one point of dense counts. LUTs are counted on the netlist; `--synthesise` asks
yosys for those of the rows that the verdict is about. The networks are scored on what they were not trained on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import tasks

from prunus.compiler import Data, Options, Request, compile
from prunus.compiler.training import Tuning
from prunus.targets import catalog
from prunus.targets.fpga import synth
from prunus.targets.fpga.rtl import RtlTarget, build_design
from prunus.targets.fpga.rtl.board import board_of

DEVICE = catalog.device_files()["ulx3s-85f"].device("rtl")
HUGE = replace(DEVICE, resources={})  # dense networks do not fit; they are counted all the same
POINTS = 0.01  # of accuracy that may be lost


@dataclass(frozen=True)
class Task:
    """A network, its data, and how it is compressed."""

    model: Path
    scoring: Data
    training: Data
    bits: tuple[int, int]  # of weights and activations, in our way
    sparsities: tuple[float, ...]
    tuning: Tuning
    qat_epochs: int


@dataclass(frozen=True)
class Row:
    """One way to compress a network, and what came of it."""

    way: str
    bits: str
    sparsity: float
    accuracy: float
    lut: float
    made: int | None = None  # LUTs of yosys


def digits() -> Task:
    model, training, scoring = tasks.digits()
    tuning = Tuning(epochs=80, batch=64, learning_rate=5e-3, distillation=0.9)
    return Task(model, scoring, training, (5, 5), (0.8, 0.85, 0.9), tuning, 60)


def jet() -> Task:
    model, (training, scoring) = tasks.jet("jet_mlp3_fp32.onnx", 20_000, 10_000)
    tuning = Tuning(epochs=60, batch=256, learning_rate=1e-2, distillation=1.0, temperature=1.0)
    return Task(model, scoring, training, (6, 8), (0.7, 0.75), tuning, 60)


TASKS = {"digits": digits, "jet": jet}
WAYS = ("ours", "same-bits", "magnitude")
CALIBRATION = 2000  # samples of the training data, at most


def compress(task: Task, way: str, sparsity: float, synthesise: bool) -> Row:
    """Compiles without building."""
    bits = task.bits if way in ("ours", "same-bits") else (8, 8)
    options = Options(weight_bits=bits[0], activation_bits=bits[1], weight_sparsity=sparsity, pattern="weight")
    if way != "dense":
        options = replace(options, training=task.tuning, qat_epochs=task.qat_epochs)
    if way in ("same-bits", "magnitude"):
        options = replace(options, weight_criterion="magnitude", reconstruct=False)
    calibration = Data({name: x[:CALIBRATION] for name, x in task.training.inputs.items()})
    with tempfile.TemporaryDirectory() as scratch:
        out, target = Path(scratch, "out"), (RtlTarget(build=False), HUGE)
        request = Request(task.model, target, out, task.scoring, calibration, task.training, options, verify_samples=1)
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
    task = TASKS[name]()
    rows = [compress(task, "dense", 0.0, synthesise)]
    show(rows[0])
    for way in WAYS:
        for sparsity in task.sparsities:
            rows.append(compress(task, way, sparsity, False))
            show(rows[-1])
    good = [row for row in rows if row.accuracy >= rows[0].accuracy - POINTS]
    best = {way: min((row for row in good if row.way == way), key=lambda row: row.lut, default=None) for way in WAYS}
    best["dense"] = rows[0]
    if synthesise:
        best |= {way: compress(task, way, row.sparsity, True) for way, row in best.items() if row and row.made is None}
    found: dict[str, Any] = {"network": name, "rows": [vars(row) for row in rows]}
    found |= {way: vars(row) for way, row in best.items() if row}
    ours = best["ours"]
    for way, row in best.items():
        if ours and row and row is not ours:
            found[f"saved_against_{way}"] = saved = 1 - size(ours) / size(row)
            print(f"  ours has {saved:.1%} fewer LUTs than {way}, both within {POINTS:.0%} of dense", flush=True)
        elif row is None:
            print(f"  no network of the way '{way}' is within {POINTS:.0%} of dense", flush=True)
    return found


def size(row: Row) -> float:
    return row.lut if row.made is None else row.made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help=f"all unless named: {', '.join(TASKS)}")
    parser.add_argument("--synthesise", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = [study(name, options.synthesise) for name in options.networks or TASKS]
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return any(each.get("saved_against_dense", 0) < 0.7 for each in found)


if __name__ == "__main__":
    sys.exit(main())
