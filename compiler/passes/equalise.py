"""Scale moved between neighbouring layers, kept only where the quantized network comes closer to the float one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from ..model.model import Model
from ..quantization.align import align
from ..quantization.asked import asked_formats
from ..quantization.equalise import equalise, relax_clips
from ..quantization.fidelity import logits_sqnr_db
from ..quantization.plan import plan
from ..target import Formats, no_progress
from .base import Context, Note, PassResult
from .quantize import Quantize

JUDGED_SAMPLES = 256  # fewer do not tell candidates apart that lie within a decibel
STRENGTHS = {1.0: "", 0.5: " half-way"}  # of equalising, and what the note says of it


@dataclass(frozen=True, eq=False)
class Candidate:
    """A network that computes the same: pairs of layers that were equalised and aligned, Clips that became Relu."""

    model: Model
    equalised: int = 0
    strength: float = 1.0
    relaxed: int = 0
    aligned: int = 0


class Equalise:
    """Moves scale between neighbouring layers so that one scale per tensor suits every channel.

    For devices with one weight scale per tensor, or where `Options.equalise` is "always". Where scales are powers of
    two, whole tensors are moved just below one, too. The network computes the same in floating point; whether it
    quantizes better is measured (SQNR of the logits on calibration samples), since ranges of activations may grow while
    those of weights shrink. So is whether ReLU6 may become Relu for it.
    """

    name: ClassVar[str] = "equalise"
    summary: ClassVar[str] = "balance the channels of neighbouring layers"
    requires: ClassVar[tuple[str, ...]] = ()
    ensures: ClassVar[tuple[str, ...]] = ("interface", "sparsity")

    def run(self, model: Model, context: Context) -> PassResult:
        """Returns the equalised model where it quantizes better, otherwise the very same model."""
        options = context.options
        formats = asked_formats(context.formats, options)
        if not (_wanted(options.equalise, formats) and options.quantize and context.calibration):
            return PassResult(model, False)
        tried = [Candidate(model), *_candidates(model, formats, context)]
        if len(tried) == 1:
            return PassResult(model, False, (Note("equalise-none", "No two layers can be equalised."),))
        data = context.calibration
        fidelity = [logits_sqnr_db(model, _quantized(each.model, context), data, JUDGED_SAMPLES) for each in tried]
        best = max(range(len(tried)), key=lambda index: fidelity[index])  # the first of equals
        if best == 0:
            figures = f"{fidelity[0]:.1f} dB before, {max(fidelity[1:]):.1f} dB after"
            return PassResult(model, False, (Note("equalise-rejected", f"Equalising does not help: {figures}."),))
        figures = f"{fidelity[0]:.1f} dB before, {fidelity[best]:.1f} dB after"
        return PassResult(tried[best].model, True, tuple(_notes(tried[best], figures)))


def _wanted(asked: str, formats: Formats) -> bool:
    return asked == "always" or (asked == "auto" and (not formats.per_channel or formats.scheme == "pow2"))


def _candidates(model: Model, formats: Formats, context: Context) -> Iterator[Candidate]:
    """Equalised networks, and where scales are powers of two the network itself, all with their ranges aligned."""
    pow2 = formats.scheme == "pow2"
    found = [Candidate(model)] if pow2 else []
    if not formats.per_channel or context.options.equalise == "always":
        found += _equalised(model, formats)
    for each in found:
        if not pow2:
            yield each
            continue
        assert context.calibration is not None  # by `run`
        result = each.model.clone()
        aligned = align(result, formats, context.calibration, context.options.ranges)
        if aligned:
            yield replace(each, model=result, aligned=aligned)


def _equalised(model: Model, formats: Formats) -> Iterator[Candidate]:
    """At each strength, without and with Clips that became Relu."""
    for relaxing in (False, True):
        for strength in STRENGTHS:
            result = model.clone()
            relaxed = relax_clips(plan(result.graph, formats).linears) if relaxing else 0
            pairs = equalise(result.graph, plan(result.graph, formats).linears, strength)
            if pairs and bool(relaxed) == relaxing:
                yield Candidate(result, pairs, strength, relaxed)


def _notes(chosen: Candidate, figures: str) -> Iterator[Note]:
    if chosen.equalised:
        yield Note("equalised", f"{chosen.equalised} pairs of layers equalised{STRENGTHS[chosen.strength]}: {figures}.")
    if chosen.aligned:
        text = f"{chosen.aligned} activations scaled to just below a power of two: {figures}."
        yield Note("ranges-aligned", text)
    if chosen.relaxed:
        text = (
            f"{chosen.relaxed} Clips lost their upper bound, which equalising cannot pass; "
            "what that changes is measured."
        )
        yield Note("clip-relaxed", text)


def _quantized(model: Model, context: Context) -> Model:
    """Rounded to the nearest, which shows what the ranges do and takes no time."""
    options = replace(context.options, rounding="nearest", mixed_precision=None)
    return Quantize().run(model, replace(context, options=options, progress=no_progress)).model
