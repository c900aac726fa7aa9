"""How long the model takes: ResNet-50 with mapping search, a sweep, and ZigZag on one layer in the same run.

python tests/bench/asic/speed.py [PYTHON_WITH_ZIGZAG] [--sweep N]

PYTHON_WITH_ZIGZAG is the interpreter of an environment with zigzag-dse==3.9.1 and six. Prints medians.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from reference import light_workload

from prunus.targets.asic.architecture_file import catalogue, catalogue_data
from prunus.targets.asic.model import estimate
from prunus.targets.asic.network import tiles_of
from prunus.targets.asic.problem import Problem
from prunus.targets.asic.search import Searcher
from prunus.targets.asic.sweep import Axis, explore, pareto
from prunus.targets.asic.tiles import Tiles

# ZigZag's own API on one 1x1 convolution, with its own tpu_like inputs; prints seconds, latency and energy.
_ZIGZAG = """
import logging, os, sys, time, onnx, numpy as np
from onnx import helper, numpy_helper, TensorProto
logging.disable(logging.CRITICAL)
import zigzag.inputs as inputs
from zigzag.api import get_hardware_performance_zigzag as run
c, h, w, k = map(int, sys.argv[1:5]); folder = sys.argv[5]
x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, c, h, w])
y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, k, h, w])
weight = numpy_helper.from_array(np.zeros((k, c, 1, 1), np.float32), "w")
node = helper.make_node("Conv", ["x", "w"], ["y"], kernel_shape=[1, 1], strides=[1, 1], pads=[0] * 4,
                        dilations=[1, 1], group=1, name="layer")
graph = helper.make_graph([node], "layer", [x], [y], [weight])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
onnx.save(onnx.shape_inference.infer_shapes(model), f"{folder}/m.onnx")
base = os.path.dirname(inputs.__file__) if inputs.__file__ else list(inputs.__path__)[0]
start = time.time()
energy, latency, _ = run(f"{folder}/m.onnx", base + "/hardware/tpu_like.yaml", base + "/mapping/tpu_like.yaml",
    opt="latency", dump_folder=folder, pickle_filename=f"{folder}/x.pickle", loma_show_progress_bar=False)
print(f"{time.time() - start:.3f} {latency} {energy}")
"""


def resnet50(repeats: int = 9) -> float:
    """Median seconds of one whole estimate; tiles are made anew every time."""
    work, chip, seconds = light_workload("resnet50"), catalogue()["npu-16nm"], []
    estimate(work, chip)
    for _ in range(repeats):
        tiles_of.cache_clear()
        start = time.perf_counter()
        estimate(work, chip)
        seconds.append(time.perf_counter() - start)
    print(
        f"ResNet-50, mapping search and costs: {statistics.median(seconds):.3f} s (bound 0.5), best {min(seconds):.3f}"
    )
    return statistics.median(seconds)


def zigzag(python: str, sizes: tuple[int, int, int, int] = (1024, 1, 1, 1000)) -> None:
    """ZigZag and our search on one layer, c x h x w -> k, 1x1."""
    c, h, w, k = sizes
    with tempfile.TemporaryDirectory() as folder:
        arguments = [python, "-c", _ZIGZAG, *map(str, sizes), folder]
        found = subprocess.run(arguments, capture_output=True, text=True, timeout=600, check=True)
    theirs, latency, _ = map(float, found.stdout.strip().splitlines()[-1].split())
    problem, chip, seconds = Problem(1, k, c, h, w, 1, 1, h, w), catalogue()["npu-16nm"], []
    for _ in range(9):
        start = time.perf_counter()
        Searcher(Tiles.of([problem]), chip).search()
        seconds.append(time.perf_counter() - start)
    ours = statistics.median(seconds)
    print(
        f"One layer {c}x{h}x{w} -> {k}: ZigZag {theirs:.2f} s ({latency:.0f} cycles), search {ours * 1e3:.2f} ms:",
        end="",
    )
    print(f" {theirs / ours:.0f}x (bound 100x)")


def sweep(count: int, jobs: int) -> None:
    """ResNet-50 on many architectures."""
    side = round(count**0.5)
    axes = [
        Axis("rows", tuple(float(round(v)) for v in np.linspace(8, 8 + 2 * (side - 1), side))),
        Axis("glb", tuple(np.linspace(64, 1024, side).round())),
    ]
    start = time.perf_counter()
    points = explore(light_workload("resnet50"), catalogue_data("npu-16nm"), axes, jobs)
    seconds = time.perf_counter() - start
    each = seconds / len(points)
    print(f"{len(points)} architectures x ResNet-50, {jobs} processes: {seconds:.1f} s, ", end="")
    print(f"{1000 * each:.0f} s per 1,000 (bound 120); {len(pareto(points))} on the Pareto front")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("python", nargs="?")
    parser.add_argument("--sweep", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    model = Path("/proc/cpuinfo").read_text().partition("model name\t: ")[2].partition("\n")[0]
    print(f"{model}, Python {platform.python_version()}, numpy {np.__version__}")
    resnet50()
    if options.python:
        zigzag(options.python)
    if options.sweep:
        sweep(options.sweep, options.jobs)


if __name__ == "__main__":
    main()
