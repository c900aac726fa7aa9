"""The nine light topologies of the onnx wheel: pruned at 50 % with the proof, and the time of every pass.

python tests/bench/light_models.py [NAME ...]
"""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path

import onnx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

from light import LIGHT_NAMES, random_light_model

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.model.load import load_proto
from prunus.compiler.model.workload import workload
from prunus.compiler.passes.base import Context, Options
from prunus.compiler.pipeline import Pipeline


def measure(name: str) -> None:
    proto = random_light_model(name, seed=0)
    start = time.perf_counter()
    model = load_proto(proto)
    loaded = time.perf_counter() - start
    context = Context(options=Options(sparsity=0.5, criterion="random"))
    result = Pipeline.default(last="prune_channels").run(model, context)
    passes = sum(record.seconds for record in result.records)
    start = time.perf_counter()
    channel_groups(result.float_model)
    analysis = time.perf_counter() - start
    proof = next(
        n.text for r in result.records if r.name == "prune_channels" for n in r.notes if n.code == "cut-proven"
    )
    before, after = workload(model).macs, workload(result.model).macs
    print(f"{name:<16} load {loaded:5.1f} s  passes {passes:5.1f} s  analysis {analysis:5.2f} s  ", end="")
    print(f"MACs {before / 1e9:6.2f} G -> {after / 1e9:6.2f} G ({before / after:.2f}x)  {proof}", flush=True)


def main() -> None:
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, onnx {onnx.__version__}")
    for name in sys.argv[1:] or LIGHT_NAMES:
        measure(name)


if __name__ == "__main__":
    main()
