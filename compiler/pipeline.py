"""Runs passes in order: times them, checks what they promise, keeps every intermediate model on request."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .errors import UsageError
from .model.model import Model
from .model.save import save
from .passes import PASSES
from .passes.base import Context, Note, Pass
from .passes.properties import PROPERTIES, check


@dataclass(frozen=True)
class PassRecord:
    """What one pass did. `seconds` is wall time."""

    name: str
    seconds: float
    changed: bool
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class PipelineResult:
    """The final model, the model right before quantization, and one record per pass."""

    model: Model
    float_model: Model
    records: tuple[PassRecord, ...]


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
                raise UsageError(
                    f"There is no pass called '{name[:64]}'.", code="unknown-pass", hint=f"Passes: {', '.join(names)}."
                )
        end = names.index(last) + 1 if last else len(names)
        return cls([each() for each in PASSES[:end] if each.name not in skip])

    def run(self, model: Model, context: Context, dump_dir: Path | None = None) -> PipelineResult:
        """Runs every pass. With `dump_dir` each intermediate model is kept there as NN-pass.onnx."""
        records: list[PassRecord] = []
        float_model = model
        if dump_dir is not None:
            dump_dir.mkdir(parents=True, exist_ok=True)
            save(model, dump_dir / "00-loaded.onnx")
        for index, each in enumerate(self.passes):
            context.progress(each.summary, index / len(self.passes))
            if each.name == "quantize":
                float_model = model
            start = time.perf_counter()
            result = each.run(model, context)
            if result.changed:
                check(each.name, each.ensures, model, result.model)
                model = result.model
            if each.name != "quantize":
                float_model = model
            records.append(PassRecord(each.name, time.perf_counter() - start, result.changed, result.notes))
            if dump_dir is not None:
                save(model, dump_dir / f"{index + 1:02d}-{each.name}.onnx")
        context.progress("done", 1.0)
        return PipelineResult(model, float_model, tuple(records))
