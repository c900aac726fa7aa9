"""The folder that is handed over: the library, a loader, test vectors, and what they are.

model.so      the model: `main` (outputs) and `trace` (every integer tensor), constants and kernels inside
run.py        loads it and checks it on the vectors
main.cc       runs it in C++
vectors.npz   in.NAME and out.NAME: inputs and the outputs of the integer reference
bundle.json   names, shapes, types, tool versions, digests of the files above
README.txt
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...compiler.integer import graph as ir
from ...compiler.output import as_json, write_text
from ..bundle import digest, value_description, write_vectors
from .build import Toolchain
from .lower import MAIN, TRACE

SCHEMA = "prunus.tvm-bundle/1"
LIBRARY, LOADER, VECTORS, DESCRIPTION, README = "model.so", "run.py", "vectors.npz", "bundle.json", "README.txt"
LOADER_TEMPLATE = Path(__file__).parent / "runtime" / "run.py"
PROGRAM = LOADER_TEMPLATE.with_name("main.cc")

README_TEXT = """\
An integer neural network as a library for the TVM runtime.

  python run.py          runs model.so on vectors.npz and compares with the expected outputs

It needs Python with numpy, apache-tvm-ffi=={ffi} and libtvm_runtime.so of apache-tvm {tvm}
(variable TVM_RUNTIME: the path of that file). TVM's compiler is not needed. main.cc does the same in C++ (its head says
how); it is built with the two runtime libraries, whose folders are RUNTIME and FFI:

  g++ -std=c++17 main.cc -I$(tvm-ffi-config --includedir) -L$FFI -ltvm_ffi -L$RUNTIME -Wl,--no-as-needed -ltvm_runtime
model.so was compiled for {machine} by {compiler}; it chooses the kernels for the processor that it runs on.

Inputs and outputs (n is the batch, which is free):
{values}
"""


def write_bundle(out: Path, graph: ir.Graph, toolchain: Toolchain) -> dict[str, Any]:
    """Completes the folder around `model.so`; returns the content of bundle.json."""
    shutil.copyfile(LOADER_TEMPLATE, out / LOADER)
    shutil.copyfile(PROGRAM, out / PROGRAM.name)
    write_vectors(out / VECTORS, graph)
    description: dict[str, Any] = {
        "schema": SCHEMA,
        "inputs": [value_description(graph.tensors[name]) for name in graph.inputs],
        "outputs": [value_description(graph.tensors[name]) for name in graph.outputs],
        "entries": {MAIN: list(graph.outputs), TRACE: list(graph.integer_tensors())},
        "platform": toolchain.platform.as_dict(),
        "compiler": {"version": toolchain.version},
        "packages": {name: version(name) for name in ("apache-tvm", "apache-tvm-ffi")},
        "sha256": {name: digest(out / name) for name in (LIBRARY, LOADER, PROGRAM.name, VECTORS)},
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
        machine=f"{toolchain.platform.processor} ({toolchain.platform.cpu or 'any'})",
        compiler=toolchain.version,
        values="\n".join(values),
    )
