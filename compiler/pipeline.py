"""Runs passes in order: times them, checks what they promise, keeps every intermediate model on request."""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .errors import UsageError
from .model.model import Model
from .model.save import save
from .passes import PASSES
from .passes.base import Context, Note, Options, Pass
from .passes.fit_budget import minimises
from .passes.properties import PROPERTIES, check
from .passes.training_verdict import with_judging
from .target import Progress


@dataclass(frozen=True)
class PassRecord:
    """What one pass did. `seconds` is wall time."""

    name: str
    seconds: float
    changed: bool
    notes: tuple[Note, ...]
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class PipelineResult:
    """The final model, the model right before quantization, and one record per pass."""

    model: Model
    float_model: Model
    records: tuple[PassRecord, ...]

    @property
    def unreached(self) -> tuple[Mapping[str, Any], ...]:
        """What passes could not do although it was asked for: {option, asked, reached, why}."""
        return tuple(record.details["unreached"] for record in self.records if "unreached" in record.details)


class Pipeline:
    """An ordered list of passes; `Pipeline.default(skip=...)` is the table `PASSES`."""

    def __init__(self, passes: Sequence[Pass]) -> None:
        self.passes = tuple(passes)
        for each in self.passes:
            unknown = {*each.requires, *each.ensures} - PROPERTIES.keys()
            if unknown:
                raise UsageError(
                    f"The pass '{each.name}' names unknown properties: {', '.join(sorted(unknown))}.",
                    code="unknown-property",
                    hint=f"Known: {', '.join(PROPERTIES)}.",
                )

    @classmethod
    def default(cls, skip: Sequence[str] = (), last: str | None = None) -> Pipeline:
        """All passes of the table but those in `skip`, up to and including `last`."""
        names = [each.name for each in PASSES]
        for name in (*skip, *([last] if last else [])):
            if name not in names:
                near = difflib.get_close_matches(name, names, 1)
                raise UsageError(
                    f"There is no pass called '{name[:64]}'.",
                    code="unknown-pass",
                    hint=f"Did you mean {near[0]}?" if near else "`prunus passes` lists them.",
                )
        end = names.index(last) + 1 if last else len(names)
        return cls([each() for each in PASSES[:end] if each.name not in skip])

    def run(self, model: Model, context: Context, dump_dir: Path | None = None) -> PipelineResult:
        """Runs every pass. With `dump_dir` each intermediate model is kept there as NN-pass.onnx.

        Where one trains, an eighth of the samples is kept out of all of them, to judge whether that helped.
        """
        context = with_judging(replace(context, original=context.original or model), model)
        records: list[PassRecord] = []
        float_model: Model | None = None
        if dump_dir is not None:
            dump_dir.mkdir(parents=True, exist_ok=True)
            save(model, dump_dir / "00-loaded.onnx")
        for index, (each, progress) in enumerate(self._parts(context)):
            progress(each.summary, 0.0)
            if each.name == "quantize":
                float_model = model
            start = time.perf_counter()
            result = each.run(model, replace(context, progress=progress))
            if result.changed:
                check(each.name, each.ensures, model, result.model)
                model = result.model
            seconds = time.perf_counter() - start
            records.append(PassRecord(each.name, seconds, result.changed, result.notes, result.details))
            if dump_dir is not None:
                save(model, dump_dir / f"{index + 1:02d}-{each.name}.onnx")
        context.progress("done", 1.0)
        return PipelineResult(model, float_model or model, tuple(records))

    def effort(self, options: Options) -> float:
        """Roughly how long it takes, in units of a quick pass."""
        return sum(_effort(each, options) for each in self.passes)

    def _parts(self, context: Context) -> Iterator[tuple[Pass, Progress]]:
        """Every pass with a progress of its own, which fills its part of the whole."""
        total, done = self.effort(context.options), 0.0
        for each in self.passes:
            effort = _effort(each, context.options)
            yield each, part(context.progress, done / total, (done + effort) / total)
            done += effort


def part(progress: Progress, start: float, end: float) -> Progress:
    """Maps a stage's own 0..1 into its part of the whole. A stage whose steps each begin anew does not go back."""
    reached = start

    def report(what: str, fraction: float) -> None:
        nonlocal reached
        reached = max(reached, start + (end - start) * fraction)
        progress(what, reached)

    return report


_SCHEDULE_EFFORTS: Mapping[str, float] = {"iterative": 100, "gradual": 200}
# How long passes take, in units of a quick one, for the progress bar alone.
_EFFORTS: Mapping[str, Callable[[Options], float]] = {
    "prune_layers": lambda options: 10 if options.layer_sparsity else 0,
    "fit_budget": lambda options: 60 if options.budget or minimises(options) else 0,
    "prune_channels": lambda options: _SCHEDULE_EFFORTS.get(options.schedule, 20) if options.sparsity else 0,
    "prune_weights": lambda options: 20 if options.weight_sparsity else 0,
    "fine_tune": lambda options: 10 * options.training.epochs,
    "quantize": lambda options: 10,
    "train_quantized": lambda options: 10 * options.qat_epochs,
}


def _effort(each: Pass, options: Options) -> float:
    return _EFFORTS[each.name](options) if each.name in _EFFORTS else 1.0
