"""Runs the float library where a device for it is at hand, in a process of its own."""

from __future__ import annotations

import ctypes
import json
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from ...compiler.errors import ToolError
from ...compiler.quantity import Quantity
from ..process import run
from .bundle import TVM_LOADER

RUN_TIMEOUT_S = 600.0
NAME_BYTES = 128


@cache
def cuda_devices() -> tuple[str, ...]:
    """The names of this machine's CUDA devices, as its driver tells them; empty without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ()
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return ()
    names = []
    for index in range(count.value):
        name = ctypes.create_string_buffer(NAME_BYTES)
        driver.cuDeviceGetName(name, NAME_BYTES, index)
        names.append(name.value.decode("utf-8", "replace"))
    return tuple(names)


def missing_device(api: str) -> str:
    """Why nothing for this interface can be executed here, or nothing."""
    if api == "opencl":
        return "the packages of TVM hold no OpenCL runtime"
    return "" if cuda_devices() else "this machine has no CUDA device"


@dataclass(frozen=True)
class Executed:
    """The float library on a device, beside what onnxruntime computes of the same network."""

    device: str
    relative_error: float
    latency: Quantity


def execute(bundle: Path) -> Executed:
    """Runs the bundle's own loader. Raises ToolError where it fails or its outputs are too far off."""
    argv = [sys.executable, TVM_LOADER]
    text = run(argv, what="Running the float library", cwd=bundle, timeout_s=RUN_TIMEOUT_S, memory_bytes=None)
    try:
        found = json.loads(text.strip().splitlines()[-1])
        seconds = np.asarray(found["seconds"], np.float64)
        device, error = str(found["device"]), float(found["relative_error"])
    except (ValueError, LookupError, TypeError) as problem:
        raise ToolError("The float library gave no result.", code="tool-failed", why=text[-500:]) from problem
    low, median, high = (float(value) for value in np.quantile(seconds, (0.1, 0.5, 0.9)))
    source = f"{len(seconds)} runs of the float library on {device}, transfers included, 10th to 90th percentile"
    return Executed(device, error, Quantity(median, low, high, "s", "measured", source))
