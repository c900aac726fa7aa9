"""What a network costs on a CPU, before lowering: the limit model of the kernels.

    seconds = MACs / rate + weight bytes / bandwidth + outputs * o     for products, blocks of zeros left out
    seconds = bytes in and out / rate                                  for what moves or adds

On this machine `kernels.predict` knows the rates; a device file that has `mac_s` gives those of its processor, from
its data sheet. Both leave out what a step and a run cost besides: constants of the device file.
"""

from __future__ import annotations

from functools import lru_cache
from math import prod

from ... import kernels
from ...compiler.model.workload import Layer, Workload
from ...compiler.quantity import Estimate, LayerCost, Quantity
from ...compiler.target import Device

BOUNDS = ("low", "value", "high")
PRODUCTS = ("conv", "depthwise", "gemm", "matmul")

Shape = tuple[int, ...]


@lru_cache(maxsize=1 << 14)
def _predicted_s(
    _source: str,
    x_shape: Shape,
    w_shape: Shape,
    density: float,
    block: tuple[int, int],
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    group: int = 1,
) -> float:
    """Searches ask for the same layers again and again; `_source` names the constants that the answer rests on."""
    return kernels.predict(x_shape, w_shape, density, block, strides=strides, pads=pads, group=group).seconds


def _density(layer: Layer) -> tuple[float, tuple[int, int]]:
    """Share of the blocks that count, and their size."""
    sparsity = layer.sparsity
    if sparsity.kind in ("weight", "n_m"):
        return 1 - layer.zero_fraction, (1, 1)
    return (sparsity.density, sparsity.block) if sparsity.kind == "block" else (1.0, (1, 1))


def _here_s(layer: Layer, source: str) -> float:
    """What the limit model predicts for the best kernel of this machine, zeros skipped."""
    density, block = _density(layer)
    if layer.op in ("gemm", "matmul"):
        x_shape, w_shape = (prod(layer.in_shape[:-1]), layer.in_channels), (layer.out_channels, layer.in_channels)
        return _predicted_s(source, x_shape, w_shape, density, block)
    height, width = prod(layer.in_shape[1:-1]), layer.in_shape[-1]  # a 1-D convolution has height 1
    x, w = (1, layer.in_channels, height, width), (layer.out_channels, layer.in_channels // layer.group, *layer.kernel)
    return _predicted_s(source, x, w, density, block, layer.strides, layer.pads, layer.group)


def _there_s(layer: Layer, device: Device, bound: str) -> float:
    """The same with the constants of a data sheet. The kernels skip blocks; single zeros take their time."""
    skipped = layer.sparsity.kind == "block"
    density = layer.sparsity.density if skipped else 1.0
    rate = device.data["depthwise_mac_s" if layer.op == "depthwise" else "mac_s"]
    terms = (
        (layer.macs * density, rate),
        (layer.weight_bytes * density, device.data["weight_byte_s"]),
        (layer.output_elements, device.data["output_s"]),
    )
    return sum(amount * float(getattr(constant, bound)) for amount, constant in terms)


def _latency_s(layer: Layer, device: Device, source: str, bound: str) -> float:
    def constant(name: str) -> float:
        return float(getattr(device.data[name], bound))

    if layer.op not in PRODUCTS:
        return (layer.input_bytes + layer.output_bytes) * constant("simd_byte_s") + constant("step_s")
    if "mac_s" in device.data:
        return _there_s(layer, device, bound) + constant("step_s")
    return _here_s(layer, source) * constant("kernel_time_ratio") + constant("step_s")


def _layer(layer: Layer, device: Device, source: str) -> LayerCost:
    low, value, high = (_latency_s(layer, device, source, bound) for bound in BOUNDS)
    stored = layer.weight_bytes * (layer.sparsity.density if layer.sparsity.kind == "block" else 1.0)
    costs = {
        "latency_s": Quantity(value, low, high, "s", "modelled", source),
        "flash_bytes": Quantity.exact(stored, "B", "modelled", "weights, blocks of zeros left out"),
        "ram_bytes": Quantity.exact(layer.input_bytes + layer.output_bytes, "B", "modelled", "inputs and output"),
    }
    return LayerCost(layer.name, costs)


def _source(device: Device) -> str:
    """Without the paths in `kernels.costs().source`: reports of two users are the same bytes."""
    if "mac_s" in device.data:
        constants = f"constants of {device.title or device.name}"
    elif kernels.costs().source.startswith("measured"):
        constants = "constants measured on this machine"
    else:
        constants = "default constants of the instruction sets"
    return f"limit model of the kernels, one thread; {constants}"


def estimate(work: Workload, device: Device, *, run: str, code: str) -> Estimate:
    """Latency of one sample on one thread, size of the bundle, largest pair of live activations; layer by layer.

    `run` and `code` name the device's constants for what a run costs besides its layers, and for a bundle's bytes
    besides the weights.
    """
    source = _source(device)
    layers = tuple(_layer(layer, device, source) for layer in work.layers)
    fixed, library = device.data[run], device.data[code]
    low, value, high = (
        getattr(fixed, bound) + sum(getattr(layer.costs["latency_s"], bound) for layer in layers) for bound in BOUNDS
    )
    weights = sum(layer.costs["flash_bytes"].value for layer in layers)
    size = (weights + library.value, weights + library.low, weights + library.high)
    ram = max((layer.costs["ram_bytes"].value for layer in layers), default=0.0)
    return Estimate(
        {
            "latency_s": Quantity(value, low, high, "s", "modelled", source),
            "flash_bytes": Quantity(*size, "B", "modelled", f"weights and library; {library.source}"),
            "ram_bytes": Quantity(ram, ram, 2 * ram, "B", "modelled", "largest layer's inputs and output"),
        },
        layers,
        {"latency_s": "sum", "flash_bytes": "opaque", "ram_bytes": "max"},
    )
