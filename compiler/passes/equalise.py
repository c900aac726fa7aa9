"""Cross-layer equalisation, kept only where the quantized network comes closer to the float one."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from ..model.model import Model
from ..quantization.asked import asked_formats
from ..quantization.equalise import equalise, relax_clips
from ..quantization.fidelity import logits_sqnr_db
from ..quantization.plan import plan
from ..target import Formats, no_progress
from .base import Context, Note, PassResult
from .quantize import Quantize


class Equalise:
    """Moves scale between neighbouring layers so that one scale per tensor suits every channel.

    For devices with one weight scale per tensor, or where `Options.equalise` is "always". The network computes
    the same in floating point; whether it quantizes better is measured (SQNR of the logits on calibration samples),
    since ranges of activations may grow while those of weights shrink. So is whether ReLU6 may become Relu for it.
    """

    name: ClassVar[str] = "equalise"
    summary: ClassVar[str] = "balance the channels of neighbouring layers"
    requires: ClassVar[tuple[str, ...]] = ()
    ensures: ClassVar[tuple[str, ...]] = ("interface", "sparsity")

    def run(self, model: Model, context: Context) -> PassResult:
        """Returns the equalised model where it quantizes better, otherwise the very same model."""
        options = context.options
        formats = asked_formats(context.formats, options)
        wanted = options.equalise == "always" or (options.equalise == "auto" and not formats.per_channel)
        if not (wanted and options.quantize and context.calibration):
            return PassResult(model, False)
        tried = [(0, 0, model), *_candidates(model, formats)]
        if len(tried) == 1:
            return PassResult(model, False, (Note("equalise-none", "No two layers can be equalised."),))
        data = context.calibration
        fidelity = [logits_sqnr_db(model, _quantized(each, context), data) for _, _, each in tried]
        best = max(range(len(tried)), key=lambda index: fidelity[index])  # the first of equals
        pairs, relaxed, result = tried[best]
        if best == 0:
            figures = f"{fidelity[0]:.1f} dB before, {max(fidelity[1:]):.1f} dB after"
            return PassResult(model, False, (Note("equalise-rejected", f"Equalising does not help: {figures}."),))
        figures = f"{fidelity[0]:.1f} dB before, {fidelity[best]:.1f} dB after"
        notes = [Note("equalised", f"{pairs} pairs of layers equalised: {figures}.")]
        if relaxed:
            text = (
                f"{relaxed} Clips lost their upper bound, which equalising cannot pass; what that changes is measured."
            )
            notes.append(Note("clip-relaxed", text))
        return PassResult(result, True, tuple(notes))


def _candidates(model: Model, formats: Formats) -> list[tuple[int, int, Model]]:
    """(pairs of layers, Clips that became Relu, equalised model), without and with the latter."""
    found = []
    for relaxing in (False, True):
        candidate = model.clone()
        relaxed = relax_clips(plan(candidate.graph, formats).linears) if relaxing else 0
        pairs = equalise(candidate.graph, plan(candidate.graph, formats).linears)
        if pairs and bool(relaxed) == relaxing:
            found.append((pairs, relaxed, candidate))
    return found


def _quantized(model: Model, context: Context) -> Model:
    """Rounded to the nearest, which shows what the ranges do and takes no time."""
    options = replace(context.options, rounding="nearest", mixed_precision=None)
    return Quantize().run(model, replace(context, options=options, progress=no_progress)).model
