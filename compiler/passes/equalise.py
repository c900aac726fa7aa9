"""Scale moved between neighbouring layers, kept only where the quantized network comes closer to the float one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from ..data import Data
from ..model.model import Model
from ..model.workload import workload
from ..quantization.align import align
from ..quantization.asked import asked_formats
from ..quantization.equalise import equalise, relax_clips
from ..quantization.fidelity import logits_sqnr_db
from ..quantization.plan import plan
from ..target import Formats, no_progress
from .base import Context, Note, Options, PassResult
from .quantize import Quantize

SAMPLES = 256  # to try a candidate with: fewer do not tell apart what lies within a decibel
LEAST_SAMPLES = 32
TRIAL_MACS = 10e9  # of all samples of a trial: large networks get by with fewer, lest it takes minutes
RELAXED_DB = 20.0  # least fidelity of a network without the upper bounds of its Clips, before it is quantized
SPREAD = 3.0  # of the factors of a layer's channels: below, next to nothing can be won
GAIN_DB = 0.5  # below, a network had better stay as it is
STRENGTHS = {1.0: "", 0.75: " by three quarters", 0.5: " half-way"}  # of equalising, and what the note says of it


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

    Activations, which have one scale per tensor, gain by it even where weights have one per channel. Where scales are
    powers of two, whole tensors are moved just below one, too. The network computes the same in floating point; whether
    it quantizes better is measured (SQNR of the logits on calibration samples), since ranges of activations may grow
    while those of weights shrink. So is whether ReLU6 may become Relu for it.
    """

    name: ClassVar[str] = "equalise"
    summary: ClassVar[str] = "balance the channels of neighbouring layers"
    requires: ClassVar[tuple[str, ...]] = ()
    ensures: ClassVar[tuple[str, ...]] = ("interface", "sparsity")

    def run(self, model: Model, context: Context) -> PassResult:
        """Returns the equalised model where it quantizes better, otherwise the very same model."""
        formats = asked_formats(context.formats, context.options)
        data = context.calibration
        if context.options.equalise == "never" or not context.options.quantize or data is None:
            return PassResult(model, False)
        tried = [Candidate(model), *_candidates(model, formats, data, context.options)]
        if len(tried) == 1:
            asked = context.options.equalise == "always"
            return PassResult(model, False, (Note("equalise-none", "No two layers can be equalised."),) * asked)
        data = data.spread(_samples(model))
        trial = _trial(context, data)
        fidelity = [logits_sqnr_db(model, Quantize().run(each.model, trial).model, data, SAMPLES) for each in tried]
        best = max(range(1, len(tried)), key=lambda index: fidelity[index])  # the first of equals
        figures = f"{fidelity[0]:.1f} dB before, {fidelity[best]:.1f} dB after"
        if not fidelity[best] > fidelity[0] + (0.0 if context.options.equalise == "always" else GAIN_DB):
            return PassResult(model, False, (Note("equalise-rejected", f"Equalising does not help: {figures}."),))
        return PassResult(tried[best].model, True, tuple(_notes(tried[best], figures)))


def _samples(model: Model) -> int:
    return int(min(max(TRIAL_MACS / max(workload(model).macs, 1), LEAST_SAMPLES), SAMPLES))


def _trial(context: Context, data: Data) -> Context:
    """Rounded to the nearest, which shows what the ranges do and takes no time."""
    options = replace(context.options, rounding="nearest", mixed_precision=None)
    return replace(context, options=options, calibration=data, progress=no_progress)


def _candidates(model: Model, formats: Formats, data: Data, options: Options) -> Iterator[Candidate]:
    """Equalised networks, and where scales are powers of two the network itself, all with their ranges aligned."""
    least = 0.0 if options.equalise == "always" else SPREAD
    found = _equalised(model, formats, least)
    relaxed = model.clone()
    clips = relax_clips(plan(relaxed.graph, formats).linears)
    if clips and logits_sqnr_db(model, relaxed, data.spread(_samples(model))) >= RELAXED_DB:
        found += [replace(each, relaxed=clips) for each in _equalised(relaxed, formats, least)]
    if formats.scheme != "pow2":
        yield from found
        return
    for each in (Candidate(model), *found):
        result = each.model.clone()
        aligned = align(result, formats, data, options.ranges)
        if aligned:
            yield replace(each, model=result, aligned=aligned)


def _equalised(model: Model, formats: Formats, least: float) -> list[Candidate]:
    """At each strength; none where factors spread by less than `least`."""
    found = []
    for strength in STRENGTHS:
        result = model.clone()
        pairs = equalise(result.graph, plan(result.graph, formats).linears, strength)
        if pairs and max(pair.spread ** (1 / strength) for pair in pairs) >= least:
            found.append(Candidate(result, len(pairs), strength))
    return found


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
