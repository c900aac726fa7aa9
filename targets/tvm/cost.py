"""What a network costs on a CPU: a roofline before lowering, a measurement after it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from ...compiler.model.workload import Layer, Workload
from ...compiler.quantity import Estimate, LayerCost, Quantity
from ...compiler.target import Device

Bound = Literal["low", "value", "high"]
MEASURE_S = 0.5  # of runs, after a warm-up
SOURCE = "roofline of the portable kernels, one thread; constants of the device file"
BOUNDS: tuple[Bound, ...] = ("low", "value", "high")


def _arithmetic(layer: Layer) -> dict[str, float]:
    """How often each constant of the device file counts for a layer: what the loops of the portable kernels do."""
    if layer.op == "depthwise":
        channels, height = layer.out_shape[0], layer.out_shape[1]
        return {"depthwise_row_s": channels * height * layer.kernel[0], "depthwise_mac_s": layer.macs}
    if layer.op == "pool":
        return {"pool_op_s": layer.ops}
    if layer.macs == 0:
        return {"op_s": layer.ops}
    counts = {"mac_s": float(layer.macs), "output_s": float(layer.output_elements)}
    if layer.op == "conv" and layer.kernel != (1, 1):
        counts["gather_s"] = layer.macs / max(layer.out_channels, 1)  # every pixel's window is copied once
    return counts


def _latency_s(layer: Layer, device: Device, bound: Bound) -> float:
    """max(arithmetic, memory traffic) plus the cost of a call. Zeros cost as much as any other weight."""
    constants = {key: float(getattr(q, bound)) for key, q in device.data.items() if isinstance(q, Quantity)}
    arithmetic_s = sum(count * constants[key] for key, count in _arithmetic(layer).items())
    traffic_bytes = layer.weight_bytes + layer.input_bytes + layer.output_bytes
    return max(arithmetic_s, traffic_bytes * constants["byte_s"]) + constants["call_s"]


def _layer(layer: Layer, device: Device) -> LayerCost:
    low, value, high = (_latency_s(layer, device, bound) for bound in BOUNDS)
    costs = {
        "latency_s": Quantity(value, low, high, "s", "modelled", SOURCE),
        "flash_bytes": Quantity.exact(layer.weight_bytes, "B", "modelled", "weights"),
        "ram_bytes": Quantity.exact(layer.input_bytes + layer.output_bytes, "B", "modelled", "inputs and output"),
    }
    return LayerCost(layer.name, costs)


def estimate(work: Workload, device: Device) -> Estimate:
    """Latency of one sample on one thread, size of the library, largest pair of live activations; layer by layer."""
    layers = tuple(_layer(layer, device) for layer in work.layers)
    low, value, high = (sum(getattr(layer.costs["latency_s"], bound) for layer in layers) for bound in BOUNDS)
    code = device.data["code_bytes"]
    size = code.value + sum(layer.costs["flash_bytes"].value for layer in layers)
    ram = max((layer.costs["ram_bytes"].value for layer in layers), default=0.0)
    return Estimate(
        {
            "latency_s": Quantity(value, low, high, "s", "modelled", SOURCE),
            "flash_bytes": Quantity(
                size,
                size + code.low - code.value,
                size + code.high - code.value,
                "B",
                "modelled",
                f"weights and code; {code.source}",
            ),
            "ram_bytes": Quantity(ram, ram, 2 * ram, "B", "modelled", "largest layer's inputs and output"),
        },
        layers,
        {"latency_s": "sum", "flash_bytes": "opaque", "ram_bytes": "max"},
    )


def library_size(library: Path) -> Quantity:
    """What the library takes in flash or on disk."""
    return Quantity.exact(library.stat().st_size, "B", "measured", "size of model.so: weights and code")
