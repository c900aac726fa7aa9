"""What a network costs in onnxruntime: the kernels' limit model before lowering, a measurement after it."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from ... import kernels
from ...compiler.model.workload import Workload
from ...compiler.quantity import Estimate, Quantity
from ...compiler.target import Device
from ..native import cost

MEASURE_S = 0.5  # of runs, after a warm-up


def estimate(work: Workload, device: Device) -> Estimate:
    """See `native.cost.estimate`."""
    return cost.estimate(work, device, run="session_run_s", code="library_bytes")


def bundle_size(bundle: Path) -> Quantity:
    """What model and library take in flash or on disk."""
    size = sum((bundle / name).stat().st_size for name in ("model.onnx", "libprunus_ort.so"))
    return Quantity.exact(size, "B", "measured", "size of model.onnx and libprunus_ort.so")


def runtime() -> str:
    """The runtime and the instruction sets that a measurement used."""
    return f"onnxruntime {version('onnxruntime')}; {' '.join(kernels.isas())}"
