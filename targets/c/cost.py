"""What a network costs on a core: instructions by kind of work, cycles from them, flash and RAM.

Instruction counts per unit of work are those of an emulator for the shipped code, fitted over seven networks; what a
core makes of them is its cycles per instruction, a range. Nothing here was timed on a board.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from ...compiler.model.workload import Layer, Workload
from ...compiler.quantity import Estimate, LayerCost, Quantity
from ...compiler.target import Device
from .memory import CALL_BYTES, KERNEL_PARTS, PART_BYTES, Memory, code_factor, stack_of
from .toolchain import Toolchain, toolchain_of

Bound = Literal["low", "value", "high"]
BOUNDS: tuple[Bound, ...] = ("low", "value", "high")
SOURCE = "instructions of the kernels (counted under emulation) times the core's cycles per instruction; see the device"
CHANNEL_BYTES = 12  # bias, multiplier and shift of an output channel
STRUCT_BYTES = 100  # arguments of a call
KERNELS: Mapping[str, str] = {
    "conv": "prunus_conv2d",
    "depthwise": "prunus_depthwise2d",
    "gemm": "prunus_gemm",
    "matmul": "prunus_gemm",
    "add": "prunus_add",
    "mul": "prunus_mul",
    "pool": "prunus_avgpool2d",
    "concat": "prunus_requantize",
    "elementwise": "prunus_lut",
    "softmax": "prunus_softmax",
    "move": "prunus_transpose",
}


# -- a planned network --------------------------------------------------------------------------------------------


def ram(memory: Memory) -> Quantity:
    """Arena and stack of a planned network."""
    return Quantity.within(memory.ram_bytes, 0.1, "B", "modelled", "arena as planned, stack of the deepest kernel")


def flash(memory: Memory, toolchain: Toolchain) -> Quantity:
    """Constants and code of a planned network."""
    source = "weights, tables and argument structures to the byte; code of the kernels as gcc 12.2 compiles them"
    spread = 0.1 if toolchain.embedded else 0.2
    return Quantity.within(memory.flash_bytes, spread, "B", "modelled", source)


def measured(found: Mapping[str, int], toolchain: Toolchain) -> Mapping[str, Quantity]:
    """From the linker and from a run: keys of `execute.measure_memory`."""
    flash_bytes = found["code_bytes"] + found["constant_bytes"]
    source = f"sections of the linked model, {toolchain.compiler}"
    costs = {"flash_bytes": Quantity.exact(flash_bytes, "B", "measured", source)}
    if "stack_bytes" in found:
        source = f"arena from the linker, painted stack on {toolchain.machine} (emulated)"
        ram_bytes = found["arena_bytes"] + found["stack_bytes"]
        costs["ram_bytes"] = Quantity.exact(ram_bytes, "B", "measured", source)
    return costs


# -- before lowering ----------------------------------------------------------------------------------------------


def work_of(layer: Layer, tile: tuple[int, int]) -> dict[str, float]:
    """How often each constant `instructions_…` of the device file counts for a layer."""
    outputs = float(layer.output_elements)
    if layer.op == "conv":
        depth = layer.macs / max(outputs, 1.0)
        rounds = math.ceil(layer.out_channels / layer.group / tile[1]) if depth > tile[0] else 1
        gathered = layer.macs * layer.group / max(layer.out_channels, 1)
        return {"mac": float(layer.macs), "gather": gathered * rounds, "output": outputs}
    if layer.op == "depthwise":
        return {"depthwise_mac": float(layer.macs), "output": outputs}
    if layer.op in ("gemm", "matmul"):
        return {"dense_mac": float(layer.macs), "output": outputs}
    if layer.op == "pool":
        return {"pool": float(layer.ops), "output": outputs}
    return {"element": outputs}


def _cycles(layer: Layer, device: Device, bound: Bound) -> float:
    tile = device.data["tile"]
    constants = {key: float(getattr(q, bound)) for key, q in device.data.items() if isinstance(q, Quantity)}
    work = work_of(layer, (int(tile[0]), int(tile[1])))
    count = sum(amount * constants[f"instructions_{kind}"] for kind, amount in work.items())
    return (count + constants["instructions_call"]) * constants["cycles_per_instruction"]


def _constant_bytes(layer: Layer) -> int:
    weights = layer.weights  # one byte each, whatever their range
    return weights + (CHANNEL_BYTES * layer.out_channels if weights else 0) + STRUCT_BYTES


def _layer(layer: Layer, device: Device) -> LayerCost:
    costs = {
        "flash_bytes": Quantity.exact(_constant_bytes(layer), "B", "modelled", "weights, multipliers, arguments"),
        "ram_bytes": Quantity.exact(
            layer.input_elements + layer.output_elements, "B", "modelled", "inputs and output, one byte an element"
        ),
    }
    if "cycles_per_instruction" in device.data:
        low, value, high = (_cycles(layer, device, bound) for bound in BOUNDS)
        costs["latency_cycles"] = Quantity(value, low, high, "cycles", "modelled", SOURCE)
        clock_hz = device.data["clock_hz"].value
        costs["latency_s"] = Quantity(value / clock_hz, low / clock_hz, high / clock_hz, "s", "modelled", SOURCE)
    return LayerCost(layer.name, costs)


def estimate(work: Workload, device: Device) -> Estimate:
    """Latency (where the device file has constants for it), flash and RAM of one inference, layer by layer."""
    layers = tuple(_layer(layer, device) for layer in work.layers)
    costs = {}
    for key in ("latency_cycles", "latency_s"):
        parts = [layer.costs[key] for layer in layers if key in layer.costs]
        if parts:
            low, value, high = (sum(getattr(part, bound) for part in parts) for bound in BOUNDS)
            costs[key] = Quantity(value, low, high, parts[0].unit, "modelled", SOURCE)
    kernels = {KERNELS[layer.op] for layer in work.layers}
    names = {"every"} | {part for kernel in kernels for part in KERNEL_PARTS[kernel][1]}
    code = sum(PART_BYTES[name] for name in names) + sum(KERNEL_PARTS[kernel][0] for kernel in kernels)
    code += CALL_BYTES * len(layers)
    flash_bytes = code * code_factor(toolchain_of(device)) + sum(layer.costs["flash_bytes"].value for layer in layers)
    costs["flash_bytes"] = Quantity.within(flash_bytes, 0.2, "B", "modelled", "weights, multipliers and kernels")
    live = max((layer.costs["ram_bytes"].value for layer in layers), default=0.0)
    stack = max((stack_of(kernel, tuple(device.data.get("tile", (512, 128)))) for kernel in kernels), default=0)
    source = "largest layer's inputs and output, stack; high: a branch kept beside them"
    costs["ram_bytes"] = Quantity(live + stack, live, 1.5 * live + stack, "B", "modelled", source)
    combine: dict[str, Literal["sum", "max", "opaque"]] = {
        key: "sum" if key.startswith("latency") else "opaque" for key in costs
    }
    return Estimate(costs, layers, combine)
