"""What a network costs on a CPU: the kernels' limit model before lowering, a measurement after it."""

from __future__ import annotations

from pathlib import Path

from ...compiler.model.workload import Workload
from ...compiler.quantity import Estimate, Quantity
from ...compiler.target import Device
from ..native import cost

MEASURE_S = 0.5  # of runs, after a warm-up


def estimate(work: Workload, device: Device) -> Estimate:
    """See `native.cost.estimate`."""
    return cost.estimate(work, device, run="machine_run_s", code="code_bytes")


def library_size(library: Path) -> Quantity:
    """What the library takes in flash or on disk."""
    return Quantity.exact(library.stat().st_size, "B", "measured", "size of model.so: weights and code")
