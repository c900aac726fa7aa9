"""Loads model.so: `python run.py` runs it on the test vectors beside it and compares with the expected outputs.

Needs numpy, the package apache-tvm-ffi and the file libtvm_runtime.so of the package apache-tvm; not TVM's compiler.
"""

import ctypes
import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tvm_ffi


def runtime_library() -> str:
    """libtvm_runtime.so: named by TVM_RUNTIME, or the one of the installed package (which is not imported)."""
    spec = importlib.util.find_spec("tvm")
    installed = Path(spec.origin).parent / "lib" if spec and spec.origin else Path()
    return os.environ.get("TVM_RUNTIME") or str(installed / "libtvm_runtime.so")


def load(folder: str | Path, entry: str = "main") -> Callable[..., list[Any]]:
    """The model as a function: arrays [batch, ...] in the order of bundle.json -> list of arrays."""
    ctypes.CDLL(runtime_library(), ctypes.RTLD_GLOBAL)
    machine = tvm_ffi.load_module(str(Path(folder, "model.so").resolve())).get_function("vm_load_executable")()
    machine.get_function("vm_initialization")(1, 0, 2)  # CPU, device 0, pooled memory
    function = machine.get_function(entry)
    return lambda *arrays: [np.from_dlpack(y) for y in function(*(tvm_ffi.from_dlpack(np.array(x)) for x in arrays))]


def main() -> int:
    """Compares the outputs with vectors.npz; returns the exit status."""
    folder = Path(__file__).resolve().parent
    with np.load(folder / "vectors.npz") as vectors:
        inputs = [vectors[key] for key in vectors.files if key.startswith("in.")]
        expected = [vectors[key] for key in vectors.files if key.startswith("out.")]
    found = load(folder)(*inputs)
    worst = max(float(np.abs(y.astype("f8") - want).max()) for y, want in zip(found, expected, strict=True))
    sys.stdout.write(f"largest error: {worst:.3g} on {len(inputs[0])} samples\n")
    return int(worst > 1e-5)


if __name__ == "__main__":
    sys.exit(main())
