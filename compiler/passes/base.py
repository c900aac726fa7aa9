"""What a pass is: one class with a name, a summary and `run`, and the context it runs in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from ..data import Data
from ..model.model import Model
from ..target import Device, Formats, Progress, Target, no_progress


@dataclass(frozen=True)
class Note:
    """One thing a pass did or did not do. `where` is a plain node or value name; `code` a stable reason code."""

    code: str
    text: str
    where: str = ""
    hint: str = ""


@dataclass(frozen=True)
class PassResult:
    """The new model (the very same object when nothing changed) and what to say about it."""

    model: Model
    changed: bool
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Options:
    """What the user asked of compression; every field has the default of the command line."""

    sparsity: float = 0.0  # share of MACs to remove by channel pruning
    criterion: str = "auto"
    scope: str = "global"  # of the channel budget: global, or the same share of every layer
    schedule: str = "one-shot"  # one-shot | iterative (step by step, within max_drop)
    max_drop: float | None = None  # largest loss of the score that iterative pruning may cause
    layer_sparsity: float = 0.0  # share of MACs to remove as whole residual blocks, before channels
    layer_criterion: str = "influence"  # of blocks: influence, sensitivity or random
    reconstruct: bool = True
    weight_sparsity: float = 0.0  # share of the weights to zero inside of layers
    pattern: str = "auto"  # of those zeros: auto (what the device skips), 16x4 and the like, N:M, or weight
    weight_criterion: str = "auto"
    calibration: str = "auto"  # minmax | percentile | mse | auto (per tensor, by local error)
    quantize: bool = True
    seed: int = 0
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """Everything a pass may look at besides the model."""

    formats: Formats = field(default_factory=Formats)
    options: Options = field(default_factory=Options)
    calibration: Data | None = None  # unlabelled use; None when the user gave no data
    target: Target | None = None
    device: Device | None = None
    progress: Progress = no_progress


class Pass(Protocol):
    """A step of the pipeline. `requires` and `ensures` name checked properties (`passes.properties.PROPERTIES`)."""

    name: ClassVar[str]
    summary: ClassVar[str]
    requires: ClassVar[tuple[str, ...]]
    ensures: ClassVar[tuple[str, ...]]

    def run(self, model: Model, context: Context) -> PassResult:
        """Returns a new model; never changes the one given."""
        ...
