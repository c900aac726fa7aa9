"""Which machine, with which software: printed above every result."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("numpy", "onnx", "onnxruntime", "openvino", "onednn-cpu-gomp", "torch")

# Our names of instruction sets -> the flags of /proc/cpuinfo that they need.
INSTRUCTION_SETS: Mapping[str, tuple[str, ...]] = {
    "amx": ("amx_tile", "amx_int8"),
    "avx512vnni": ("avx512f", "avx512bw", "avx512vl", "avx512_vnni"),
    "avxvnni": ("avx_vnni",),
    "avx2": ("avx2",),
    "neoni8mm": ("i8mm",),
    "neondot": ("asimddp",),
    "neon": ("asimd",),
}


@dataclass(frozen=True)
class Machine:
    cpu: str
    cores: int
    pinned_to: tuple[int, ...]
    instruction_sets: tuple[str, ...]
    flags: tuple[str, ...]
    versions: Mapping[str, str]
    compiler: str
    system: str
    load: float  # of the machine when the benchmark began; others' work widens the intervals

    def lines(self) -> list[str]:
        packages = ", ".join(f"{name} {found}" for name, found in self.versions.items())
        return [
            f"{self.cpu}, {self.cores} cores, pinned to {', '.join(map(str, self.pinned_to))}, load {self.load:.2f}",
            f"instruction sets: {', '.join(self.instruction_sets) or 'none of ours'}",
            f"flags: {' '.join(self.flags)}",
            f"{packages}; {self.compiler}; {self.system}",
        ]

    def json(self) -> dict[str, Any]:
        return asdict(self)


@cache
def cpu_flags() -> frozenset[str]:
    """The feature flags of the first core, as Linux names them; empty elsewhere."""
    return frozenset(_cpuinfo("flags", "Features").split())


def instruction_sets() -> tuple[str, ...]:
    """Of this machine, best first."""
    return tuple(name for name, needed in INSTRUCTION_SETS.items() if cpu_flags().issuperset(needed))


def _cpuinfo(*keys: str) -> str:
    path = Path("/proc/cpuinfo")
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        key, _, value = line.partition(":")
        if key.strip() in keys:
            return value.strip()
    return ""


def pin(cores: int = 1) -> tuple[int, ...]:
    """Restricts this process to its last `cores` cores and OpenMP to as many threads. Call it before any engine loads.

    The last ones, since the first are where systems put their own work.
    """
    os.environ["OMP_NUM_THREADS"] = str(cores)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if not hasattr(os, "sched_setaffinity"):
        return ()
    chosen = tuple(sorted(os.sched_getaffinity(0))[-cores:])
    os.sched_setaffinity(0, chosen)
    return chosen


def machine(pinned_to: tuple[int, ...]) -> Machine:
    interesting = ("sse4", "avx", "amx", "fma", "bmi2", "asimd", "i8mm", "sve", "neon")
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "missing"
    return Machine(
        cpu=_cpuinfo("model name", "Model") or platform.machine(),
        cores=os.cpu_count() or 1,
        pinned_to=pinned_to,
        instruction_sets=instruction_sets(),
        flags=tuple(sorted(flag for flag in cpu_flags() if flag.startswith(interesting))),
        versions=versions,
        compiler=_compiler(),
        system=f"{platform.system()} {platform.release()}",
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0,
    )


def _compiler() -> str:
    compiler = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        return "no C++ compiler"
    done = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False, timeout=30)
    return done.stdout.splitlines()[0] if done.stdout else compiler
