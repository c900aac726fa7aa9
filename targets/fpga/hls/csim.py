"""C simulation: compiles the project with the host's C++ compiler and runs samples through it.

It proves the arithmetic of the very sources that the vendor's tool synthesises, not that they fit the device.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ....compiler.errors import ToolError
from ....compiler.integer import graph as ir
from ...process import run
from . import layout, process
from .lower import Lowered
from .lowering import Value

COMPILE_TIMEOUT_S = 900.0
RUN_TIMEOUT_S = 1800.0
_FLAGS = ("-O2", "-std=c++17", "-fPIC", "-shared", "-w")
_AMD_TYPES = ("firmware/ap_types",)
_SIEMENS_TYPES = ("firmware/ac_types/include", "firmware/ac_math/include", "firmware/ac_simutils/include")


def compile_project(project: Path, library: Path, timeout_s: float = COMPILE_TIMEOUT_S) -> None:
    """Builds `library` from a written project. Weights stay files of the project, read at the first sample.

    Raises ToolError: `missing-compiler`, `csim-compile`.
    """
    compiler = shutil.which("g++")
    if compiler is None:
        raise ToolError(
            "There is no C++ compiler to simulate the project with.", code="missing-compiler", hint="Install g++."
        )
    name = library.stem
    sources = [f"firmware/{name}.cpp", f"{name}_bridge.cpp"]
    siemens = (project / _SIEMENS_TYPES[0]).is_dir()
    includes = [f"-I{folder}" for folder in ((*_SIEMENS_TYPES, "firmware/nnet_utils") if siemens else _AMD_TYPES)]
    argv = [compiler, *_FLAGS, *includes, '-DWEIGHTS_DIR="firmware/weights"', *sources, "-o", str(library.resolve())]
    run(argv, what="Compiling the C simulation", cwd=project, timeout_s=timeout_s, code="csim-compile")


def simulate(
    project: Path,
    library: Path,
    graph: ir.Graph,
    lowered: Lowered,
    inputs: Mapping[str, npt.NDArray[Any]],
    timeout_s: float = RUN_TIMEOUT_S,
) -> dict[str, npt.NDArray[Any]]:
    """Runs integer inputs [n, *shape] through a compiled project.

    Returns every integer tensor that a layer of the project ends in, by name of the integer graph, as integers of the
    tensor's own type. Raises ToolError: `csim-run` when it fails, `csim-off-grid` when a value is none of its type.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name in lowered.inputs:
        value = lowered.values[name]
        arrays[f"in.{name}"] = (
            layout.to_physical(inputs[name], value.order).astype(np.float64) * 2.0**-value.type.fraction
        )
    traced = {layer.name: layer for layer in lowered.layers if layer.traced}
    arrays |= {f"trace.{name}": np.array(np.prod(layer.shape)) for name, layer in traced.items()}
    arrays |= {f"out.{name}": np.array(lowered.values[name].order.size) for name in lowered.outputs}
    with tempfile.TemporaryDirectory(prefix="prunus-csim-") as scratch:
        source, destination = Path(scratch, "in.npz"), Path(scratch, "out.npz")
        np.savez(source, **arrays)  # type: ignore[arg-type]
        command = ["run", str(library.resolve()), str(source), str(destination)]
        process.worker(command, project, what="The C simulation", code="csim-run", timeout_s=timeout_s)
        with np.load(destination, allow_pickle=False) as data:
            found = {name: data[name] for name in data.files}
    reals = {name: found[value.layer] for name, value in lowered.values.items() if value.layer in traced}
    reals |= {name: found[name] for name in lowered.outputs}
    return {name: _integers(graph.tensors[name], lowered.values[name], real) for name, real in reals.items()}


def _integers(tensor: ir.Tensor, value: Value, real: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """[n, size] reals in physical order -> [n, *shape] integers of the tensor's type."""
    assert tensor.quant is not None  # only integer tensors have a value
    scaled = real * 2.0**value.type.fraction
    kept = ir.NUMPY_TYPE[tensor.quant.dtype](0).dtype
    result = np.rint(scaled)
    limits = np.iinfo(kept)
    if not np.array_equal(result, scaled) or result.min() < limits.min or result.max() > limits.max:
        raise ToolError(
            "The C simulation gave a value that the tensor's type does not have.",
            code="csim-off-grid",
            where=tensor.name,
        )
    return layout.to_logical(result.astype(kept), value.order, tensor.shape)
