"""The folder that is handed over.

model.h  model.c  model_weights.h    the network; `source.py` says what is in them
model_float.c                        quantization of float inputs, dequantization of outputs
kernels/                             the portable kernels that the network calls
main.c  vectors.h  board/            an example that runs the test vectors, and what it needs of a board
model.py                             under an operating system: the model for Python, through a shared library
Makefile  CMakeLists.txt  README.md  LICENSE
bundle.json                          names, shapes, types, memory, flags, digests of the files above
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from ... import kernels
from ...compiler.integer import graph as ir
from ...compiler.integer import ops
from ...compiler.output import as_json, write_text
from ..bundle import VECTOR_SAMPLES, digest, sample_inputs
from . import source
from .documents import describe, documents
from .memory import Memory
from .program import RUNTIME, Program, board_files, kernel_files
from .toolchain import Toolchain

DESCRIPTION = "bundle.json"


def write_bundle(
    out: Path, graph: ir.Graph, made: Program, toolchain: Toolchain, title: str, names: Mapping[str, str]
) -> dict[str, Any]:
    """Writes all files; returns the content of bundle.json. `names`: of inputs and outputs, plain -> the user's."""
    model = made.model
    description = describe(graph, made, toolchain, names)
    write_text(out / "model.h", source.header(model, made.plan, description))
    write_text(out / "model.c", source.model_source(model, made.plan, made.codes))
    write_text(out / "model_weights.h", source.weights_source(made.codes))
    write_text(out / "model_float.c", source.border_source(model))
    values = ops.run(graph, sample_inputs(graph, VECTOR_SAMPLES), keep=True)
    write_text(out / "vectors.h", source.vectors_source(model, values))
    _copy_kernels(out / "kernels", kernel_files(made))
    _copy_board(out, toolchain, made)
    write_text(out / "LICENSE", distribution("prunus").read_text("licenses/LICENSE") or "Apache-2.0\n")
    for name, text in documents(made, toolchain, title, description).items():
        write_text(out / name, text)
    if not toolchain.embedded:
        shutil.copyfile(RUNTIME / "model.py", out / "model.py")
    description["sha256"] = {name: digest(out / name) for name in files(out)}
    write_text(out / DESCRIPTION, as_json(description))
    return description


def files(root: Path) -> tuple[str, ...]:
    """Paths of all files below a folder, sorted."""
    return tuple(sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()))


def _copy_kernels(folder: Path, names: Sequence[str]) -> None:
    sources, include = kernels.sources()
    where = sources[0].parent
    (folder / "include" / "prunus").mkdir(parents=True)
    shutil.copyfile(include / "prunus" / "kernels.h", folder / "include" / "prunus" / "kernels.h")
    for name in (*names, *(path.name for path in sorted(where.glob("*.h")))):
        shutil.copyfile(where / name, folder / name)


def _copy_board(out: Path, toolchain: Toolchain, made: Program) -> None:
    (out / "board").mkdir()
    shutil.copyfile(RUNTIME / "main.c", out / "main.c")
    shutil.copyfile(RUNTIME / "board.h", out / "board" / "board.h")
    board = board_files(toolchain)
    shutil.copyfile(RUNTIME / board[0], out / "board" / board[0])
    if toolchain.embedded:
        write_text(out / "board" / board[1], linker_script(toolchain, made.memory))


def linker_script(toolchain: Toolchain, memory: Memory) -> str:
    """For the emulated board, with as much memory as the device has."""
    text = (RUNTIME / "cortex_m.ld.in").read_text(encoding="utf-8")
    return text.format(
        code_address=toolchain.code_address,
        data_address=toolchain.data_address,
        flash_bytes=toolchain.flash_bytes,
        ram_bytes=toolchain.ram_bytes,
        stack_bytes=memory.stack_bytes,
    )
