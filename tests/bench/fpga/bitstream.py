"""From ONNX to a bitstream for the ULX3S (ECP5-85k), wrapper included: accuracy, logic, clock, latency, time.

    python tests/bench/fpga/bitstream.py [jet] [digits] [--vectors 10000] [--json FILE]

The jet tagging MLP comes from the folder of real models; it has no public inputs of that size, so that standard normal
ones are drawn and agreement with the float model is what counts. The digits MLP is scored on its 540 unseen images.
`cpu_seconds` is what one core would take: on a machine with other work to do `seconds` says little.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tasks

from prunus.compiler import Options, Request, compile, load
from prunus.compiler.integer.from_qdq import read_qdq
from prunus.compiler.training import Tuning
from prunus.targets import catalog
from prunus.targets.fpga.rtl import RtlTarget, package
from prunus.targets.fpga.rtl.bus import Bus
from prunus.targets.fpga.rtl.placement import place
from prunus.targets.fpga.rtl.simulate import simulate, simulator

BOARD = "ulx3s-85f"
DISTIL = Tuning(epochs=0, batch=256, learning_rate=5e-3, distillation=1.0, temperature=1.0)


def jet() -> Request:
    """6-bit weights and 8-bit activations, trained on what the float model says."""
    path, (calibration, training, scoring) = tasks.jet("jet_mlp3_pruned70_fp32.onnx", 2000, 20_000, 10_000)
    options = Options(weight_bits=6, activation_bits=8, ranges="mse", qat_epochs=60, training=DISTIL)
    return Request(path, BOARD, Path("jet"), scoring, calibration, training, options)


def digits() -> Request:
    """5-bit weights and activations, 85 % of the weights zero, trained on what the example's network was trained on."""
    path, training, scoring = tasks.digits()
    tuning = Tuning(epochs=80, batch=64, learning_rate=5e-3, distillation=0.9)
    options = Options(
        weight_bits=5, activation_bits=5, weight_sparsity=0.85, pattern="weight", qat_epochs=60, training=tuning
    )
    return Request(path, BOARD, Path("digits"), scoring, training, training, options)


CASES: dict[str, Callable[[], Request]] = {"jet": jet, "digits": digits}


def run(name: str, vectors: int, folder: Path) -> dict[str, Any]:
    """Compiles one case for the board, and simulates the artefact on random vectors."""
    request = CASES[name]()
    start = time.perf_counter()
    report = compile(
        Request(**{**vars(request), "out": folder / name}),
        lambda what, share: print(f"  {share:4.0%} {what}", flush=True),
    ).report
    seconds = time.perf_counter() - start
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    costs = {each.name: (each.value, each.basis) for each in report.estimate}
    manifest = json.loads((folder / name / "manifest.json").read_text())
    return {
        "network": name,
        "metric": report.accuracy.metric,
        "before": report.accuracy.before,
        "after": report.accuracy.after,
        "costs": costs,
        "clocks_hz": manifest["artifact"]["build"]["clocks_hz"],
        "seconds": seconds,
        "cpu_seconds": sum(each.ru_utime + each.ru_stime for each in used),  # since the script began
        **exactness(folder / name, vectors),
    }


def exactness(folder: Path, vectors: int) -> dict[str, Any]:
    """The Verilog of the artefact beside the integer reference on uniformly random integers."""
    target = RtlTarget(build=False)
    device = catalog.device_files()[BOARD].device("rtl")
    graph = read_qdq(load(folder / "model.onnx"), target.formats(device))
    placement = place(graph)
    x, y = Bus.of(graph, placement.inputs), Bus.of(graph, placement.outputs)
    samples, expected = package.vectors(graph, placement, vectors, seed=7)
    project = folder / "artifact"
    sources = [project / "rtl" / "network.v", project / "sim" / "network_tb.v"]
    found = simulate(sources, "network_tb", x.pack(samples), x.bits, y.bits)
    wrong = int(np.any(found != y.pack(expected), axis=1).sum())
    return {"vectors": vectors, "wrong": wrong, "simulator": simulator()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", choices=[[], *CASES], help="all unless named")
    parser.add_argument("--vectors", type=int, default=10_000)
    parser.add_argument("--keep", type=Path, help="folder for the artefacts")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in options.networks or CASES:
            rows.append(run(name, options.vectors, options.keep or Path(scratch)))
            print(json.dumps(rows[-1], indent=1), flush=True)
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")
    return any(row["wrong"] for row in rows)


if __name__ == "__main__":
    sys.exit(main())
