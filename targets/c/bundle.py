"""The folder that is handed over.

model.h  model.c  model_weights.h    the network; `source.py` says what is in them
model_float.c                        quantization of float inputs, dequantization of outputs
kernels/                             the portable kernels that the network calls
main.c  vectors.h  board/            an example that runs the test vectors, and what it needs of a board
Makefile  CMakeLists.txt  README.md  LICENSE
bundle.json                          names, shapes, types, memory, flags, digests of the files above
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

from ... import kernels
from ...compiler.errors import UnsupportedError
from ...compiler.integer import graph as ir
from ...compiler.integer import ops
from ...compiler.output import as_json, write_text
from ..bundle import VECTOR_SAMPLES, digest, sample_inputs
from . import source
from .arena import Plan, plan
from .calls import Code, code
from .interface import Interface, interface
from .memory import Memory, predict
from .toolchain import Toolchain

SCHEMA = "prunus.c-bundle/1"
DESCRIPTION = "bundle.json"
RUNTIME = Path(__file__).parent / "runtime"

# kernel -> the files that define it and what it calls; check.c and epilogue.c belong to all
_PRODUCTS = ("conv.c", "tile.c")
KERNEL_FILES: Mapping[str, tuple[str, ...]] = {
    "prunus_conv2d": _PRODUCTS,
    "prunus_depthwise2d": ("depthwise.c", *_PRODUCTS),
    "prunus_gemm": ("gemm.c", "tile.c"),
    "prunus_add": ("elementwise.c",),
    "prunus_mul": ("elementwise.c",),
    "prunus_requantize": ("elementwise.c",),
    "prunus_lut": ("elementwise.c",),
    "prunus_maxpool2d": ("pool.c",),
    "prunus_avgpool2d": ("pool.c",),
    "prunus_softmax": ("softmax.c",),
    "prunus_slice": ("move.c",),
    "prunus_transpose": ("move.c",),
    "prunus_resize_nearest": ("move.c",),
}


@dataclass(frozen=True)
class Program:
    """A network ready to be written: its border, its places in the arena, its calls."""

    model: Interface
    plan: Plan
    codes: tuple[Code, ...]
    tile: tuple[int, int] | None
    memory: Memory

    @property
    def macros(self) -> tuple[str, ...]:
        """Compiler flags that fit the kernels to the network: no float32 code where no multiplier is one, and a tile on
        the stack that is no larger than the network's products."""
        floats = any(isinstance(op, ir.Fused) and op.requant.scheme == "f32" for op in self.model.core.ops)
        macros = () if floats else ("-DPRUNUS_HAS_F32=0",)
        if self.tile is None:
            return macros
        return (*macros, f"-DPRUNUS_TILE_DEPTH={self.tile[0]}", f"-DPRUNUS_TILE_CHANNELS={self.tile[1]}")

    @property
    def kernels(self) -> tuple[str, ...]:
        """The kernels that it calls, sorted."""
        return tuple(sorted({call.kernel for each in self.codes for call in each.calls}))


def program(graph: ir.Graph, toolchain: Toolchain) -> Program:
    """Lowers a graph whose operators `check` has accepted. Raises UnsupportedError where nothing integer is in it."""
    model = interface(graph)
    codes = tuple(code(model.core, op) for op in model.core.ops)
    if not any(each.calls for each in codes):
        raise UnsupportedError(
            "The network has no integer operators.",
            code="nothing-integer",
            hint="`prunus check` names the reason of every float layer.",
        )
    placed = plan(model.core)
    tile = _tile(model.core, toolchain.tile)
    memory = predict(model.core, placed, codes, tile, toolchain)
    return Program(model, placed, codes, tile, memory)


