"""Builds and runs a bundle: its own files, with a program that records every integer tensor in place of main.c."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...compiler.errors import ToolError
from ...compiler.integer import graph as ir
from ..process import run
from .program import RUNTIME, Program, board_files, keep_flags, link_flags, model_sources, size_flags
from .toolchain import WARNINGS, Toolchain, compile_c, execute

Array = npt.NDArray[Any]


def run_bundle(
    bundle: Path, graph: ir.Graph, made: Program, toolchain: Toolchain, feeds: Mapping[str, Array]
) -> dict[str, Array]:
    """Every integer tensor and every dequantized output by name, [n, ...]. Raises ToolError, LimitError."""
    with tempfile.TemporaryDirectory(prefix="prunus-c-") as name:
        folder = Path(name)
        _copy(bundle, folder)
        shutil.copyfile(RUNTIME / "trace.c", folder / "trace.c")
        (folder / "trace.h").write_text(_trace_header(made))
        build(folder, made, toolchain, "trace.c", ("-DPRUNUS_MODEL_TRACE",))
        count = _write_inputs(folder / "inputs.bin", graph, made, feeds)
        execute(toolchain, "main.elf", folder, "Running the bundle")
        return _read_outputs(folder / "outputs.bin", made, count)


def build(folder: Path, made: Program, toolchain: Toolchain, main: str, defines: Sequence[str] = ()) -> None:
    """Links `main.elf` of the sources in a bundle's folder. Raises ToolError."""
    board = f"board/{board_files(toolchain)[0]}"
    flags = (*toolchain.compile_flags(made.macros), *WARNINGS, *defines, *([toolchain.tick_flag] * toolchain.embedded))
    units = (main, board, "model_float.c", *model_sources(made))
    arguments = (*flags, "-I.", "-Ikernels/include", "-Iboard", *units, *link_flags(toolchain), "-o", "main.elf")
    compile_c(toolchain, arguments, folder, "Compiling the bundle")


def measure_memory(bundle: Path, made: Program, toolchain: Toolchain) -> dict[str, int]:
    """What the linker and a painted stack tell: `code_bytes` (text), `constant_bytes` (read-only data), `arena_bytes`,
    and, where the example runs without an operating system, `stack_bytes` and `instructions` of one inference."""
    with tempfile.TemporaryDirectory(prefix="prunus-c-") as name:
        folder = Path(name)
        _copy(bundle, folder)
        sizes = _sections(folder, made, toolchain)
        build(folder, made, toolchain, "main.c")
        printed = execute(toolchain, "main.elf", folder, "Running the bundle's example")
        for key in ("stack bytes", "instructions") if toolchain.embedded else ():
            found = re.search(rf"{key} (\d+)", printed)
            if found is None:
                raise ToolError("The example printed no measurements.", code="program-failed", where="main.elf")
            sizes[key.replace(" ", "_")] = int(found[1])
        return sizes


def _sections(folder: Path, made: Program, toolchain: Toolchain) -> dict[str, int]:
    flags = (*toolchain.compile_flags(made.macros), "-I.", "-Ikernels/include")
    keep = (*size_flags(toolchain), *keep_flags(made.model), "-o", "model.elf")
    compile_c(toolchain, (*flags, *model_sources(made), *keep), folder, "Linking the model")
    table = run([toolchain.size_tool, "-A", "model.elf"], what="Reading sizes", cwd=folder, timeout_s=60)
    found = {row[0]: int(row[1]) for line in table.splitlines() if len(row := line.split()) == 3 and row[1].isdigit()}
    text = sum(size for name, size in found.items() if name.startswith((".text", ".init", ".fini", ".plt")))
    constants = sum(size for name, size in found.items() if name.startswith((".rodata", ".data")))
    return {"code_bytes": text, "constant_bytes": constants, "arena_bytes": found.get(".bss", 0)}


def _copy(bundle: Path, folder: Path) -> None:
    for path in sorted(bundle.rglob("*")):
        if path.suffix in (".c", ".h", ".ld"):
            target = folder / path.relative_to(bundle)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)


# -- the recorded values ------------------------------------------------------------------------------------------


def _trace_header(made: Program) -> str:
    """trace.h: loads the inputs, records the dequantized outputs."""
    model = made.model
    text, loads, records = [], [], []
    for symbol, name in model.inputs():
        function = "0"
        if name in model.quantize:
            function = f"quantize_{symbol}"
            call = f"prunus_model_{function}(x, count, y)"
            signature = f"{function}(const float *x, size_t count, void *y)"
            text.append(f"static prunus_status {signature} {{ return {call}; }}\n")
        loads.append(f"  load(prunus_model_{symbol}(), {model.core.tensors[name].size}, {function});\n")
    for symbol, name in _dequantized(made):
        call = f"prunus_model_dequantize_{symbol}(x, count, y)"
        signature = f"dequantize_{symbol}(const void *x, size_t count, float *y)"
        text.append(f"static prunus_status {signature} {{ return {call}; }}\n")
        size = model.core.tensors[name].size
        records.append(f"  record(prunus_model_{symbol}(), {size}, dequantize_{symbol});\n")
    loader = f"static void trace_load(void) {{\n{''.join(loads)}}}\n"
    return "".join([*text, loader, f"static void trace_record(void) {{\n{''.join(records)}}}\n"])


def _dequantized(made: Program) -> list[tuple[str, str]]:
    return [(symbol, name) for symbol, name in made.model.outputs() if name in made.model.dequantize]


def _write_inputs(path: Path, graph: ir.Graph, made: Program, feeds: Mapping[str, Array]) -> int:
    """inputs.bin: the number of samples, then the inputs of each; returns that number."""
    arrays = []
    for name in made.model.core.inputs:
        quantize = made.model.quantize.get(name)
        data = np.asarray(feeds[quantize.inputs[0] if quantize else name])
        arrays.append(data.astype("<f4") if quantize else data.view(np.uint8))
    count = len(arrays[0]) if arrays else 0
    samples = (array[i].tobytes() for i in range(count) for array in arrays)
    path.write_bytes(count.to_bytes(4, "little") + b"".join(samples))
    return count


def _read_outputs(path: Path, made: Program, count: int) -> dict[str, Array]:
    core = made.model.core
    fields: list[tuple[str, Any]] = []
    names = [*core.inputs, *(op.output for op in core.ops)]
    for name in names:
        fields.append((name, np.dtype(ir.NUMPY_TYPE[core.quant(name).dtype])))
    fields += [(made.model.dequantize[name].output, np.dtype("<f4")) for _, name in _dequantized(made)]
    shapes = _shapes(made)
    layout = np.dtype([(name, dtype, shapes[name]) for name, dtype in fields])
    data = path.read_bytes()
    if len(data) != layout.itemsize * count:
        raise ToolError("The bundle recorded another amount of data.", code="program-failed", where=path.name)
    records = np.frombuffer(data, layout)
    return {name: np.ascontiguousarray(records[name]) for name, _ in fields}


def _shapes(made: Program) -> dict[str, tuple[int, ...]]:
    """Of every recorded tensor, dequantized ones included."""
    shapes = {name: tensor.shape for name, tensor in made.model.core.tensors.items()}
    return shapes | {op.output: shapes[op.inputs[0]] for op in made.model.dequantize.values()}
