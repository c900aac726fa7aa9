"""How much flash and RAM a network takes, predicted before anything is compiled.

Arena and constants are known to the byte. The sizes of the kernels' code and stack frames below are those of
arm-none-eabi-gcc 12.2 at -O2 for Thumb-2, the mean of Cortex-M3, -M4 and -M55, which differ by some percent. On other
machines the code counts `CODE_FACTORS` times: gcc 12.2 at -O3, the sections of linked models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...compiler.errors import UnsupportedError
from ...compiler.integer import graph as ir
from ...compiler.target import Device
from .arena import Plan
from .calls import Code
from .toolchain import Toolchain

# bytes of an argument structure on a 32-bit machine, by type
STRUCT_BYTES: Mapping[str, int] = {
    "prunus_conv2d_args": 116,
    "prunus_gemm_args": 56,
    "prunus_binary_args": 104,
    "prunus_requant_args": 64,
    "prunus_pool2d_args": 76,
    "prunus_epilogue": 36,
    "prunus_softmax_args": 40,
    "prunus_slice_args": 104,
    "prunus_transpose_args": 52,
    "prunus_resize_args": 24,
}

# bytes of code, by what kernels share
PART_BYTES: Mapping[str, int] = {
    "every": 830,  # argument checks, the requantization
    "product": 450,  # the tile's inner loops
    "window": 590,  # checks of a window, memset
    "conv": 1410,
    "depthwise": 1150,
    "gemm": 520,
    "pool": 380,
    "binary": 790,
    "division": 710,  # of 64-bit integers, from the compiler's library
    "shape": 35,
}
_CONV = ("product", "window", "conv")
KERNEL_PARTS: Mapping[str, tuple[int, tuple[str, ...]]] = {  # kernel -> (bytes of its own, parts)
    "prunus_conv2d": (0, _CONV),
    "prunus_depthwise2d": (0, ("depthwise", *_CONV)),
    "prunus_gemm": (0, ("gemm", "product")),
    "prunus_add": (680, ("binary",)),
    "prunus_mul": (125, ("binary",)),
    "prunus_requantize": (300, ()),
    "prunus_lut": (55, ()),
    "prunus_maxpool2d": (335, ("pool", "window")),
    "prunus_avgpool2d": (570, ("pool", "window")),
    "prunus_softmax": (450, ("division",)),
    "prunus_slice": (425, ("shape",)),
    "prunus_transpose": (365, ("shape",)),
    "prunus_resize_nearest": (255, ("shape",)),
}
FLOAT_SCHEME_BYTES = 500  # what multipliers of float32 add where there is a unit for them
CALL_BYTES = 32
ACCESS_BYTES = 8  # of a function that tells where an input or output stands

CODE_FACTORS: Mapping[str, float] = {  # what a compiler's name begins with -> code beside Thumb-2's
    "arm-none-eabi": 1.0,
    "arm-linux-gnueabihf": 1.7,
    "aarch64-linux-gnu": 3.3,
    "riscv64-linux-gnu": 1.4,
}
OTHER_CODE_FACTOR = 3.0  # x86-64

# bytes of stack from main to the deepest function; kernels on tiles hold theirs besides
FRAME_BYTES: Mapping[str, int] = {
    "prunus_conv2d": 840,
    "prunus_depthwise2d": 850,
    "prunus_gemm": 560,
    "prunus_add": 900,
    "prunus_mul": 1150,
    "prunus_avgpool2d": 960,
    "prunus_requantize": 750,
}
OTHER_FRAME_BYTES = 350
TILED = ("prunus_conv2d", "prunus_gemm")
TILE_PIXELS = 8  # PRUNUS_I_PIXELS
DEFAULT_TILE = (512, 128)  # of the kernels, without macros


@dataclass(frozen=True)
class Memory:
    """All in bytes. `constant_bytes`: weights, biases, multipliers, tables, argument structures."""

    arena_bytes: int
    stack_bytes: int
    constant_bytes: int
    code_bytes: int

    @property
    def ram_bytes(self) -> int:
        return self.arena_bytes + self.stack_bytes

    @property
    def flash_bytes(self) -> int:
        return self.constant_bytes + self.code_bytes


def predict(
    graph: ir.Graph, plan: Plan, codes: Sequence[Code], tile: tuple[int, int] | None, toolchain: Toolchain
) -> Memory:
    """The memory of a network with its kernels."""
    constants = sum(values.nbytes for code in codes for values in code.arrays.values())
    constants += sum(STRUCT_BYTES[kind] for code in codes for kind, _ in code.structs.values())
    kernels = {call.kernel for code in codes for call in code.calls}
    code_bytes = int(_code_bytes(graph, codes, kernels) * code_factor(toolchain))
    stack_bytes = max(stack_of(kernel, tile or DEFAULT_TILE) for kernel in kernels)
    return Memory(plan.arena_bytes, stack_bytes, constants, code_bytes)


def code_factor(toolchain: Toolchain) -> float:
    """How large the toolchain's code is beside that of a Cortex-M."""
    return CODE_FACTORS.get(toolchain.compiler.removesuffix("-gcc"), OTHER_CODE_FACTOR)


def _code_bytes(graph: ir.Graph, codes: Sequence[Code], kernels: set[str]) -> int:
    parts = {"every"} | {part for kernel in kernels for part in KERNEL_PARTS[kernel][1]}
    own = sum(KERNEL_PARTS[kernel][0] for kernel in kernels)
    calls = CALL_BYTES * sum(len(code.calls) for code in codes)
    access = ACCESS_BYTES * (len(graph.inputs) + len(graph.outputs))
    floats = any(isinstance(op, ir.Fused) and op.requant.scheme == "f32" for op in graph.ops)
    return own + sum(PART_BYTES[part] for part in parts) + calls + access + FLOAT_SCHEME_BYTES * floats


def stack_of(kernel: str, tile: tuple[int, int]) -> int:
    """The stack of one kernel, from main on."""
    depth, channels = tile
    tile_bytes = TILE_PIXELS * ((depth + 16) * 2 + channels * 4)
    return FRAME_BYTES.get(kernel, OTHER_FRAME_BYTES) + (tile_bytes if kernel in TILED else 0)


def _flash_hint(device: Device) -> str:
    limit = device.resources["flash_bytes"].value if "flash_bytes" in device.resources else 0
    return f"Prune it to fit, `--budget flash={limit / 1024:.0f}kib`, or choose a device with more flash."


def refuse_too_large(memory: Memory, device: Device) -> None:
    """Raises UnsupportedError that names the resource which the network exceeds, the one it exceeds most."""
    needs = {
        "flash_bytes": (memory.flash_bytes, _flash_hint(device)),
        "ram_bytes": (memory.ram_bytes, "The largest feature maps decide: choose a smaller input or more RAM."),
    }
    shares = {key: needs[key][0] / limit.value for key, limit in device.resources.items() if key in needs}
    binding = max(shares, key=shares.__getitem__, default="")
    if binding and shares[binding] > 1:
        amount, hint = needs[binding]
        limit = device.resources[binding]
        raise UnsupportedError(
            f"The network needs {amount} bytes of {binding.removesuffix('_bytes')}; the device has {limit.value:.0f}.",
            code=f"{binding.removesuffix('_bytes')}-too-small",
            where=device.name,
            why=f"{binding} is the binding resource, {shares[binding]:.2f} times what there is ({limit.source}).",
            hint=hint,
        )
