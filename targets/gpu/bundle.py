"""The folder that is handed over: two forms of the network, test vectors, and how to run each.

model_int8.onnx    the int8 network as standard QDQ ONNX: for TensorRT, onnxruntime's GPU providers, OpenVINO
model_float.so     the float network for TVM's runtime, its GPU kernels inside
kernels.cu|.cl     the source of those kernels, to read
run_tvm.py         runs model_float.so on the device and compares with the vectors
run_onnx.py        runs model_int8.onnx in onnxruntime, on a GPU where it finds one, and compares with the vectors
vectors.npz        in.NAME, float.NAME (of the float network), int8.NAME (of the integer reference)
bundle.json        names, shapes, types, status, tool versions, digests of the files above
README.txt
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...compiler.executor import Session
from ...compiler.integer import graph as ir
from ...compiler.integer import ops
from ...compiler.model.model import Model
from ...compiler.output import as_json, write_text
from ..bundle import digest, sample_inputs, value_description
from .library import SUFFIX, Settings

Array = npt.NDArray[Any]
SCHEMA = "prunus.gpu-bundle/1"
MODEL, LIBRARY, VECTORS, DESCRIPTION, README = (
    "model_int8.onnx", "model_float.so", "vectors.npz", "bundle.json", "README.txt"
)  # fmt: skip
TVM_LOADER, ONNX_LOADER = "run_tvm.py", "run_onnx.py"
RUNTIME = Path(__file__).parent / "runtime"
EMITTED = "emitted, not executed"

README_TEXT = """\
A neural network for {title}, in two forms. Status: {status}.

The int8 network, {model}:
  {int8_command}
  python {onnx_loader}        runs it in onnxruntime, on a GPU where one is found

The float network, {library} ({float_type}, batch {batch}; its kernels can be read in {source}):
  python {tvm_loader}         runs it on the device and compares with vectors.npz

{onnx_loader} needs onnxruntime-gpu (or onnxruntime-openvino; plain onnxruntime runs it on the CPU) and numpy;
{tvm_loader} needs numpy, apache-tvm=={tvm}, apache-tvm-ffi=={ffi}, and {driver}.

Inputs and outputs (n is the batch; the float network's is {batch}):
{values}
"""
INT8_COMMANDS = {
    "cuda": "trtexec --onnx={model} --int8 --fp16 --sparsity=enable --saveEngine=model.plan",
    "opencl": "benchmark_app -m {model} -d GPU            (OpenVINO)",
}
DRIVERS = {
    "cuda": "a CUDA 13 driver with nvcc or the package cuda-bindings",
    "opencl": "a build of TVM with its OpenCL runtime (USE_OPENCL=ON)",
}


def source_name(settings: Settings) -> str:
    """The file with the kernels' source."""
    return f"kernels{SUFFIX[settings.api]}"


def write_vectors(path: Path, graph: ir.Graph, unquantized: Model, batch: int) -> dict[str, Array]:
    """Seeded inputs, the float network's outputs in onnxruntime, and those of the integer reference."""
    inputs = sample_inputs(graph, batch)
    session = Session(unquantized)
    found = session.run(dict(zip(session.inputs, inputs.values(), strict=True)))
    expected = ops.run(graph, inputs)
    arrays = {f"in.{name}": array for name, array in inputs.items()}
    arrays |= {f"float.{own}": found[name] for own, name in zip(graph.outputs, session.outputs, strict=True)}
    arrays |= {f"int8.{name}": expected[name] for name in graph.outputs}
    np.savez(path, allow_pickle=False, **arrays)
    return arrays


def write_bundle(
    out: Path, graph: ir.Graph, title: str, settings: Settings, findings: Mapping[str, Any]
) -> dict[str, Any]:
    """Completes the folder around both forms and the vectors; returns the content of bundle.json.

    `findings` are entries about what was checked while lowering, `status` among them.
    """
    for name in (TVM_LOADER, ONNX_LOADER):
        shutil.copyfile(RUNTIME / name, out / name)
    files = (MODEL, LIBRARY, source_name(settings), TVM_LOADER, ONNX_LOADER, VECTORS)
    description: dict[str, Any] = {
        "schema": SCHEMA,
        "inputs": [value_description(graph.tensors[name]) for name in graph.inputs],
        "outputs": [value_description(graph.tensors[name]) for name in graph.outputs],
        "api": settings.api,
        "arch": settings.arch,
        "batch": settings.batch,
        "float_type": settings.float_type,
        **findings,
        "packages": {name: version(name) for name in ("apache-tvm", "apache-tvm-ffi")},
        "sha256": {name: digest(out / name) for name in files},
    }
    write_text(out / DESCRIPTION, as_json(description))
    write_text(out / README, _readme(description, title, settings))
    return description


def _readme(description: Mapping[str, Any], title: str, settings: Settings) -> str:
    values = [
        f"  {kind:6} {value['name']}  {value['dtype']}  [{', '.join(map(str, value['shape']))}]"
        for kind in ("input", "output")
        for value in description[f"{kind}s"]
    ]
    return README_TEXT.format(
        title=title,
        status=description["status"],
        model=MODEL,
        library=LIBRARY,
        source=source_name(settings),
        int8_command=INT8_COMMANDS[settings.api].format(model=MODEL),
        onnx_loader=ONNX_LOADER,
        tvm_loader=TVM_LOADER,
        float_type=settings.float_type,
        batch=settings.batch,
        tvm=description["packages"]["apache-tvm"],
        ffi=description["packages"]["apache-tvm-ffi"],
        driver=DRIVERS[settings.api],
        values="\n".join(values),
    )
