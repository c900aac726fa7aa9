"""What `lower` leaves behind: the project folder, the same as one archive, a build script, and a manifest."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ....compiler.integer import graph as ir
from .layout import axes_of
from .lower import Lowered
from .reuse import Schedule
from .schedule import reasons
from .spec import Spec
from .synthesis import VENDORS, options_tcl

_EPOCH = (1980, 1, 1, 0, 0, 0)
_STAMP = "00000000"
_DROPPED = ("hls4ml_config.yml",)  # hls4ml's own record; the manifest says the same and more
_UNREAD = ("pdfdocs", "gdb", "tests", "lutgen")  # folders beside Catapult's headers, megabytes
_BUILD = """#!/bin/sh
# Synthesises ./project and exports it as an IP core. Needs {product} on the PATH.
set -eu
cd "$(dirname "$0")/project"
{attempts}
echo "build.sh: {product} is not on the PATH ({tools})." >&2
echo "Install it and source its settings64.sh, then run this script again." >&2
exit 6
"""
ACCELERATOR = """\
No accelerator wrapper is part of the project: that of hls4ml (backend VivadoAccelerator) is for Vivado HLS, which AMD
has discontinued, and converts floats in a top function that this C simulation does not run. Connect the ports of the
IP core to AXI streams instead."""
_README = """HLS project
===========
part: {part}    clock: {clock:g} ns    interface: {io_type}    strategy: {strategy}

Build        ./build.sh synthesises project/ with {product} and exports an IP core to
             project/{project}_prj/solution1/impl/ip.
Simulate     project/build_lib.sh builds the C simulation with g++ alone. project/tb_data holds inputs and the outputs
             that every simulation must give; set csim or cosim in project/build_opt.tcl to 1 to run the vendor's.
firmware.zip holds project/, build.sh and this file.

The top function is {project}() in project/firmware/{project}.cpp. Its ports carry fixed-point numbers:

{ports}
Elements of an input or output arrive in the order "axes" of its logical (ONNX) shape; an integer q of the compressed
model is the fixed-point number q * 2^-fraction, so its bits are those of q.
{accelerator}

The C simulation proves the arithmetic of these sources. It says nothing about whether the design fits the device or
meets its clock: only synthesis does. Figures called "modelled" have not been compared with synthesised designs.
"""


def clean(project: Path) -> None:
    """Makes a freshly written project the same on every run, and its C simulation quick to compile."""
    for dropped in _DROPPED:
        (project / dropped).unlink(missing_ok=True)
    for folder in sorted(project.glob("firmware/ac_*/*")):
        if folder.name in _UNREAD:
            shutil.rmtree(folder)
    script = project / "build_lib.sh"
    text = script.read_text(encoding="utf-8").replace("-O3", "-O2")
    script.write_text(re.sub(r"LIB_STAMP=\w+", f"LIB_STAMP={_STAMP}", text), encoding="utf-8")
    (project / "build_opt.tcl").write_text(options_tcl(export=True), encoding="utf-8")


def write_scripts(out: Path, spec: Spec, schedule: Schedule, manifest: dict[str, Any]) -> None:
    """build.sh and README.txt beside the project."""
    ports = "".join(
        f"  {port['direction']:6} {port['tensor']}: {port['type']}, shape {port['shape']}, axes {port['axes']}\n"
        for port in manifest["ports"]
    )
    vendor = VENDORS[spec.backend]
    product, tools = vendor.product, vendor.tools
    attempts = "\n".join(
        f"if command -v {tool} >/dev/null 2>&1; then exec {command}; fi"
        for tool, command in zip(tools, vendor.commands, strict=True)
    )
    readme = _README.format(
        product=product,
        part=spec.part,
        clock=spec.clock_period_ns,
        io_type=spec.io_type,
        strategy=schedule.strategy,
        project=spec.project,
        ports=ports,
        accelerator=ACCELERATOR,
    )
    script = _BUILD.format(product=product, attempts=attempts, tools=", ".join(tools))
    (out / "build.sh").write_text(script, encoding="utf-8")
    (out / "build.sh").chmod(0o755)
    (out / "README.txt").write_text(readme, encoding="utf-8")


def files_under(out: Path) -> tuple[str, ...]:
    """All files below `out`, as sorted relative paths with forward slashes."""
    return tuple(sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()))


def archive(out: Path, files: Sequence[str], destination: Path) -> None:
    """A zip with fixed times, order and permissions: the same files give the same bytes."""
    with zipfile.ZipFile(destination, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as target:
        for name in files:
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if name.endswith(".sh") else 0o644) << 16
            target.writestr(entry, (out / name).read_bytes())


def manifest(graph: ir.Graph, lowered: Lowered, spec: Spec, schedule: Schedule) -> dict[str, Any]:
    """Settings, ports and layers with types, strategy and reuse factor, as JSON-ready data."""
    why = reasons(spec.layers, schedule)
    return {
        "backend": spec.backend,
        "part": spec.part,
        "clock_period_ns": spec.clock_period_ns,
        "io_type": spec.io_type,
        "strategy": schedule.strategy,
        "multipliers": schedule.multipliers,
        "schedule": {
            "interval_cycles": schedule.interval_cycles,
            "fits": schedule.fits,
            "binding": schedule.binding,
            "tightest": schedule.tightest,
            "needed": {key: round(value) for key, value in schedule.needed.items()},
            "offered": {key: round(value) for key, value in schedule.offered.items()},
            "basis": "modelled",
        },
        "top": spec.project,
        "accelerator": {"emitted": False, "why": " ".join(ACCELERATOR.split())},
        "ports": [
            *(_port(graph, lowered, name, "input") for name in lowered.inputs),
            *(_port(graph, lowered, name, "output") for name in lowered.outputs),
        ],
        "layers": [
            {
                "name": layer.name,
                "class": layer.class_name,
                "inputs": list(layer.inputs),
                "shape": list(layer.shape),
                "types": dict(layer.types),
                "strategy": layer.strategy if layer.products else None,
                "reuse_factor": layer.reuse_factor if layer.products else None,
                "stream_depth": layer.stream_depth or None,
                "why": why.get(layer.name),
            }
            for layer in spec.layers
        ],
    }


def _port(graph: ir.Graph, lowered: Lowered, name: str, direction: str) -> dict[str, Any]:
    value, shape = lowered.values[name], graph.tensors[name].shape
    axes = axes_of(value.order, shape)
    return {
        "tensor": name,
        "direction": direction,
        "layer": value.layer,
        "type": str(value.type),
        "fraction": value.type.fraction,
        "shape": list(shape),
        "axes": None if axes is None else list(axes),
    }
