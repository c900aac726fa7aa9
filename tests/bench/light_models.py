"""The nine light topologies of the onnx wheel: cut, proven and timed, with onnxsim's own pruning beside.

    python tests/bench/light_models.py                    all nine: 30, 50 and 70 % of the channels, with proof
    python tests/bench/light_models.py squeezenet vgg19   some of them
    python tests/bench/light_models.py --scaling          the analysis of a graph of 1,000 operators
    python tests/bench/light_models.py --compile resnet50 half of the channels, 64 samples, int8, for this CPU

Weights are random and seeded. onnxsim (not a dependency: `pip install onnxsim`) gets the very same model with batch
normalisation folded; what it gives is checked with onnx and run in onnxruntime.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "support"))

from light import LIGHT_NAMES, random_light_model
from pruning_nets import random_removal
from zoo_blocks import Net

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.data import Data
from prunus.compiler.driver import Request, compile
from prunus.compiler.errors import PrunusError
from prunus.compiler.executor import RUNTIME_ERRORS, Session
from prunus.compiler.model.load import load_proto
from prunus.compiler.model.model import Model
from prunus.compiler.passes.base import Context, Options
from prunus.compiler.pipeline import Pipeline
from prunus.compiler.pruning.cut import cut
from prunus.compiler.pruning.prove import prove, random_inputs
from prunus.compiler.pruning.select import select

SHARES = (0.3, 0.5, 0.7)
SAMPLES = 64  # of the reconstruction and the calibration
OPERATORS = 1000


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """(result, seconds)"""
    start = time.perf_counter()
    result = work()
    return result, time.perf_counter() - start


def measure(name: str) -> None:
    """One model: every share with its proof, the largest cut, and onnxsim."""
    prepared, seconds = timed(lambda: prepare(name))
    channels, analysis = timed(lambda: channel_groups(prepared))
    whole = channels.macs()
    print(f"{name}: {whole / 1e9:.2f} G MACs, prepared in {seconds:.1f} s, analysed in {analysis:.3f} s", flush=True)
    for share in SHARES:
        removed = random_removal(channels, share)
        result, seconds = timed(lambda: cut(prepared, channels, removed))  # noqa: B023
        onnx.checker.check_model(result.to_proto())
        proof, proving = timed(lambda: prove(prepared, channels, removed, result))  # noqa: B023
        print(
            f"  {100 * share:.0f} % of the channels: {100 * channels.macs(removed) / whole:5.1f} % of the MACs left, "
            f"largest relative difference {proof.max_relative_error:.0e} on {proof.samples} inputs "
            f"(cut {seconds:.1f} s, proof {proving:.1f} s)",
            flush=True,
        )
    free = channels.keep_all()
    for group in channels.prunable:
        free[group.units[1:]] = True
    reached = (whole - select(prepared, channels, 0.9999, "l2").macs_after) / (whole - channels.macs(free))
    print(f"  at most: {100 * reached:.1f} % of the MACs of free channels", flush=True)
    print(f"  onnxsim at 50 %: {beside(prepared)}", flush=True)


def prepare(name: str) -> Model:
    """The model as channel pruning gets it."""
    return Pipeline.default(last="remove_dead_channels").run(load_proto(random_light_model(name)), Context()).model


def beside(model: Model) -> str:
    """What onnxsim's structured pruning leaves of the model, or why it leaves none."""
    try:
        import onnxsim
    except ImportError:
        return "not installed"
    pruned, seconds = timed(lambda: onnxsim.apply_structured_pruning(model.to_proto(), sparsity=0.5))
    try:
        onnx.checker.check_model(pruned)
        Session(pruned).run(random_inputs(model, 1, 0))
        left = channel_groups(load_proto(pruned)).macs() / channel_groups(model).macs()
    except (PrunusError, onnx.checker.ValidationError, *RUNTIME_ERRORS) as failure:
        return f"invalid ({str(failure)[:100]!r}), {seconds:.1f} s"
    return f"{100 * left:5.1f} % of the MACs left, {seconds:.1f} s"


def scaling() -> None:
    """The analysis of a residual network of 1,000 operators and 256 channels on its stream."""
    net = Net((3, 16, 16))
    x = net.conv(net.input, 256)
    while len(net.nodes) < OPERATORS - 3:
        x = net.bottleneck(x, 64)
    model = net.model(net.head(x))
    seconds, start = sorted(timed(lambda: channel_groups(model))[1] for _ in range(5)), time.process_time()
    channels = channel_groups(model)
    of_processor = time.process_time() - start
    labels = sum(len(units) for units in channels.units.values())
    print(
        f"{len(list(model.graph))} operators, {labels} positions, {len(channels.groups)} groups: analysed in "
        f"{seconds[2]:.3f} s (median of five, {seconds[0]:.3f} to {seconds[-1]:.3f}; {of_processor:.3f} s of processor)"
    )


def compiled(name: str, target: str, criterion: str) -> None:
    """Half of the channels of every layer, reconstruction, int8, an artefact, verified; and the time of every pass."""
    shape = (SAMPLES, 3, 224, 224)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.onnx"
        proto = random_light_model(name)
        onnx.save(proto, path)
        images = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
        data = Data({load_proto(proto).graph.inputs[0].name or "": images})
        # half of the channels of a layer and of the one before it: a quarter of its MACs is left
        options = Options(sparsity=0.75, scope="layer", criterion=criterion)
        steps: list[str] = []

        def progress(what: str, fraction: float) -> None:
            steps.append(what)
            print(f"\r{100 * fraction:3.0f} % {what:<60}", end="", flush=True)

        request = Request(path, target, Path(folder) / "out", calibration=data, options=options)
        done, seconds = timed(lambda: compile(request, progress))
    print(f"\n{name} for {target}, criterion {criterion}: {seconds:.0f} s, {len(steps)} reports of progress")
    for record in done.report.model_dump()["passes"]:
        print(f"  {record['name']:<22} {record['seconds']:6.1f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="of " + ", ".join(LIGHT_NAMES))
    parser.add_argument("--scaling", action="store_true", help="time the analysis of a large graph instead")
    parser.add_argument("--compile", action="store_true", help="compress and compile instead")
    parser.add_argument("--target", default="ort:host-cpu")
    parser.add_argument("--criterion", default="obs")
    asked = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, onnx {onnx.__version__}")
    if asked.scaling:
        scaling()
    for name in () if asked.scaling else asked.names or LIGHT_NAMES:
        if asked.compile:
            compiled(name, asked.target, asked.criterion)
        else:
            measure(name)


if __name__ == "__main__":
    main()
