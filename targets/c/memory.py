"""How much flash and RAM a network takes, predicted before anything is compiled.

Arena and constants are known to the byte. The code's size and the kernels' stack are those of gcc 12 for the same
kernels, measured once per family of cores; `Toolchain` says which.
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
    return Memory(plan.arena_bytes, 0, constants, 0)


def refuse_too_large(memory: Memory, device: Device) -> None:
    """Raises UnsupportedError that names the resource which the network exceeds."""
    needs = {
        "flash_bytes": (memory.flash_bytes, "Prune the network, or choose a device with more flash."),
        "ram_bytes": (memory.ram_bytes, "The largest feature maps decide: a smaller input, or more RAM."),
    }
    for key, (amount, hint) in needs.items():
        available = device.resources.get(key)
        if available is not None and amount > available.value:
            raise UnsupportedError(
                f"The network needs {amount} bytes of {key.removesuffix('_bytes')}.",
                code=f"{key.removesuffix('_bytes')}-too-small",
                where=device.name,
                why=f"{key} is binding: the device has {available.value:.0f} ({available.source}).",
                hint=hint,
            )
