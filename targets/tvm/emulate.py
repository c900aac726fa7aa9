"""Runs a library for another processor here: the example program of the bundle under an emulator.

It takes a compiler, the emulator and TVM's runtime for that processor. The runtime is never fetched unasked:
`python -m prunus.targets.tvm.fetch aarch64` puts it where it is looked for.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...compiler.errors import ToolError
from ...compiler.integer import graph as ir
from ..bundle import element_type
from ..process import run
from .archive import cache_folder
from .build import COMPILE_TIMEOUT_S, include_of_ffi
from .bundle import PROGRAM
from .platform import Platform

Array = npt.NDArray[Any]
RUNTIME = ("libtvm_runtime.so", "libtvm_ffi.so")
RUN_TIMEOUT_S = 900.0
_EMULATORS_PACKAGE = "qemu-user"


@dataclass(frozen=True)
class Entry:
    """A function of the library and the tensors that it returns, in order."""

    name: str
    outputs: Sequence[str]


def runtime_folder(processor: str) -> Path:
    """Where the runtime for a processor is looked for."""
    return cache_folder() / "tvm-runtime" / processor


def obstacle(platform: Platform) -> str:
    """Why libraries for the platform cannot be executed here; empty where they can."""
    if not platform.emulator:
        return f"This machine does not execute code for {platform.processor} with {platform.needs or 'its extensions'}."
    for tool, package in ((platform.compiler, platform.packages), (platform.emulator, _EMULATORS_PACKAGE)):
        if shutil.which(tool) is None:
            return f"{tool} is missing (Debian: apt install {package})."
    folder = runtime_folder(platform.processor)
    if not all((folder / name).is_file() for name in RUNTIME):
        command = f"python -m prunus.targets.tvm.fetch {platform.processor}"
        return f"The TVM runtime for {platform.processor} is not here: `{command}` fetches it."
    return ""


def run_emulated(
    library: Path, platform: Platform, graph: ir.Graph, inputs: Mapping[str, Array], entries: Sequence[Entry]
) -> dict[str, Array]:
    """All tensors that the entries return. Raises ToolError, LimitError."""
    with tempfile.TemporaryDirectory(prefix="prunus-tvm-") as name:
        folder = Path(name)
        _build(platform, folder)
        words = []
        for index, tensor in enumerate(graph.inputs):
            array = np.ascontiguousarray(inputs[tensor])
            (folder / f"in{index}.bin").write_bytes(array.tobytes())
            words.append(f"{array.dtype.name}:{'x'.join(map(str, array.shape))}:in{index}.bin")
        batch = len(inputs[graph.inputs[0]])
        found: dict[str, Array] = {}
        for entry in entries:
            runtime = runtime_folder(platform.processor)
            argv = [
                *(platform.emulator, "-L", f"/usr/{platform.triple}", "-E", f"LD_LIBRARY_PATH={runtime}"),
                *("./main", str(library.absolute()), entry.name, "out", *words),
            ]
            what = f"Running the TVM library under {platform.emulator}"
            run(argv, what=what, cwd=folder, timeout_s=RUN_TIMEOUT_S, memory_bytes=None)
            for index, output in enumerate(entry.outputs):
                found[output] = _read(folder / f"out{index}.bin", graph.tensors[output], batch)
        return found


def _build(platform: Platform, folder: Path) -> None:
    shutil.copyfile(PROGRAM, folder / PROGRAM.name)
    libraries = [f"-L{runtime_folder(platform.processor)}", "-ltvm_ffi", "-Wl,--no-as-needed", "-ltvm_runtime"]
    argv = [platform.compiler, "-std=c++17", "-O1", f"-I{include_of_ffi()}", PROGRAM.name, *libraries, "-o", "main"]
    run(argv, what="Compiling the example program", cwd=folder, timeout_s=COMPILE_TIMEOUT_S)


def _read(path: Path, tensor: ir.Tensor, batch: int) -> Array:
    values = np.fromfile(path, np.dtype(element_type(tensor)))
    if values.size != batch * int(np.prod(tensor.shape)):
        raise ToolError("The library returned a tensor of another size.", code="tool-failed", where=tensor.name)
    return values.reshape(batch, *tensor.shape)