def _tile(graph: ir.Graph, limit: tuple[int, int] | None) -> tuple[int, int] | None:
    """(depth, channels) of the product tile, as large as the network needs within the device's limit."""
    if limit is None:
        return None
    layers = [op for op in graph.ops if isinstance(op, ir.Linear)]
    depth = max((op.weight[0].size for op in layers), default=1)
    channels = max((op.weight.shape[0] for op in layers), default=1)
    return min(limit[0], max(16, -(-depth // 8) * 8)), min(limit[1], max(8, -(-channels // 8) * 8))


def write_bundle(out: Path, graph: ir.Graph, made: Program, toolchain: Toolchain, title: str) -> dict[str, Any]:
    """Writes all files; returns the content of bundle.json."""
    model = made.model
    write_text(out / "model.h", source.header(model, made.plan))
    write_text(out / "model.c", source.model_source(model, made.plan, made.codes))
    write_text(out / "model_weights.h", source.weights_source(made.codes))
    write_text(out / "model_float.c", source.border_source(model))
    values = ops.run(graph, sample_inputs(graph, VECTOR_SAMPLES), keep=True)
    write_text(out / "vectors.h", source.vectors_source(model, values))
    _copy_kernels(out / "kernels", kernel_files(made))
    _copy_board(out, toolchain, made)
    write_text(out / "LICENSE", distribution("prunus").read_text("licenses/LICENSE") or "Apache-2.0\n")
    description = _description(graph, made, toolchain)
    for name, text in _documents(made, toolchain, title, description).items():
        write_text(out / name, text)
    description["sha256"] = {name: digest(out / name) for name in files(out)}
    write_text(out / DESCRIPTION, as_json(description))
    return description


def files(root: Path) -> tuple[str, ...]:
    """Paths of all files below a folder, sorted."""
    return tuple(sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()))


def kernel_files(made: Program) -> tuple[str, ...]:
    """Names of the portable kernels' files that the network needs, sorted."""
    border = ("border.c",) if made.model.quantize or made.model.dequantize else ()
    called = {name for kernel in made.kernels for name in KERNEL_FILES[kernel]}
    return tuple(sorted({*called, *border, "check.c", "epilogue.c"}))


def model_sources(made: Program) -> tuple[str, ...]:
    """The C files of model and kernels, relative to the bundle; without model_float.c."""
    return ("model.c", *(f"kernels/{name}" for name in kernel_files(made)))


def keep_flags(model: Interface) -> tuple[str, ...]:
    """Linker flags that keep what a caller needs, for a program without one."""
    names = [f"prunus_model_input_{name}" for name in model.core.inputs]
    names += [f"prunus_model_output_{name}" for name in model.core.outputs]
    return ("-Wl,-e,prunus_model_run", *(f"-Wl,-u,{name}" for name in names))


def _copy_kernels(folder: Path, names: Sequence[str]) -> None:
    sources, include = kernels.sources()
    where = sources[0].parent
    (folder / "include" / "prunus").mkdir(parents=True)
    shutil.copyfile(include / "prunus" / "kernels.h", folder / "include" / "prunus" / "kernels.h")
    for name in (*names, *(path.name for path in sorted(where.glob("*.h")))):
        shutil.copyfile(where / name, folder / name)


def board_files(toolchain: Toolchain) -> tuple[str, ...]:
    """The C file and, without an operating system, the linker script of the example's board."""
    return ("cortex_m.c", "cortex_m.ld") if toolchain.embedded else ("linux.c",)


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


def link_flags(toolchain: Toolchain) -> tuple[str, ...]:
    """For the example."""
    if not toolchain.embedded:
        return ("-Wl,--gc-sections",)
    return ("-nostartfiles", "-Wl,--gc-sections", "-Wl,-T,board/cortex_m.ld")


# -- documents ----------------------------------------------------------------------------------------------------


def _value(model: Interface, name: str) -> dict[str, Any]:
    tensor = model.core.tensors[name]
    quant = model.core.quant(name)
    return {
        "name": name,
        "dtype": source.c_type(tensor)[:-2],
        "shape": list(tensor.shape),
        "scale": quant.scale,
        "zero_point": quant.zero_point,
    }


def _description(graph: ir.Graph, made: Program, toolchain: Toolchain) -> dict[str, Any]:
    model = made.model
    return {
        "schema": SCHEMA,
        "inputs": [_value(model, name) for name in model.core.inputs],
        "outputs": [_value(model, name) for name in model.core.outputs],
        "host": [op.name for op in graph.ops if isinstance(op, ir.Island)],
        "memory": {
            "arena_bytes": made.plan.arena_bytes,
            "live_bytes": made.plan.live_bytes,
            "stack_bytes": made.memory.stack_bytes,
            "constant_bytes": made.memory.constant_bytes,
            "code_bytes": made.memory.code_bytes,
        },
        "kernels": list(made.kernels),
        "compiler": {"name": toolchain.compiler, "flags": list(toolchain.compile_flags(made.macros))},
        "toolchain": asdict(toolchain),
    }


def _documents(made: Program, toolchain: Toolchain, title: str, description: Mapping[str, Any]) -> dict[str, str]:
    flags = " ".join(toolchain.compile_flags(made.macros))
    sources = " ".join(model_sources(made))
    runner = " ".join(toolchain.runner())
    makefile = _template("Makefile.in").format(
        title=title,
        compiler=toolchain.compiler,
        size_tool=toolchain.size_tool,
        flags=flags,
        model_sources=sources,
        keep=" ".join(keep_flags(made.model)),
        board=board_files(toolchain)[0],
        link=" ".join(link_flags(toolchain)),
        emulator=f"{runner} " if runner else "",
    )
    if toolchain.embedded:
        makefile = makefile.replace("$(FLAGS) $(INCLUDE) main.c", f"$(FLAGS) {toolchain.tick_flag} $(INCLUDE) main.c")
    lists = _template("CMakeLists.txt.in").format(
        model_sources="\n  ".join(model_sources(made)), macros=" ".join(made.macros)
    )
    return {"Makefile": makefile, "CMakeLists.txt": lists, "README.md": _readme(made, title, flags, description)}


def _template(name: str) -> str:
    return (RUNTIME / name).read_text(encoding="utf-8")


def _readme(made: Program, title: str, flags: str, description: Mapping[str, Any]) -> str:
    model, memory = made.model, made.memory
    values = [
        f"* {kind} `{value['name']}`: {value['dtype']} {value['shape']}, real = (q - {value['zero_point']}) * "
        f"{value['scale']:.9g}"
        for kind in ("input", "output")
        for value in description[f"{kind}s"]
    ]
    first, last = (names[0] if names else "NAME" for names in (model.core.inputs, model.core.outputs))
    example = (
        f"memcpy(prunus_model_input_{first}(), x, PRUNUS_MODEL_INPUT_{first}_BYTES);\n"
        "if (prunus_model_run() != PRUNUS_OK) return 1;\n"
        f"memcpy(y, prunus_model_output_{last}(), PRUNUS_MODEL_OUTPUT_{last}_BYTES);"
    )
    leftover = "\nA float layer at the end (Softmax, say) is left to the caller.\n" if description["host"] else ""
    return _template("README.md.in").format(
        summary=f"{len(model.core.ops)} operators on {', '.join(made.kernels)}.",
        title=title,
        flags=flags,
        example=example,
        values="\n".join(values),
        leftover=leftover,
        arena_bytes=made.plan.arena_bytes,
        constant_bytes=memory.constant_bytes,
        stack_bytes=memory.stack_bytes,
    )
