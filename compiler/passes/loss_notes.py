"""Which loss the criteria that look at gradients went by, for the notes of the pruning passes."""

from __future__ import annotations

from ..data import Data
from ..pruning.scoring.gradients import loss_of
from .base import Note

GRADIENT_CRITERIA = ("taylor", "obd")


def loss_notes(criterion: str, data: Data | None) -> list[Note]:
    """One note for a criterion of gradients; none for others."""
    if criterion not in GRADIENT_CRITERIA or data is None:
        return []
    code = "loss-on-labels" if data.labels is not None else "loss-on-own-answers"
    return [Note(code, f"The gradients of criterion {criterion} are of {loss_of(data)}.")]
