"""placeholder"""

from __future__ import annotations

from ....compiler.errors import UsageError
from ....compiler.model.workload import Workload
from ....compiler.quantity import Estimate, Quantity
from ....compiler.target import Device

DSP_SHARE = 0.8


def setting(device: Device, key: str) -> str:
    value = device.data.get(key)
    if not isinstance(value, str):
        raise UsageError(
            f"The device '{device.name}' has no setting '{key}'.", code="device-setting", where=device.name
        )
    return value


def clock_period_ns(device: Device) -> float:
    value = device.data.get("clock_period_ns")
    if not isinstance(value, Quantity):
        raise UsageError(f"The device '{device.name}' has no constant 'clock_period_ns'.", code="device-constant")
    return value.value


def multiplier_budget(device: Device) -> int:
    return int(device.resources["dsp"].value * DSP_SHARE)


def estimate(work: Workload, device: Device) -> Estimate:
    raise NotImplementedError
