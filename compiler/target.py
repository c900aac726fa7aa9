"""The contract between the compiler and a kind of hardware.

A target is found by name through the entry-point group `prunus.targets`; third parties take the same path.
`driver.compile` receives the object, never the name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from .integer.graph import Graph, IntType, Scheme
from .model.model import Model
from .model.workload import Workload
from .quantity import Estimate, Quantity

Placement = Literal["integer", "float", "host", "unsupported"]
Progress = Callable[[str, float], None]  # (what is being done, fraction 0..1)
Outputs = dict[str, npt.NDArray[Any]]


def no_progress(_what: str, _fraction: float) -> None:
    """The default `Progress`: says nothing."""


@dataclass(frozen=True)
class Formats:
    """What a device wants from compression. `reasons` gives, per field name, why."""

    scheme: Scheme = "f32"
    requant_bits: int = 31  # of the multiplier, for scheme `fixed`
    activation: IntType = "u8"  # type of activations that are not known to be non-negative (those are u8 where allowed)
    unsigned_after_relu: bool = True
    zero_point: Literal["affine", "zero"] = "affine"
    per_channel: bool = True
    weight_bits: int = 8
    activation_bits: int = 8
    border_bits: int = 0  # of activations where the network begins and ends, when more than `activation_bits`
    narrow_weights: tuple[int, ...] = ()  # bits below `weight_bits` that make the device cheaper layer by layer
    block: tuple[int, int] | None = None  # (output channels, input channels) of a sparse block that the device skips
    n_m: tuple[int, int] | None = None  # (N, M): of M neighbouring input channels the device computes N only
    channel_multiple: int = 1
    softmax: Literal["float", "integer", "host"] = "float"
    reasons: Mapping[str, str] = field(default_factory=dict)


def quantized_like(work: Workload, formats: Formats) -> Workload:
    """The same layers at the device's bit widths: what the network would cost quantized but not pruned."""
    inside, border = formats.activation_bits, max(formats.border_bits, formats.activation_bits)
    read = {name for layer in work.layers for name in layer.producers or ()}
    layers = (
        replace(
            layer,
            weight_bits=formats.weight_bits,
            input_bits=border if "" in (layer.producers or ()) else inside,
            output_bits=inside if layer.name in read else border,
        )
        for layer in work.layers
    )
    return replace(work, layers=tuple(layers))


@dataclass(frozen=True)
class Finding:
    """Where one layer runs, and why. `layer` is the plain name of an operator of the integer graph."""

    layer: str
    placement: Placement
    reason_code: str
    hint: str = ""


@dataclass(frozen=True)
class Device:
    """One board or chip. `data` is the validated device file; `resources` maps keys of `quantity.UNITS` to amounts."""

    name: str
    kind: Literal["fpga", "cpu", "gpu", "mcu", "asic"]
    backend: str
    title: str
    resources: Mapping[str, Quantity] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Artifact:
    """What a lowering wrote. `files` are paths relative to `root`; `manifest` is JSON-ready data about them."""

    root: Path
    files: tuple[str, ...]
    manifest: Mapping[str, Any] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    costs: Mapping[str, Quantity] = field(default_factory=dict)  # measured or synthesised while lowering


@dataclass(frozen=True)
class Emitted:
    """The answer of `Target.run` for an artefact that was built but cannot be executed here."""

    reason: str


@runtime_checkable
class Target(Protocol):
    """A backend bound to no device; every method takes the device it is asked about."""

    name: str

    def formats(self, device: Device) -> Formats:
        """What quantization and pruning must respect."""
        ...

    def cost(self, works: Sequence[Workload], device: Device) -> list[Estimate]:
        """One estimate per workload. Cheap: it is asked thousands of times while searching."""
        ...

    def check(self, graph: Graph, device: Device) -> list[Finding]:
        """What runs where, before anything is built; one finding per operator, graph order."""
        ...

    def lower(self, graph: Graph, device: Device, out: Path, progress: Progress = no_progress) -> Artifact:
        """Writes the artefact under `out` (an existing, empty folder). Raises UnsupportedError or ToolError."""
        ...

    def run(self, artifact: Artifact, graph: Graph, inputs: Mapping[str, np.ndarray]) -> Outputs | Emitted:
        """Executes the artefact on a batch. Returns every integer tensor that it can show, and the graph outputs that
        it computes, by name of the integer graph; what the host computes after it (a terminal Softmax) is left out."""
        ...


@dataclass(frozen=True)
class Networks:
    """The compressed network as standard ONNX: before quantization, and as the QDQ model that the integer graph was
    read from."""

    unquantized: Model
    quantized: Model


@runtime_checkable
class LowersNetworks(Protocol):
    """A target whose tools take standard ONNX rather than the integer graph; its `lower` is not called."""

    def lower_networks(
        self, networks: Networks, graph: Graph, device: Device, out: Path, progress: Progress = no_progress
    ) -> Artifact:
        """As `Target.lower`."""
        ...


@runtime_checkable
class Measures(Protocol):
    """A target that can time its artefacts on this machine."""

    def measure(self, artifact: Artifact, graph: Graph, inputs: Mapping[str, np.ndarray]) -> Mapping[str, Quantity]:
        """Measured costs (keys of `quantity.UNITS`, basis `measured`) of one inference on the first sample."""
        ...


@runtime_checkable
class Counts(Protocol):
    """A target that knows a finished network's cost better than `cost` does, without building it."""

    def count(self, graph: Graph, device: Device) -> Mapping[str, Quantity]:
        """Costs (keys of `quantity.UNITS`) of the integer graph, as `lower` would state them. Takes seconds."""
        ...


@runtime_checkable
class Tunable(Protocol):
    """A target whose devices have settings that trade one cost for another and change no result."""

    def settings(self, device: Device) -> Mapping[str, Sequence[int]]:
        """The values worth trying per setting, ascending; the last one is what the device has without it. A setting is
        an entry of `Device.data`, which `cost` and `lower` read."""
        ...


@runtime_checkable
class Explores(Protocol):
    """A target whose devices are descriptions: it can vary them, and compare networks on them."""

    def study(
        self,
        works: Mapping[str, Workload],
        device: Device,
        out: Path,
        sweep: str = "",
        jobs: int = 1,
        progress: Progress = no_progress,
    ) -> Mapping[str, Any]:
        """Compares the named networks (the first is the baseline) on the device; explores the devices of `sweep` for
        the last of them; writes its files under `out`; returns JSON-ready data. Raises UsageError for a bad sweep."""
        ...
