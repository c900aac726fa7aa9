"""A teacher: any ONNX model that takes the student's inputs. It runs in onnxruntime and needs no gradients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

Array = npt.NDArray[Any]


class Teacher:
    """The answers of a model on all of the data, computed once, and its features batch by batch.

    `heads` are the values that count as answers; `features` maps the student's values to the teacher's.

    Raises:
        UsageError: the inputs do not correspond, or the teacher has no such feature (`teacher-mismatch`).
    """

    def __init__(
        self, student: Model, teacher: Model, data: Data, heads: Sequence[str], features: Mapping[str, str]
    ) -> None:
        self.heads, self.features = tuple(heads), dict(features)
        self._inputs = _inputs(student, teacher)
        known = {value.name for value in all_values(teacher.graph)}
        missing = sorted(set(features.values()) - known)
        if missing:
            raise UsageError(f"The teacher has no value called {shown(missing[0])}.", code="teacher-mismatch")
        found = Session(teacher, list(heads), threads=1).run(self._fed(data.inputs))
        self._answers = [found[name] for name in heads]
        self.powers = [max(float(np.mean(np.square(array, dtype=np.float64))), 1e-12) for array in self._answers]
        wanted = sorted(set(features.values()))
        self._session = Session(teacher, wanted, threads=1) if features else None

    def answers(self, index: npt.NDArray[np.int64]) -> list[Array]:
        return [array[index] for array in self._answers]

    def feature_values(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The features of one batch, keyed by the student's names."""
        assert self._session is not None  # asked for only where there are features
        found = self._session.run(self._fed(feeds))
        return {ours: found[theirs] for ours, theirs in self.features.items()}

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
