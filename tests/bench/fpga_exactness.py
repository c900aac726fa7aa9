"""C simulation of hls4ml projects against the integer reference: networks x scales x pruning, every integer element.

    python tests/bench/fpga_exactness.py [--device zcu104] [--only NAME …] [--schemes pow2 fixed] [--json FILE]

Scales are powers of two, or arbitrary and one per channel (`fixed`: integer requantization); each network as it is and
with half of its weights cut by channels. Printed per run: equal elements, and what the compiler of the simulation took
(CPU seconds, peak resident memory). With --json an interrupted measurement goes on where it was.

Inputs are the networks' own scoring data, except: standard normal ones for the jet networks (their inputs are
standardised), digits also moved by one pixel, and wake-word recordings also delayed (there are only 45).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from real_tasks import load_task

from prunus.compiler import Data, Options, load
from prunus.compiler.integer.from_qdq import read_qdq
from prunus.compiler.integer.graph import Graph
from prunus.compiler.passes.base import Context
from prunus.compiler.pipeline import Pipeline
from prunus.compiler.target import Device
from prunus.compiler.verify import verify_artifact
from prunus.targets.catalog import resolve
from prunus.targets.fpga.hls import HlsTarget, csim

DIGITS = ROOT / "examples" / "digits"
MODELS = Path(os.environ.get("PRUNUS_MODELS", ROOT.parent / "shared" / "models"))
SCHEMES, SPARSITIES = ("pow2", "fixed"), (0.0, 0.5)
COMPILE_CPU_S, COMPILE_BYTES = 180.0, 1 << 30  # what compiling a simulation may take

Array = np.ndarray


@dataclass(frozen=True)
class Case:
    """A float model, samples to calibrate on and samples to compare on."""

    model: Path
    calibration: Array
    x: Array


def digits(samples: int) -> Case:
    """The digits CNN on the test images and their copies moved by one pixel."""
    with np.load(DIGITS / "digits.npz") as arrays:
        images = arrays["x"]
    x = np.concatenate([images, np.roll(images, 1, axis=3)])[:samples]
    return Case(DIGITS / "cnn.onnx", x[::4], x)


def jet(name: str) -> Callable[[int], Case]:
    """A jet tagging MLP on standard normal inputs."""

    def case(samples: int) -> Case:
        x = np.random.default_rng(0).standard_normal((samples + 256, 16)).astype(np.float32)
        return Case(MODELS / f"{name}_fp32.onnx", x[:256], x[256:])

    return case


def task(name: str) -> Callable[[int], Case]:
    """A network of MLPerf Tiny on its scoring samples; recordings are delayed where there are too few."""

    def case(samples: int) -> Case:
        found = load_task(name, MODELS)
        x = next(iter(found.feeds(load(found.model)).values()))
        delayed = [np.roll(x, step, axis=1) for step in range(-(-samples // len(x)))]
        return Case(found.model, found.calibration, np.concatenate(delayed)[:samples])

    return case


CASES: dict[str, tuple[Callable[[int], Case], int]] = {  # with the number of inputs
    "jet_mlp": (jet("jet_mlp3"), 1080),
    "jet_mlp_pruned70": (jet("jet_mlp3_pruned70"), 1080),
    "digits_cnn": (digits, 1080),
    "autoencoder": (task("autoencoder"), 400),
    "wake_word": (task("wake_word"), 100),
    "ds_cnn": (task("ds_cnn"), 100),
    "resnet8": (task("resnet8"), 100),
    "mobilenet_v1": (task("mobilenet_v1"), 20),
}


class MeasuredTarget(HlsTarget):
    """Compiles simulations in a process of its own, to know what that takes."""

    compile_cpu_s = 0.0
    compile_bytes = 0

    def compile_simulation(self, project: Path, library: Path) -> None:
        """As the target does; the children of a fresh process are the compiler's alone."""
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            self.compile_cpu_s, self.compile_bytes = pool.apply(compiled, (project, library))


def compiled(project: Path, library: Path) -> tuple[float, int]:
    """CPU seconds and peak resident bytes of compiling one simulation; to be called in a fresh process."""
    csim.compile_project(project, library, timeout_s=3600)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime, used.ru_maxrss << 10


def integer_graph(case: Case, device: Device, sparsity: float) -> Graph:
    """The network as the project's own passes prune and quantize it for the device."""
    model, formats = load(case.model), HlsTarget().formats(device)
    data = Data({str(model.graph.inputs[0].name): case.calibration})
    context = Context(formats=formats, options=Options(sparsity=sparsity), calibration=data)
    return read_qdq(Pipeline.default().run(model, context).model, formats)


def measure(name: str, device: Device, scheme: str, sparsity: float) -> dict[str, Any]:
    """Lowers one network, compiles its simulation and compares all samples."""
    source, samples = CASES[name]
    case = source(samples)
    device = replace(device, data={**device.data, "hls_scheme": scheme})
    graph, target = integer_graph(case, device, sparsity), MeasuredTarget()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        artifact = target.lower(graph, device, Path(folder))
        found = verify_artifact(target, artifact, graph, Data({graph.inputs[0]: case.x}))
    return {
        "model": name,
        "device": device.name,
        "scheme": scheme,
        "sparsity": sparsity,
        "inputs": found.samples,
        "exact_fraction": found.fraction,
        "elements": found.elements,
        "tensors": found.tensors,
        "worst": found.worst,
        "strategy": artifact.manifest["strategy"],
        "io_type": artifact.manifest["io_type"],
        "compile_cpu_s": round(target.compile_cpu_s, 1),
        "compile_bytes": target.compile_bytes,
        "wall_s": round(time.perf_counter() - start, 1),
    }


def holds(run: dict[str, Any]) -> bool:
    """Whether a run is exact and its compiler stayed within its bounds."""
    within = run["compile_cpu_s"] <= COMPILE_CPU_S and run["compile_bytes"] <= COMPILE_BYTES
    return run["exact_fraction"] == 1.0 and within


def line(run: dict[str, Any]) -> str:
    """One run, for people."""
    return (
        f"{run['model']:<17} {run['scheme']:<5} cut {run['sparsity']:.1f}  {run['io_type']:<11} {run['strategy']:<8}"
        f"  {run['inputs']:>4} inputs  equal {run['exact_fraction']:.4%} of {run['elements']:>11,}"
        f"  compile {run['compile_cpu_s']:5.1f} s CPU {run['compile_bytes'] / 1e6:4.0f} MB"
        f"  {'' if holds(run) else 'FAILED ' + run['worst']}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="zcu104")
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--schemes", nargs="+", choices=SCHEMES, default=list(SCHEMES))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    _, device = resolve(options.device)
    runs: list[dict[str, Any]] = []
    if options.json and options.json.is_file():
        runs = json.loads(options.json.read_text())
    known = {(run["model"], run["device"], run["scheme"], run["sparsity"]): run for run in runs}
    wanted = [(n, device.name, s, p) for n in options.only for s in options.schemes for p in SPARSITIES]
    for key in wanted:
        if key not in known:
            known[key] = measure(key[0], device, key[2], key[3])
            if options.json:
                options.json.write_text(json.dumps(list(known.values()), indent=1) + "\n")
        print(line(known[key]), flush=True)
    return 0 if all(holds(known[key]) for key in wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
