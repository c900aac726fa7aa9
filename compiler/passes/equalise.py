"""Cross-layer equalisation, kept only where the quantized network comes closer to the float one."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from ..analysis.parity import compare
from ..data import Data
from ..executor import run_model
from ..model.model import Model
from ..quantization.equalise import equalise
from ..quantization.plan import plan
from ..verify import logits_name
from .base import Context, Note, PassResult
from .quantize import Quantize

JUDGED_SAMPLES = 64


class Equalise:
    """Moves scale between neighbouring layers so that one scale per tensor suits every channel.

    For devices with one weight scale per tensor, or where `options.extra["equalise"]` is true. The network computes
    the same in floating point; whether it quantizes better is measured (SQNR of the logits on calibration samples),
    since ranges of activations may grow while those of weights shrink.
    """

    name: ClassVar[str] = "equalise"
    summary: ClassVar[str] = "balance the channels of neighbouring layers"
    requires: ClassVar[tuple[str, ...]] = ()
    ensures: ClassVar[tuple[str, ...]] = ("interface", "sparsity")

    def run(self, model: Model, context: Context) -> PassResult:
        """Returns the equalised model where it quantizes better, otherwise the very same model."""
        wanted = context.options.extra.get("equalise", not context.formats.per_channel)
        if not (wanted and context.options.quantize and context.calibration):
            return PassResult(model, False)
        candidate = model.clone()
        pairs = equalise(candidate.graph, plan(candidate.graph, context.formats).linears)
        if not pairs:
            return PassResult(model, False, (Note("equalise-none", "No two layers can be equalised."),))
        data = context.calibration
        before, after = (_sqnr_db(model, _quantized(each, context), data) for each in (model, candidate))
        figures = f"{before:.1f} dB before, {after:.1f} dB after"
        if after <= before:
            return PassResult(model, False, (Note("equalise-rejected", f"Equalising does not help: {figures}."),))
        return PassResult(candidate, True, (Note("equalised", f"{pairs} pairs of layers equalised: {figures}."),))


def _quantized(model: Model, context: Context) -> Model:
    return Quantize().run(model, replace(context, progress=lambda _what, _fraction: None)).model


def _sqnr_db(reference: Model, candidate: Model, data: Data) -> float:
    """Of the logits of both models, the worst of all outputs, on the first calibration samples."""
    feeds = data.first(JUDGED_SAMPLES).inputs
    found = []
    for model in (reference, candidate):
        names = [logits_name(model, str(value.name)) for value in model.graph.outputs]
        values = run_model(model, feeds, list(dict.fromkeys(names)))
        found.append([values[name] for name in names])
    return min(compare(left, right).sqnr_db for left, right in zip(*found, strict=True))
