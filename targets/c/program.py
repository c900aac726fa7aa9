"""A network ready to be written: its border, its places in the arena, its calls, and the files and flags it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ...compiler.errors import UnsupportedError
from ...compiler.integer import graph as ir
from .arena import Plan, plan
from .calls import Code, code
from .interface import Interface, interface
from .memory import Memory, predict
from .toolchain import Toolchain

RUNTIME = Path(__file__).parent / "runtime"  # files that are copied into bundles, and templates

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
    return ("-Wl,-e,prunus_model_run", *(f"-Wl,-u,prunus_model_{symbol}" for symbol, _ in model.values()))


def board_files(toolchain: Toolchain) -> tuple[str, ...]:
    """The C file and, without an operating system, the linker script of the example's board."""
    return ("cortex_m.c", "cortex_m.ld") if toolchain.embedded else ("linux.c",)


def link_flags(toolchain: Toolchain) -> tuple[str, ...]:
    """For the example."""
    if not toolchain.embedded:
        return ("-Wl,--gc-sections",)
    return ("-nostartfiles", "-Wl,--gc-sections", "-Wl,-T,board/cortex_m.ld")


def size_flags(toolchain: Toolchain) -> tuple[str, ...]:
    """For the model alone, whose sections are weighed: what a microcontroller holds in flash, an operating system's
    library left out."""
    library = () if toolchain.embedded else ("-nostdlib", "-Wl,--unresolved-symbols=ignore-all")
    return ("-nostartfiles", "-Wl,--gc-sections", *library)
