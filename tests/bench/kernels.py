"""Throughput of the portable kernels on one core: multiply-accumulates per second for typical layers, batch 1.

    python tests/bench/kernels.py

Includes the fused requantization and the Python call. Median of repeated runs, with the fastest and the slowest.
"""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from prunus import kernels

RUNS, SECONDS = 15, 0.02  # timed runs of a layer; each repeats the call for about this long
SHAPES = (  # (what, input channels, output channels, size, kernel, depthwise)
    ("3x3 conv, 64 -> 64, 56x56", 64, 64, 56, 3, False),
    ("3x3 conv, 256 -> 256, 14x14", 256, 256, 14, 3, False),
    ("1x1 conv, 256 -> 1024, 14x14", 256, 1024, 14, 1, False),
    ("1x1 conv, 16 -> 32, 56x56", 16, 32, 56, 1, False),
    ("3x3 depthwise, 64, 56x56", 64, 64, 56, 3, True),
    ("3x3 depthwise, 512, 14x14", 512, 512, 14, 3, True),
)


def layer(channels: int, out: int, size: int, kernel: int, depthwise: bool) -> tuple[Callable[[], object], int]:
    """A call that runs one random layer, and its multiply-accumulates."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (1, channels, size, size), dtype=np.uint8)
    w = rng.integers(-127, 128, (out, 1 if depthwise else channels, kernel, kernel), dtype=np.int8)
    bias = rng.integers(-1000, 1000, out, dtype=np.int32)
    requant = kernels.Requant.f32(np.full(out, 1e-3, np.float32))
    output = kernels.Output("u8", 128)
    function = kernels.depthwise2d if depthwise else kernels.conv2d
    pad = kernel // 2

    def call() -> object:
        return function(x, w, bias, requant, output, x_zero_point=128, pads=(pad,) * 4)

    return call, w.size * size * size


def rates(call: Callable[[], object], macs: int) -> tuple[float, float, float]:
    """(median, lowest, highest) in 10^9 multiply-accumulates per second."""
    start = time.perf_counter()
    call()
    repeats = max(1, round(SECONDS / (time.perf_counter() - start)))
    found = []
    for _ in range(RUNS):
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        found.append(macs * repeats / (time.perf_counter() - start) / 1e9)
    return statistics.median(found), min(found), max(found)


def main() -> None:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())
    print(f"{cpu}, one thread; portable kernels as built for this installation")
    for what, *shape in SHAPES:
        median, low, high = rates(*layer(*shape))
        print(f"{what:<32} {median:6.2f} GMAC/s  ({low:.2f} to {high:.2f})", flush=True)


if __name__ == "__main__":
    main()
