"""A teacher: any ONNX model that takes the student's inputs. It runs in onnxruntime and needs no gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import Data
from ..errors import UsageError
from ..executor import Session
from ..model.match import dims
from ..model.model import Model
from ..model.shapes import all_values
from ..model.untrusted import shown
from .augment import Batch

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Taught:
    """What the teacher says of one batch: its answers in order, its features by the student's names."""

    answers: list[Array]
    features: Mapping[str, Array]


class Teacher:
    """The answers of a model, and its features batch by batch.

    `heads` are the values that count as answers; `features` maps the student's values to the teacher's. `powers` are
    the mean squares of its answers on the data. Samples that stay as they are it answers once for all.

    Raises:
        UsageError: the inputs do not correspond, or the teacher has no such feature (`teacher-mismatch`).
    """

    def __init__(
        self,
        student: Model,
        teacher: Model,
        data: Data,
        heads: Sequence[str],
        features: Mapping[str, str],
        *,
        changing: bool = False,
        threads: int = 1,
    ) -> None:
        self.heads, self.features, self._changing = tuple(heads), dict(features), changing
        self._inputs = _inputs(student, teacher)
        known = {value.name for value in all_values(teacher.graph)}
        missing = sorted(set(features.values()) - known)
        if missing:
            raise UsageError(f"The teacher has no value called {shown(missing[0])}.", code="teacher-mismatch")
        found = Session(teacher, list(heads), threads=threads).run(self._fed(data.inputs))
        self._answers = [found[name] for name in heads]
        self.powers = [max(float(np.mean(np.square(array, dtype=np.float64))), 1e-12) for array in self._answers]
        wanted = sorted({*features.values(), *(heads if changing else ())})
        self._session = Session(teacher, wanted, threads=threads) if wanted else None

    def __call__(self, batch: Batch) -> Taught:
        found = {} if self._session is None else self._session.run(self._fed(batch.arrays))
        answers = [found[name] if self._changing else array[batch.index] for name, array in self._named_answers()]
        return Taught(answers, {ours: found[theirs] for ours, theirs in self.features.items()})

    def _named_answers(self) -> Iterable[tuple[str, Array]]:
        return zip(self.heads, self._answers, strict=True)

    def _fed(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        return {theirs: np.asarray(feeds[ours]) for ours, theirs in self._inputs.items()}


def _inputs(student: Model, teacher: Model) -> dict[str, str]:
    """The student's input names -> the teacher's: by the user's names where these agree, else in order."""
    ours, theirs = (
        [value for value in model.graph.inputs if value.const_value is None] for model in (student, teacher)
    )
    by_name = {teacher.original(value.name or ""): value for value in theirs}
    names = [student.original(value.name or "") for value in ours]
    matched = [by_name[name] for name in names] if by_name.keys() == set(names) else theirs
    if len(ours) != len(theirs) or any(
        (dims(a) or ())[1:] != (dims(b) or ())[1:] for a, b in zip(ours, matched, strict=True)
    ):
        raise UsageError(
            "The teacher takes other inputs than the model.",
            code="teacher-mismatch",
            hint="Teach with the unpruned model, or with one that takes the same samples.",
        )
    return {a.name or "": b.name or "" for a, b in zip(ours, matched, strict=True)}
