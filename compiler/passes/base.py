"""What a pass is: one class with a name, a summary and `run`, and the context it runs in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

from ..config.options import Options
from ..config.setting import flag
from ..data import Data
from ..metric import Metric
from ..model.model import Model
from ..target import Device, Formats, Progress, Target, no_progress

__all__ = ["Context", "Note", "Options", "Pass", "PassResult", "unreached"]


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
    details: Mapping[str, Any] = field(default_factory=dict)  # figures for the report, ready for JSON


def unreached(option: str, asked: float, reached: float) -> dict[str, Any]:
    """The details of a pass that could not do as much as the option asks, which the verdict is told."""
    why = f"{flag(option)} asks for {100 * asked:.1f} % fewer MACs; at most {100 * reached:.1f} % can go"
    return {"unreached": {"option": option, "asked": asked, "reached": reached, "why": why}}


@dataclass(frozen=True)
class Context:
    """Everything a pass may look at besides the model."""

    formats: Formats = field(default_factory=Formats)
    options: Options = field(default_factory=Options)
    calibration: Data | None = None  # None when the user gave no data
    training: Data | None = None  # to fine-tune on; None: the calibration data
    judging: Data | None = None  # seen by nothing but the question whether a training helped
    transfer: Data | None = None  # to fine-tune on, too, by the teacher's answers alone
    metric: Metric | None = None  # the user's own score
    original: Model | None = None  # the model as it was before the first pass
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
