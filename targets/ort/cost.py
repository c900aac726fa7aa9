"""What a network costs on this machine's CPU: the kernels' limit model before lowering, a measurement after it."""

from __future__ import annotations

from functools import lru_cache
from importlib.metadata import version
from math import prod
from pathlib import Path

from ... import kernels
from ...compiler.model.workload import Layer, Workload
from ...compiler.quantity import Estimate, LayerCost, Quantity
from ...compiler.target import Device

MEASURE_S = 0.5  # of runs, after a warm-up
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


def _product_s(layer: Layer, source: str) -> float:
    """What the limit model predicts for the best kernel, zeros skipped."""
    sparsity = layer.sparsity
    density, block = (sparsity.density, sparsity.block) if sparsity.kind == "block" else (1.0, (1, 1))
    if sparsity.kind in ("weight", "n_m"):
        density = 1 - layer.zero_fraction
    if layer.op in ("gemm", "matmul"):
        x_shape, w_shape = (prod(layer.in_shape[:-1]), layer.in_channels), (layer.out_channels, layer.in_channels)
        return _predicted_s(source, x_shape, w_shape, density, block)
    height, width = prod(layer.in_shape[1:-1]), layer.in_shape[-1]  # a 1-D convolution has height 1
    x, w = (1, layer.in_channels, height, width), (layer.out_channels, layer.in_channels // layer.group, *layer.kernel)
    return _predicted_s(source, x, w, density, block, layer.strides, layer.pads, layer.group)


def _latency_s(layer: Layer, device: Device, source: str) -> tuple[float, ...]:
    """(low, value, high)."""
    product = layer.op in PRODUCTS
    amount = _product_s(layer, source) if product else layer.input_bytes + layer.output_bytes
    rate, step = device.data["kernel_time_ratio" if product else "simd_byte_s"], device.data["step_s"]
    return tuple(amount * getattr(rate, bound) + getattr(step, bound) for bound in BOUNDS)


def _layer(layer: Layer, device: Device, source: str) -> LayerCost:
    low, value, high = _latency_s(layer, device, source)
    stored = layer.weight_bytes * (layer.sparsity.density if layer.sparsity.kind == "block" else 1.0)
    costs = {
        "latency_s": Quantity(value, low, high, "s", "modelled", source),
        "flash_bytes": Quantity.exact(stored, "B", "modelled", "weights, blocks of zeros left out"),
        "ram_bytes": Quantity.exact(layer.input_bytes + layer.output_bytes, "B", "modelled", "inputs and output"),
    }
    return LayerCost(layer.name, costs)


def estimate(work: Workload, device: Device) -> Estimate:
    """Latency of one sample on one thread, size of the bundle, largest pair of live activations; layer by layer."""
    # without the paths in `kernels.costs().source`: reports of two users are the same bytes
    measured = kernels.costs().source.startswith("measured")
    constants = "constants measured on this machine" if measured else "default constants of the instruction sets"
    source = f"limit model of the kernels, one thread; {constants}"
    layers = tuple(_layer(layer, device, source) for layer in work.layers)
    run, library = device.data["session_run_s"], device.data["library_bytes"]
    low, value, high = (
        getattr(run, bound) + sum(getattr(layer.costs["latency_s"], bound) for layer in layers) for bound in BOUNDS
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


def bundle_size(bundle: Path) -> Quantity:
    """What model and library take in flash or on disk."""
    size = sum((bundle / name).stat().st_size for name in ("model.onnx", "libprunus_ort.so"))
    return Quantity.exact(size, "B", "measured", "size of model.onnx and libprunus_ort.so")


def runtime() -> str:
    """The runtime and the instruction sets that a measurement used."""
    return f"onnxruntime {version('onnxruntime')}; {' '.join(kernels.isas())}"
