"""Logic against accuracy for the digits and the jet tagging MLP: ours beside dense 8 bits and magnitude pruning.

    python tests/bench/fpga/compression.py [digits] [jet] [--synthesise] [--json FILE]

* dense      8 bits, nothing pruned, nothing trained
* ours       few bits; weights zeroed by Optimal Brain Surgeon; trained as float, then as integers
* same-bits  the same bits and training, but weights zeroed by magnitude: what the choice of weights is worth
* magnitude  the same training and zeros by magnitude, at 8 bits: what is done without a look at the cost

The smallest of ours within one point of dense is compared with dense; each pruned by magnitude with the smallest of
ours that is at least as accurate. LUTs are counted on the netlist, with `--synthesise` by yosys. The networks are
scored on what they were not trained on.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
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
    folder: Path
    made: int | None = None  # LUTs of yosys


def digits() -> Task:
    model, training, scoring = tasks.digits()
    tuning = Tuning(epochs=80, batch=64, learning_rate=5e-3, distillation=0.9)
    return Task(model, scoring, training, (5, 5), (0.8, 0.85, 0.9), tuning, 60)


def jet() -> Task:
    model, (training, scoring) = tasks.jet("jet_mlp3_fp32.onnx", 60_000, 10_000)
    tuning = Tuning(epochs=60, batch=256, learning_rate=1e-2, distillation=1.0, temperature=1.0)
    return Task(model, scoring, training, (5, 8), (0.7, 0.75), tuning, 60)


TASKS = {"digits": digits, "jet": jet}
WAYS = ("ours", "same-bits", "magnitude")
CALIBRATION = 2000  # samples of the training data, at most


def compress(task: Task, way: str, sparsity: float, out: Path) -> Row:
    """Compiles into a folder without building."""
    bits = task.bits if way in ("ours", "same-bits") else (8, 8)
    options = Options(weight_bits=bits[0], activation_bits=bits[1], weight_sparsity=sparsity, pattern="weight")
    if way != "dense":
        options = replace(options, training=task.tuning, qat_epochs=task.qat_epochs)
    if way in ("same-bits", "magnitude"):
        options = replace(options, weight_criterion="magnitude", reconstruct=False)
    calibration = Data({name: x[:CALIBRATION] for name, x in task.training.inputs.items()})
    target = (RtlTarget(build=False), HUGE)
    request = Request(task.model, target, out, task.scoring, calibration, task.training, options, verify_samples=1)
    report = compile(request).report
    lut = next(each.value for each in report.estimate if each.name == "lut")
    return Row(way, f"{bits[0]}/{bits[1]}", sparsity, report.accuracy.after, lut, out)


def synthesised(row: Row) -> Row:
    """The row with the LUTs that yosys makes of the network, without the board's input and output."""
    whole = build_design(row.folder / "artifact", board_of(DEVICE))
    alone = replace(whole, folder=whole.folder / "alone", top="network", sources=(whole.sources[-2],))
    return replace(row, made=synth.synthesise(alone).resources["lut"])


def show(row: Row) -> None:
    made = f"  yosys {row.made:,}" if row.made is not None else ""
    print(
        f"  {row.way:10} {row.bits} {row.sparsity:4.0%} zeros  {row.accuracy:.4f}  {row.lut:9,.0f} LUT{made}",
        flush=True,
    )


def study(name: str, synthesise: bool, folder: Path) -> dict[str, Any]:
    print(name)
    task = TASKS[name]()
    points = [("dense", 0.0), *((way, sparsity) for way in WAYS for sparsity in task.sparsities)]
    rows = []
    for way, sparsity in points:
        row = compress(task, way, sparsity, folder / f"{name}-{way}-{sparsity:g}")
        rows.append(synthesised(row) if synthesise else row)
        show(rows[-1])
    dense = rows[0]
    good = [row for row in rows if row.way == "ours" and row.accuracy >= dense.accuracy - POINTS]
    ours = min(good, key=size, default=None)
    found: dict[str, Any] = {"network": name, "rows": [record(row) for row in rows]}
    if ours:
        found["saved_against_dense"] = saved = 1 - size(ours) / size(dense)
        print(f"  ours has {saved:.1%} fewer LUTs than dense, within {POINTS:.0%} of it", flush=True)
    for way in WAYS[1:]:
        found[f"saved_against_{way}"] = savings(rows, way)
    return found


def savings(rows: Sequence[Row], way: str) -> list[float]:
    """What the smallest of ours saves that is at least as accurate, for every network of another way."""
    found = []
    for other in (row for row in rows if row.way == way):
        good = [row for row in rows if row.way == "ours" and row.accuracy >= other.accuracy]
        ours = min(good, key=size, default=None)
        if ours:
            found.append(1 - size(ours) / size(other))
            what = f"{way} of {other.sparsity:.0%} zeros ({other.accuracy:.4f})"
            print(f"  ours ({ours.accuracy:.4f}) has {found[-1]:.1%} fewer LUTs than {what}", flush=True)
    return found


def size(row: Row) -> float:
    return row.lut if row.made is None else row.made


def record(row: Row) -> dict[str, Any]:
    return {name: value for name, value in vars(row).items() if name != "folder"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help=f"all unless named: {', '.join(TASKS)}")
    parser.add_argument("--synthesise", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="prunus-bench-") as scratch:
        found = [study(name, options.synthesise, Path(scratch)) for name in options.networks or TASKS]
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return any(each.get("saved_against_dense", 0) < 0.7 for each in found)


if __name__ == "__main__":
    sys.exit(main())
