"""The step from the compressed networks to an artefact: what a target is handed, and how its device is asked to be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from .errors import UsageError
from .integer.graph import Graph
from .target import Artifact, Device, LowersNetworks, Networks, Progress, Target

FLOAT_TYPE = "float_type"  # the setting of devices whose artefacts compute in floating point


def with_float_type(device: Device, asked: str) -> Device:
    """The device with the float type that was asked for; `device` leaves its own.

    Raises UsageError (`no-float-type`) for devices whose artefacts hold integers.
    """
    if asked == "device":
        return device
    if FLOAT_TYPE not in device.data:
        raise UsageError(
            f"The device '{device.name}' has no choice of a float type.",
            code="no-float-type",
            why="Its artefact computes with integers.",
            hint="Leave out --float-type; it is for GPUs, such as `cuda` and `opencl`.",
        )
    return replace(device, data={**device.data, FLOAT_TYPE: asked})


def lower(target: Target, networks: Networks, graph: Graph, device: Device, out: Path, progress: Progress) -> Artifact:
    """Writes the artefact under `out`, from standard ONNX where the target takes that, else from the integer graph."""
    if isinstance(target, LowersNetworks):
        return target.lower_networks(networks, graph, device, out, progress)
    return target.lower(graph, device, out, progress)
