"""Test vectors for the vendor's C and RTL simulation: random integer inputs and what the reference makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ....compiler.integer import graph as ir
from ....compiler.integer import ops
from . import layout
from .lower import Lowered

_MAX_ELEMENTS, _MAX_SAMPLES = 1 << 16, 16
INPUTS, OUTPUTS = "tb_input_features.dat", "tb_output_predictions.dat"  # where hls4ml's test bench looks


def write_vectors(folder: Path, graph: ir.Graph, lowered: Lowered) -> None:
    """Writes INPUTS and OUTPUTS: one sample per line, all inputs (outputs) after one another in physical order, as
    real numbers. Inputs are uniform over their types, from a fixed seed."""
    rng = np.random.default_rng(0)
    largest = max(graph.tensors[name].size for name in lowered.inputs)
    count = int(np.clip(_MAX_ELEMENTS // largest, 1, _MAX_SAMPLES))
    values: dict[str, npt.NDArray[Any]] = {}
    for name in lowered.inputs:
        quant = graph.quant(name)
        shape = (count, *graph.tensors[name].shape)
        values[name] = rng.integers(quant.qmin, quant.qmax, shape, endpoint=True).astype(ir.NUMPY_TYPE[quant.dtype])
    on_device = {finding.layer for finding in lowered.findings if finding.placement == "integer"}
    for op in graph.ops:
        if op.name in on_device:
            values |= zip(op.outputs, ops.evaluate(graph, op, tuple(values[name] for name in op.inputs)), strict=True)
    folder.mkdir(exist_ok=True)
    for file, names in ((INPUTS, lowered.inputs), (OUTPUTS, lowered.outputs)):
        (folder / file).write_text(_lines(lowered, names, values), encoding="ascii")


def _lines(lowered: Lowered, names: tuple[str, ...], values: dict[str, npt.NDArray[Any]]) -> str:
    columns = []
    for name in names:
        value = lowered.values[name]
        columns.append(np.ldexp(layout.to_physical(values[name], value.order).astype(np.float64), -value.type.fraction))
    return "".join(" ".join(f"{number:.17g}" for number in row) + "\n" for row in np.concatenate(columns, axis=1))
