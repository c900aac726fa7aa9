"""The folder that is handed over: the library, a loader, test vectors, and what they are.

model.so      the model: `main` (outputs) and `trace` (every integer tensor), constants and kernels inside
run.py        loads it and checks it on the vectors
vectors.npz   in.NAME and out.NAME: inputs and the outputs of the integer reference
bundle.json   names, shapes, types, tool versions, digests of the files above
README.txt
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...compiler.errors import UsageError
from ...compiler.integer import graph as ir
from ...compiler.integer import ops
from ...compiler.output import as_json, write_text
from .build import Toolchain
from .lower import MAIN, TRACE, element_type

Array = npt.NDArray[Any]
SCHEMA = "prunus.tvm-bundle/1"
LIBRARY, LOADER, VECTORS, DESCRIPTION, README = "model.so", "run.py", "vectors.npz", "bundle.json", "README.txt"
VECTOR_SAMPLES = 2
LOADER_TEMPLATE = Path(__file__).parent / "runtime" / "run.py"

README_TEXT = """\
An integer neural network as a library for the TVM runtime.

  python run.py          runs model.so on vectors.npz and compares with the expected outputs

It needs Python with numpy, apache-tvm-ffi=={ffi} and libtvm_runtime.so of apache-tvm {tvm}
(variable TVM_RUNTIME: the path of that file). TVM's compiler is not needed.
model.so was compiled for `-march={march}` by {compiler}.

Inputs and outputs (n is the batch, which is free):
{values}
"""


def sample_inputs(graph: ir.Graph, count: int, seed: int = 0) -> dict[str, Array]:
    """Seeded random inputs that cover the range of the operator which quantizes them."""
    rng = np.random.default_rng(seed)
    return {name: _sample(graph, graph.tensors[name], count, rng) for name in graph.inputs}


def _sample(graph: ir.Graph, tensor: ir.Tensor, count: int, rng: np.random.Generator) -> Array:
    shape = (count, *tensor.shape)
    quantize = next((op for op in graph.consumers.get(tensor.name, ()) if isinstance(op, ir.Quantize)), None)
    if tensor.quant is not None:
        return rng.integers(tensor.quant.qmin, tensor.quant.qmax + 1, shape).astype(element_type(tensor))
    if np.issubdtype(np.dtype(tensor.dtype), np.integer):
        info = np.iinfo(tensor.dtype)
        return rng.integers(max(info.min, -128), min(info.max, 255) + 1, shape).astype(tensor.dtype)
    if quantize is None:
        return rng.normal(size=shape).astype(tensor.dtype)
    out = graph.quant(quantize.output)
    low, high = ((q - quantize.zero_point) * quantize.scale for q in (out.qmin, out.qmax))
    return rng.uniform(low, high, shape).astype(tensor.dtype)


def _value(tensor: ir.Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": element_type(tensor), "shape": ["n", *tensor.shape]}


def write_bundle(out: Path, graph: ir.Graph, toolchain: Toolchain) -> dict[str, Any]:
    """Completes the folder around `model.so`; returns the content of bundle.json."""
    shutil.copyfile(LOADER_TEMPLATE, out / LOADER)
    inputs = sample_inputs(graph, VECTOR_SAMPLES)
    expected = ops.run(graph, inputs)
    arrays = {f"in.{name}": array for name, array in inputs.items()}
    arrays |= {f"out.{name}": expected[name] for name in graph.outputs}
    np.savez(out / VECTORS, allow_pickle=False, **arrays)
    description: dict[str, Any] = {
        "schema": SCHEMA,
        "inputs": [_value(graph.tensors[name]) for name in graph.inputs],
        "outputs": [_value(graph.tensors[name]) for name in graph.outputs],
        "entries": {MAIN: list(graph.outputs), TRACE: list(graph.integer_tensors())},
        "compiler": {"version": toolchain.version, "flags": list(toolchain.flags)},
        "packages": {name: version(name) for name in ("apache-tvm", "apache-tvm-ffi")},
        "sha256": {name: digest(out / name) for name in (LIBRARY, LOADER, VECTORS)},
    }
    write_text(out / DESCRIPTION, as_json(description))
    write_text(out / README, _readme(description, toolchain))
    return description


def _readme(description: Mapping[str, Any], toolchain: Toolchain) -> str:
    values = [
        f"  {kind:6} {value['name']}  {value['dtype']}  [{', '.join(map(str, value['shape']))}]"
        for kind in ("input", "output")
        for value in description[f"{kind}s"]
    ]
    packages = description["packages"]
    return README_TEXT.format(
        ffi=packages["apache-tvm-ffi"],
        tvm=packages["apache-tvm"],
        march=toolchain.march,
        compiler=toolchain.version,
        values="\n".join(values),
    )


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def refuse_changed(root: Path, description: Mapping[str, Any]) -> None:
    """Raises UsageError where the library or its loader is not the file that the lowering wrote."""
    for name in (LIBRARY, LOADER):
        if not (root / name).is_file() or digest(root / name) != description["sha256"][name]:
            raise UsageError(
                "The artefact has changed since it was built.",
                code="artifact-changed",
                where=str(root / name),
                hint="Compile the model again.",
            )
