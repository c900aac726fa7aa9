"""What a network costs on a core: cycles by kind of work, flash and RAM."""

from __future__ import annotations

from collections.abc import Mapping

from ...compiler.model.workload import Workload
from ...compiler.quantity import Estimate, Quantity
from ...compiler.target import Device
from .memory import Memory
from .toolchain import Toolchain


def ram(memory: Memory) -> Quantity:
    """Arena and stack of a planned network."""
    return Quantity.within(memory.ram_bytes, 0.1, "B", "modelled", "arena as planned, stack of the deepest kernel")


def flash(memory: Memory) -> Quantity:
    """Constants and code of a planned network."""
    source = "weights, tables and argument structures to the byte; code of the kernels as gcc 12 compiles them"
    return Quantity.within(memory.flash_bytes, 0.1, "B", "modelled", source)


def measured(found: Mapping[str, int], toolchain: Toolchain) -> Mapping[str, Quantity]:
    """From the linker and from a run."""
    flash_bytes = found["code_bytes"] + found["constant_bytes"]
    costs = {
        "flash_bytes": Quantity.exact(flash_bytes, "B", "measured", f"sections of model.elf, {toolchain.compiler}")
    }
    if "stack_bytes" in found:
        source = f"arena, and a painted stack on {toolchain.machine} (emulated)"
        costs["ram_bytes"] = Quantity.exact(found["arena_bytes"] + found["stack_bytes"], "B", "measured", source)
    return costs


def estimate(work: Workload, device: Device) -> Estimate:
    """To come."""
    return Estimate({})
