"""SCALE-Sim 3.0.0 against the closed forms: cycles of WS, OS and IS on layers of ResNet-50, MobileNetV2 and AlexNet.

python tests/bench/asic/scalesim_parity.py PYTHON [LAYERS]

PYTHON is the interpreter of an environment with scalesim==3.0.0 and numpy 1.26; SCALE-Sim's own array simulation runs
there on LAYERS layers (default 6, small ones first: its time grows with folds). All other layers are compared with the
figures of the reference file. Exit status 1 on any difference. Without PYTHON only the reference file is used.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from reference import figures, light_workload, mobilenet_v2

from prunus.targets.asic.architecture_file import catalogue_data, parse_architecture
from prunus.targets.asic.exchange import scalesim
from prunus.targets.asic.problem import PRODUCTS, Problem, problem_of
from prunus.targets.asic.systolic import Dataflow, Product, simulate

FLOWS: tuple[Dataflow, ...] = ("ws", "os", "is")

# SCALE-Sim's simulation of the array alone; prints cycles (rows of the demand matrix) per dataflow as JSON.
_RUNNER = """
import contextlib, io, json, sys
import numpy as np
from scalesim.scale_config import scale_config
from scalesim.topology_utils import topologies
from scalesim.layout_utils import layouts
from scalesim.compute.operand_matrix import operand_matrix
from scalesim.compute.systolic_compute_os import systolic_compute_os
from scalesim.compute.systolic_compute_ws import systolic_compute_ws
from scalesim.compute.systolic_compute_is import systolic_compute_is
kind = {"os": systolic_compute_os, "ws": systolic_compute_ws, "is": systolic_compute_is}
folder, flow, index = sys.argv[1], sys.argv[2], int(sys.argv[3])
with contextlib.redirect_stdout(io.StringIO()):
    config = scale_config(); config.read_conf_file(f"{folder}/{flow}.cfg")
    layers = topologies(); layers.load_arrays(f"{folder}/topology.csv"); layers.set_spatio_temporal_params()
    layout = layouts(); layout.load_arrays(layoutfile=f"{folder}/layout.csv")
    operands = operand_matrix()
    operands.set_params(layer_id=index, config_obj=config, topoutil_obj=layers, layoututil_obj=layout)
    _, a = operands.get_ifmap_matrix(); _, b = operands.get_filter_matrix(); _, c = operands.get_ofmap_matrix()
    array = kind[flow]()
    extra = {}
    if flow == "ws":
        extra = dict(sparsity_ratio_N=1, sparsity_ratio_M=1, sparsity_filter_array=operands.sparse_filter_array,
                     ifmap_op_mat_original=operands.ifmap_addr_matrix_original)
    array.set_params(config_obj=config, ifmap_op_mat=a, filter_op_mat=b, ofmap_op_mat=c, **extra)
    demand = array.get_demand_matrices()[0]
print(json.dumps(int(demand.shape[0])))
"""


def cycles(problem: Problem, rows: int, columns: int, flow: Dataflow) -> int:
    """The closed form for one group: SCALE-Sim has no groups."""
    product = Product(problem.p * problem.q, problem.c * problem.r * problem.s, problem.k)
    return simulate(product, rows, columns, flow).cycles


def run_scalesim(python: str, problems: list[Problem], rows: int, columns: int) -> int:
    """Runs SCALE-Sim on every problem and dataflow; returns the number of differences."""
    names = [f"layer{index}" for index in range(len(problems))]
    different = 0
    with tempfile.TemporaryDirectory() as folder:
        topology = [scalesim.HEADER, *(scalesim.topology_row(n, p) for n, p in zip(names, problems, strict=True))]
        (Path(folder) / "topology.csv").write_text("\n".join(topology) + "\n")
        (Path(folder) / "layout.csv").write_text(scalesim.write_layout(names))
        for flow in FLOWS:
            data = catalogue_data("npu-16nm")
            array = next(node for node in data["architecture"]["nodes"] if node["class"] == "systolic")
            array |= {"rows": rows, "columns": columns, "dataflow": flow}
            (Path(folder) / f"{flow}.cfg").write_text(scalesim.write_cfg(parse_architecture(data, "npu")))
        for index, problem in enumerate(problems):
            for flow in FLOWS:
                start = time.perf_counter()
                command = [python, "-c", _RUNNER, folder, flow, str(index)]
                found = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
                theirs, ours = json.loads(found.stdout), cycles(problem, rows, columns, flow)
                different += theirs != ours
                seconds = time.perf_counter() - start
                shape = (
                    f"{problem.c}x{problem.h}x{problem.w} -> {problem.k}, {problem.r}x{problem.s}/{problem.stride_h}"
                )
                print(f"  {shape:34} {flow}  SCALE-Sim {theirs:9d}  ours {ours:9d}  {seconds:5.1f} s", flush=True)
    return different


def networks() -> list[list[Problem]]:
    """Every conv and fc of ResNet-50, MobileNetV2 and AlexNet."""
    light = [light_workload(name).layers for name in ("resnet50", "alexnet")]
    first, last = ([problem_of(layer) for layer in layers if layer.op in PRODUCTS] for layers in light)
    return [first, mobilenet_v2(), last]


def smallest(count: int, rows: int, columns: int) -> list[Problem]:
    """The unique layers of the three networks that SCALE-Sim simulates fastest, every network present."""
    chosen: list[Problem] = []
    per_network = []
    for problems in networks():
        unique = list(dict.fromkeys(problems))
        per_network.append(sorted(unique, key=lambda each: sum(cycles(each, rows, columns, flow) for flow in FLOWS)))
    while len(chosen) < count and any(per_network):
        for problems in per_network:
            if problems and len(chosen) < count:
                chosen.append(problems.pop(0))
    return chosen


def main() -> int:
    different = 0
    entries = [entry for entry in figures()["scalesim"]["entries"] if "rows" in entry]
    for entry in entries:
        m, k, n = entry["MKN"]
        if entry["layer"] == "rn50_conv1":  # SCALE-Sim's own output size
            side = scalesim.output_size(224 + 2 * 3, 7, 2)
            m = side * side
        different += simulate(Product(m, k, n), *entry["array"], entry["dataflow"]).cycles != entry["rows"]
    print(f"Reference file: {len(entries)} runs of SCALE-Sim {figures()['scalesim']['version']}, {different} differ")
    if len(sys.argv) > 1:
        count = int(sys.argv[2]) if len(sys.argv) > 2 else 6
        print(f"SCALE-Sim itself on {count} layers, 32x32:")
        different += run_scalesim(sys.argv[1], smallest(count, 32, 32), 32, 32)
    print(f"{different} differences")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
