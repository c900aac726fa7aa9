"""What a network costs on a CPU: a roofline before lowering, a measurement after it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...compiler.model.workload import Layer, Workload
from ...compiler.quantity import Estimate, LayerCost, Quantity
from ...compiler.target import Device

MEASURE_S = 0.5  # of runs, after a warm-up

# The constant of the device file that bounds a layer's multiply-accumulates; all others use the matrix product's.
_MAC_RATES: Mapping[str, str] = {"conv": "conv_macs_per_s", "depthwise": "depthwise_macs_per_s"}


def _layer(layer: Layer, device: Device) -> LayerCost:
    """Latency as max(arithmetic, memory traffic) plus the cost of a call. Zeros cost as much as any other weight."""
    rate: Quantity = device.data[_MAC_RATES.get(layer.op, "gemm_macs_per_s")]
    traffic_bytes = layer.weight_bytes + layer.input_bytes + layer.output_bytes
    other_s = layer.ops / device.data["ops_per_s"].value
    memory_s = traffic_bytes / device.data["bytes_per_s"].value

    call_s: float = device.data["call_s"].value

    def latency(macs_per_s: float) -> float:
        return float(max(layer.macs / macs_per_s + other_s, memory_s) + call_s)

    value = latency(rate.value)
    costs = {
        "latency_s": Quantity(value, latency(rate.high), latency(rate.low), "s", "modelled", rate.source),
        "flash_bytes": Quantity.exact(layer.weight_bytes, "B", "modelled", "weights"),
        "ram_bytes": Quantity.exact(layer.input_bytes + layer.output_bytes, "B", "modelled", "inputs and output"),
    }
    return LayerCost(layer.name, costs)


def estimate(work: Workload, device: Device) -> Estimate:
    """Latency of one sample on one thread, size of the library, largest pair of live activations; layer by layer."""
    layers = tuple(_layer(layer, device) for layer in work.layers)
    parts = [layer.costs["latency_s"] for layer in layers]
    low, value, high = (sum(getattr(part, field) for part in parts) for field in ("low", "value", "high"))
    code = device.data["code_bytes"]
    size = code.value + sum(layer.costs["flash_bytes"].value for layer in layers)
    ram = max((layer.costs["ram_bytes"].value for layer in layers), default=0.0)
    source = "roofline over the layers, one thread; rates from the device file"
    return Estimate(
        {
            "latency_s": Quantity(value, low, high, "s", "modelled", source),
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


def measured_latency(seconds: npt.NDArray[Any], compiler: Mapping[str, Any]) -> Quantity:
    """Median latency of one sample with the 10th and 90th percentile. compiler: `version` and `flags` of the bundle."""
    low, median, high = (float(value) for value in np.quantile(seconds, (0.1, 0.5, 0.9)))
    source = (
        f"{len(seconds)} runs of model.so, batch 1, one thread, 10th to 90th percentile; {processor()}; "
        f"{compiler['version']}; {' '.join(compiler['flags'])}"
    )
    return Quantity(median, low, high, "s", "measured", source)


def library_size(library: Path) -> Quantity:
    """What the library takes in flash or on disk."""
    return Quantity.exact(library.stat().st_size, "B", "measured", "size of model.so: weights and code")


def processor() -> str:
    """The CPU's name as the operating system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.machine()
