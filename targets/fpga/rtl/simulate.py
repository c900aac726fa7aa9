"""Simulation of the generated Verilog: the network alone, or behind the serial line of a board.

Icarus Verilog and Verilator are used where they are installed, whichever comes first in `SIMULATORS`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ....compiler.errors import ToolError
from ...process import run

COMPILE_TIMEOUT_S, RUN_TIMEOUT_S = 900.0, 1800.0
RESULTS = "results.hex"
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


SIMULATORS: Mapping[str, Callable[[Path, Sequence[Path], str, Mapping[str, int]], list[str]]] = {
    "iverilog": _icarus,
    "verilator": _verilator,
}


def simulator() -> str | None:
    """The first simulator that is installed."""
    return next((name for name in SIMULATORS if shutil.which(name)), None)


def simulate(
    sources: Sequence[Path], bench: str, samples: Bytes, x_bits: int, y_bits: int, using: str | None = None
) -> Bytes:
    """[samples, bytes] that the test bench `bench` (a module of `sources`) reads from the design.

    samples: [samples, bytes], packed as `Bus.pack` does; `x_bits` and `y_bits` are what a sample and a result have.
    Raises ToolError (`tool-missing`, `simulation-compile`, `simulation-failed`) or LimitError.
    """
    name = using or simulator()
    if name is None:
        raise ToolError(
            "There is no Verilog simulator to check the design with.",
            code="tool-missing",
            where="iverilog",
            hint="Install Icarus Verilog (Debian: iverilog) or Verilator.",
        )
    with tempfile.TemporaryDirectory(prefix="prunus-rtl-") as scratch:
        folder = Path(scratch)
        write_hex(folder / "x.hex", samples)
        defines = {"SAMPLES": len(samples), "X_BITS": x_bits, "Y_BITS": y_bits}
        argv = SIMULATORS[name](folder, [path.resolve() for path in sources], bench, defines)
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
