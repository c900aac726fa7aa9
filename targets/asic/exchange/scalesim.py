"""SCALE-Sim's files: architecture (.cfg) and layers (topology .csv), read and written.

SCALE-Sim has no padding and rounds the output size up: `ceil((H - R + s) / s)`. Its layers are therefore written with
exactly the rows and columns that the real layer touches, `(P - 1) s + R`, on which both rules agree.
"""

from __future__ import annotations

import configparser
import csv
import io
from collections.abc import Sequence
from typing import Any

from ....compiler.errors import UsageError
from ....compiler.model.workload import Layer, Workload
from ..architecture import Architecture, Systolic
from ..architecture_file import ArchitectureError
from ..problem import PRODUCTS, Problem, problem_of

HEADER = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"
_NOT_IN_FILE = "not in SCALE-Sim's file: assumption of the importer"


def output_size(extent: int, kernel: int, stride: int) -> int:
    """SCALE-Sim's own output size: it rounds up where the window no longer fits."""
    return -(-(extent - kernel + stride) // stride)


def architecture_data(text: str, where: str, clock: str = "1 GHz") -> dict[str, Any]:
    """A .cfg as the data of an architecture file: three buffers, one per operand. Raises ArchitectureError."""
    parser = configparser.ConfigParser()
    try:
        parser.read_string(text)
        presets = parser["architecture_presets"]
        rows, columns = int(presets["ArrayHeight"]), int(presets["ArrayWidth"])
        sizes = [int(presets[f"{name}SramSzkB"]) for name in ("Ifmap", "Filter", "Ofmap")]
        flow = presets["Dataflow"].strip().lower()
        bandwidth = presets.get("Bandwidth", "10").split(",")[0].strip()
        words = int(bandwidth)
    except (configparser.Error, KeyError, ValueError) as error:
        raise ArchitectureError(
            "The SCALE-Sim configuration cannot be read.", code="scalesim-cfg", where=where, why=str(error)
        ) from error
    buffers = [
        {"class": "sram", "name": name, "size": f"{size} KiB", "keeps": [keeps]}
        for name, size, keeps in zip(("ifmap", "filter", "ofmap"), sizes, ("inputs", "weights", "outputs"), strict=True)
    ]
    return {
        "architecture": {
            "version": 1,
            "name": "scalesim",
            "title": f"SCALE-Sim {rows}x{columns} {flow}",
            "host_vector": True,
            "on_chip_activations": False,
            "technology": {"node": "45 nm", "clock": {"value": clock, "source": _NOT_IN_FILE}},
            "nodes": [
                {"class": "dram", "bandwidth": f"{words} B/cycle"},
                *buffers,
                {"class": "systolic", "rows": rows, "columns": columns, "dataflow": flow, "pe": {}},
            ],
        }
    }


def write_cfg(architecture: Architecture) -> str:
    """An architecture as a .cfg. Raises UsageError when the array is not systolic or chooses its dataflow by layer."""
    array = architecture.array
    if not isinstance(array, Systolic) or array.dataflow == "best":
        raise UsageError(
            f"SCALE-Sim cannot describe '{architecture.name}'.",
            code="scalesim-array",
            why="It knows one systolic array with one dataflow.",
            hint="Export an architecture of class systolic with dataflow ws, os or is.",
        )
    size = {
        operand: sum(int(b.size.value) // 1024 // len(b.keeps) for b in architecture.buffers if operand in b.keeps)
        for operand in ("inputs", "weights", "outputs")
    }
    bandwidth = max(1, round(architecture.per_cycle(architecture.dram.bandwidth)))
    return f"""[general]
run_name = {architecture.name}

[architecture_presets]
ArrayHeight: {array.rows}
ArrayWidth: {array.columns}
IfmapSramSzkB: {max(size["inputs"], 1)}
FilterSramSzkB: {max(size["weights"], 1)}
OfmapSramSzkB: {max(size["outputs"], 1)}
IfmapOffset: 0
FilterOffset: 10000000
OfmapOffset: 20000000
Dataflow : {array.dataflow}
Bandwidth : {bandwidth}
ReadRequestBuffer: 512
WriteRequestBuffer: 512

[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: {bandwidth}
IfmapSRAMBankNum: 1
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: {bandwidth}
FilterSRAMBankNum: 1
FilterSRAMBankPort: 2

[sparsity]
SparsitySupport : false
SparseRep : ellpack_block
OptimizedMapping : false
BlockSize : 8
RandomNumberGeneratorSeed : 40

[run_presets]
InterfaceBandwidth: CALC
UseRamulatorTrace: False
"""


def write_topology(work: Workload) -> str:
    """The products of a network as topology .csv. A grouped layer is one group: SCALE-Sim has none."""
    lines = [HEADER]
    for layer in work.layers:
        if layer.op in PRODUCTS:
            lines.append(topology_row(layer.name, problem_of(layer)))
    return "\n".join(lines) + "\n"


def topology_row(name: str, problem: Problem) -> str:
    """One row; the input is what the window touches, so that no output is made up by rounding. The stride is that of
    the rows: SCALE-Sim has one."""
    height = (problem.p - 1) * problem.stride_h + problem.r
    width = (problem.q - 1) * problem.stride_h + problem.s
    sizes = (height, width, problem.r, problem.s, problem.c, problem.k, problem.stride_h)
    plain = "".join(char if char.isalnum() or char in "._-" else "_" for char in name)
    return f"{plain}, {', '.join(map(str, sizes))},"


def write_layout(names: Sequence[str]) -> str:
    """The layout .csv that SCALE-Sim 3 insists on; its values matter only with custom layouts."""
    rows = [f"{name}, 2, 2, 1, 1, 16, 4, 0, 1, 2, 4, 5, 3, 3, 2, 1, 0, 4, 5, 6, 7," for name in names]
    return "\n".join(["Layer name," + "x," * 20, *rows]) + "\n"


def read_topology(text: str, where: str, bits: int = 8, round_up: bool = False) -> Workload:
    """Layers of a topology .csv. `round_up` keeps SCALE-Sim's output sizes. Raises UsageError with the line."""
    layers = []
    for number, row in enumerate(list(csv.reader(io.StringIO(text)))[1:], 2):
        cells = [cell.strip() for cell in row if cell.strip()]
        if not cells:
            continue
        try:
            h, w, r, s, c, k, stride = (int(cell) for cell in cells[1:8])
            if min(h, w, r, s, c, k, stride) < 1 or r > h or s > w:
                raise ValueError("sizes must be positive and the window must fit")
        except ValueError as error:
            raise UsageError(
                "The topology cannot be read.",
                code="scalesim-topology",
                where=f"{where}, line {number}",
                why=str(error),
                hint=f"Columns: {HEADER}",
            ) from error
        if round_up:
            p, q = output_size(h, r, stride), output_size(w, s, stride)
        else:
            p, q = (h - r) // stride + 1, (w - s) // stride + 1
        layers.append(_layer(cells[0], (h, w, r, s, c, k, stride), (p, q), bits))
    return Workload(tuple(layers), where)


def _layer(name: str, sizes: tuple[int, ...], out: tuple[int, int], bits: int) -> Layer:
    h, w, r, s, c, k, stride = sizes
    return Layer(
        name,
        "conv",
        (c, h, w),
        (k, *out),
        macs=r * s * c * k * out[0] * out[1],
        in_channels=c,
        out_channels=k,
        kernel=(r, s),
        strides=(stride, stride),
        weights=r * s * c * k,
        weight_bits=bits,
        input_bits=bits,
        output_bits=bits,
        input_elements=c * h * w,
        output_elements=k * out[0] * out[1],
    )
