"""What the int8 network costs on a GPU: a roofline with the figures of a data sheet, batch 1."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ...compiler.model.workload import Layer, Workload
from ...compiler.quantity import Estimate, LayerCost, Quantity
from ...compiler.target import Device
from .sparse import GROUP, INDEX_BITS, KEPT

Bound = Literal["low", "value", "high"]
BOUNDS: tuple[Bound, ...] = ("low", "value", "high")
SOURCE = "roofline of the int8 network, batch 1; figures of the data sheet in the device file"


def is_sparse(layer: Layer, device: Device) -> bool:
    """Whether the device skips the layer's zeros."""
    pattern = layer.sparsity.kind == "n_m" and layer.sparsity.block == (KEPT, GROUP)
    return pattern and layer.group == 1 and "sparse_speedup" in device.data


def weight_bytes(layer: Layer, device: Device) -> float:
    """What is stored of the weights: in the pattern, half of them and their places."""
    if not is_sparse(layer, device):
        return float(layer.weight_bytes)
    return layer.weights * KEPT / GROUP * (layer.weight_bits + INDEX_BITS) / 8


def _latency_s(layer: Layer, device: Device, bound: Bound) -> float:
    """max(arithmetic, memory traffic) plus the launch of a kernel."""
    mac_s, op_s, byte_s, launch_s = (
        float(getattr(device.data[key], bound)) for key in ("mac_s", "op_s", "byte_s", "launch_s")
    )
    speedup = float(device.data["sparse_speedup"].value) if is_sparse(layer, device) else 1.0
    arithmetic_s = layer.macs * mac_s / speedup + layer.ops * op_s
    traffic_bytes = weight_bytes(layer, device) + layer.input_bytes + layer.output_bytes
    return max(arithmetic_s, traffic_bytes * byte_s) + launch_s


def _layer(layer: Layer, device: Device) -> LayerCost:
    low, value, high = (_latency_s(layer, device, bound) for bound in BOUNDS)
    costs = {
        "latency_s": Quantity(value, low, high, "s", "modelled", SOURCE),
        "ram_bytes": Quantity.exact(layer.input_bytes + layer.output_bytes, "B", "modelled", "inputs and output"),
    }
    return LayerCost(layer.name, costs)


def estimate(work: Workload, device: Device) -> Estimate:
    """Latency of one sample, size of the weights, largest pair of live activations; layer by layer."""
    layers = tuple(_layer(layer, device) for layer in work.layers)
    low, value, high = (sum(getattr(layer.costs["latency_s"], bound) for layer in layers) for bound in BOUNDS)
    weights = sum(weight_bytes(layer, device) for layer in work.layers)
    ram = max((layer.costs["ram_bytes"].value for layer in layers), default=0.0)
    return Estimate(
        {
            "latency_s": Quantity(value, low, high, "s", "modelled", SOURCE),
            "flash_bytes": Quantity(
                weights, weights, 2 * weights, "B", "modelled", "int8 weights as the GPU reads them"
            ),
            "ram_bytes": Quantity(ram, ram, 2 * ram, "B", "modelled", "largest layer's inputs and output"),
        },
        layers,
        {"latency_s": "sum", "flash_bytes": "opaque", "ram_bytes": "max"},
        notes=("No GPU was measured: latency is a roofline between the data sheet's peak and a tenth of it.",),
    )


def model_size(path: Path) -> Quantity:
    """What the int8 model takes on disk, its zeros included."""
    return Quantity.exact(path.stat().st_size, "B", "measured", f"size of {path.name}")
