"""The accuracy contract across passes: what a network scores once it is compiled."""

from __future__ import annotations

from dataclasses import replace

from ..model.model import Model
from ..pruning.schedules import Measure
from ..target import no_progress
from .base import Context
from .quantize import Quantize


def as_compiled(measure: Measure, context: Context) -> Measure:
    """The score of a network after quantization, where that follows: what the bits cost counts towards `max_drop`."""
    if not context.options.quantize:
        return measure
    quiet = replace(context, progress=no_progress)

    def quantized(model: Model) -> float:
        return measure(Quantize().run(model, quiet).model)

    return quantized
