"""Cross-layer equalisation, kept only where the quantized network comes closer to the float one."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from ..model.model import Model
from ..quantization.asked import asked_formats
from ..quantization.equalise import equalise
from ..quantization.fidelity import logits_sqnr_db
from ..quantization.plan import plan
from ..target import no_progress
from .base import Context, Note, PassResult
from .quantize import Quantize


class Equalise:
    """Moves scale between neighbouring layers so that one scale per tensor suits every channel.

    For devices with one weight scale per tensor, or where `Options.equalise` is "always". The network computes
    the same in floating point; whether it quantizes better is measured (SQNR of the logits on calibration samples),
    since ranges of activations may grow while those of weights shrink.
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
        candidate = model.clone()
        pairs = equalise(candidate.graph, plan(candidate.graph, formats).linears)
        if not pairs:
            return PassResult(model, False, (Note("equalise-none", "No two layers can be equalised."),))
        data = context.calibration
        before, after = (logits_sqnr_db(model, _quantized(each, context), data) for each in (model, candidate))
        figures = f"{before:.1f} dB before, {after:.1f} dB after"
        if after <= before:
            return PassResult(model, False, (Note("equalise-rejected", f"Equalising does not help: {figures}."),))
        return PassResult(candidate, True, (Note("equalised", f"{pairs} pairs of layers equalised: {figures}."),))


def _quantized(model: Model, context: Context) -> Model:
    """Rounded to the nearest, which shows what the ranges do and takes no time."""
    options = replace(context.options, rounding="nearest", mixed_precision=None)
    return Quantize().run(model, replace(context, options=options, progress=no_progress)).model
