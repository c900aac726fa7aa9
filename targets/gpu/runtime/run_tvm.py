"""Runs model_float.so on a GPU: `python run_tvm.py` compares it with the test vectors beside it.

Needs numpy, apache-tvm and apache-tvm-ffi of the versions in bundle.json, and the device's driver. The library holds
its kernels as source text: TVM compiles them here, with nvcc where that is installed.
"""

import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
RUNS, BUDGET_S = 25, 1.0
TOLERANCE = {"float32": 1e-3, "float16": 3e-2}  # relative to the largest output

os.environ.setdefault("TVM_CUDA_COMPILE_MODE", "nvcc" if shutil.which("nvcc") else "nvrtc")
os.environ.setdefault("TVM_CUDA_NVCC_NO_FAST_MATH", "1")


def load(folder: Path = HERE) -> tuple[Callable[..., list[np.ndarray]], str]:
    """The network as a function of arrays, and the name of the device that runs it."""
    import tvm

    device = tvm.device(json.loads((folder / "bundle.json").read_text())["api"], 0)
    if not device.exist:
        raise SystemExit("no such device here, or TVM was built without its runtime")
    machine = tvm.relax.VirtualMachine(tvm.runtime.load_module(str(folder / "model_float.so")), device)

    def call(*arrays: np.ndarray) -> list[np.ndarray]:
        found: Any = machine["main"](*(tvm.runtime.tensor(np.ascontiguousarray(x), device) for x in arrays))
        outputs = [found] if hasattr(found, "numpy") else list(found)
        return [y.numpy() for y in outputs]

    return call, str(device.device_name or device)


def main() -> int:
    """Prints one line of JSON: device, largest relative error, median seconds of a run; returns the exit status."""
    float_type = json.loads((HERE / "bundle.json").read_text())["float_type"]
    with np.load(HERE / "vectors.npz") as vectors:
        inputs = [vectors[key] for key in vectors.files if key.startswith("in.")]
        expected = [vectors[key] for key in vectors.files if key.startswith("float.")]
    call, device = load()
    pairs = zip(call(*inputs), expected, strict=True)
    error = max(float(np.abs(y - want).max() / max(np.abs(want).max(), 1e-30)) for y, want in pairs)
    seconds: list[float] = []
    while len(seconds) < RUNS and sum(seconds) < BUDGET_S:
        start = time.perf_counter()
        call(*inputs)
        seconds.append(time.perf_counter() - start)
    found = {"device": device, "relative_error": error, "seconds": seconds}
    sys.stdout.write(json.dumps(found) + "\n")
    return int(not error <= TOLERANCE[float_type])


if __name__ == "__main__":
    sys.exit(main())
