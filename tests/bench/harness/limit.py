"""The limit of one core, measured: multiply-accumulates per second of its best int8 instruction, bytes per second.

    seconds >= max(MACs * density / rate, weight bytes * density / bandwidth)

The bandwidth is that of reading as many bytes again and again, so it knows in which cache weights of that size stay.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from .machine import instruction_sets
from .shapes import Layer

SECONDS = 0.15  # of each micro-benchmark
SOURCE = Path(__file__).with_name("limit.c")
RATES = ("amx", "avx512vnni", "avxvnni", "avx2")  # functions NAME_macs of limit.c, fastest first


class NoLimit(Exception):
    """The limit cannot be measured here; the text says why."""


class Limit:
    """Measures when first asked, then remembers."""

    def __init__(self, compilers: Sequence[str] = ("gcc", "clang", "cc")):
        compiler = next((found for name in compilers if (found := shutil.which(name))), None)
        if compiler is None:
            raise NoLimit("no C compiler (gcc, clang) to build limit.c with")
        if not any(name in instruction_sets() for name in RATES):
            raise NoLimit("limit.c measures x86 with AVX2 or better, which this CPU is not")
        with tempfile.TemporaryDirectory() as folder:
            library = Path(folder) / "limit.so"
            command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
            if done.returncode:
                raise NoLimit(f"{compiler} cannot build limit.c: {done.stderr.strip()[:200]}")
            self._library = ctypes.CDLL(str(library))
        self._library.read_bytes.restype = ctypes.c_double
        self._library.read_bytes.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_double]
        self._bandwidths: dict[int, float] = {}

    @cached_property
    def macs_per_second(self) -> Mapping[str, float]:
        """By instruction set, fastest first."""
        found = {}
        for name in RATES:
            if name in instruction_sets():
                function = getattr(self._library, f"{name}_macs")
                function.restype, function.argtypes = ctypes.c_double, [ctypes.c_double]
                if (rate := function(SECONDS)) > 0:
                    found[name] = rate
        return found

    def bytes_per_second(self, size: int) -> float:
        """Of reading `size` bytes over and over; measured per power of two."""
        rounded = max(4096, 1 << (size - 1).bit_length())
        if rounded not in self._bandwidths:
            data = np.zeros(rounded + 64, np.uint8)
            self._bandwidths[rounded] = self._library.read_bytes(data.ctypes.data, rounded, SECONDS)
        return self._bandwidths[rounded]

    def seconds(self, layer: Layer, density: float = 1.0, instruction_set: str | None = None) -> float:
        """The least time that this core can need for a layer, of which `density` of the weights are not zero."""
        rates = self.macs_per_second
        rate = rates[instruction_set or next(iter(rates))]
        weights = max(1, round(layer.weight_bytes * density))
        return max(layer.useful_macs * density / rate, weights / self.bytes_per_second(weights))
