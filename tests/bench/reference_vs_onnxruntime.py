"""The integer reference beside onnxruntime on real networks: python tests/bench/reference_vs_onnxruntime.py [SAMPLES]

Per network, activation type and scheme: the worst layer when each is fed onnxruntime's own integers (share of equal
elements, share within one step, largest difference), the two end to end, and the time of both. The reference is numpy
on one core and not made to be fast; its time is there so that nobody is surprised.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))

import numpy as np
import onnxruntime as ort
from real_tasks import quantized, task_names

from prunus.compiler.analysis.witness import witness
from prunus.compiler.executor import Session
from prunus.compiler.integer import ops
from prunus.compiler.integer.check import check_graph
from prunus.compiler.integer.from_qdq import read_qdq
from prunus.compiler.target import Formats

REPEATS = 5
FORMATS = {
    "u8 f32": Formats(),
    "s8 f32": Formats(activation="s8", unsigned_after_relu=False),
    "u8 fixed(31)": Formats("fixed"),
    "u8 fixed(18)": Formats("fixed", requant_bits=18),
    "s8 pow2": Formats("pow2", activation="s8", zero_point="zero"),
}


def cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())


def median_ms(function: Callable[[], object]) -> tuple[float, float]:
    """(median, spread) in milliseconds of a few runs after one to warm up."""
    function()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times), max(times) - min(times)


def main() -> None:
    samples = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    folder = Path(os.environ.get("PRUNUS_MODELS", ROOT.parent / "shared" / "models"))
    if not folder.is_dir():
        sys.exit(f"no real models in {folder} (set PRUNUS_MODELS to their folder)")
    print(f"{cpu()}; numpy {np.__version__}, onnxruntime {ort.__version__} (all optimisations, 1 thread)")
    print(f"{samples} samples at most; times: median of {REPEATS} runs of 16 samples (spread), ms per sample")
    print(f"{'network':8} {'format':13} {'equal':>10} {'<= 1':>10} {'max':>4} {'outputs':>9} {'decisions':>9}", end="")
    print(f" {'reference':>16} {'onnxruntime':>16}")
    for name in task_names():
        for label, formats in FORMATS.items():
            model, data = quantized(name, folder, formats)
            graph = read_qdq(model, formats)
            check_graph(graph)
            found = witness(model, graph, data.first(samples))
            feeds = data.first(16).inputs
            session = Session(model, threads=1)
            times = []
            for run in (lambda g=graph, f=feeds: ops.run(g, f), lambda s=session, f=feeds: s.run(f)):
                median, spread = median_ms(run)
                times.append(f"{median / 16:8.3f} ({spread / 16:5.3f})")
            row = f"{found.worst_equal:10.5%} {found.worst_within_one:10.5%} {found.max_difference:4}"
            print(f"{name:8} {label:13} {row} {found.equal_outputs:9.4%} {found.agreement:9.3%} {times[0]} {times[1]}")


if __name__ == "__main__":
    main()
