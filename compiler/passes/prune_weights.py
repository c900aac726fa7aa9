"""`prune_weights`: zeroes weights in a pattern that the device's kernels skip, and refits the others."""

from __future__ import annotations

from typing import ClassVar

from ..errors import UsageError
from ..model.model import Model
from ..pruning.patterns import Pattern, device_pattern, parse_pattern
from ..pruning.sparsify import Sparsified, sparsify
from ..target import Formats
from ..training.plans import weight_plan
from .base import Context, Note, PassResult
from .loss_notes import loss_notes

_UNFIT = {
    "too-small": "The layer has too few channels for the pattern.",
    "shared-weight": "Its weight or bias is shared with another operator.",
    "not-finite": "Its activations on the data are not finite.",
    "too-wide": "Each output sums over too many inputs.",
    "unsupported-form": "Only Conv, Gemm and MatMul with a constant weight are pruned.",
}


class PruneWeights:
    """Zeroes `options.weight_sparsity` of the weights of every layer in `options.pattern` (`auto`: the device's own).

    Depthwise convolutions, and layers too small for the pattern, stay dense. With `context.calibration` weights are
    scored by what their loss costs and the others refitted; without it by magnitude. Where the schedule prunes while
    training, `fine_tune` does.

    Raises:
        UsageError: the pattern or criterion is not known, or the share is not in [0, 1) (code `bad-sparsity`).
    """

    name: ClassVar[str] = "prune_weights"
    summary: ClassVar[str] = "Zeroing weights"
    requires: ClassVar[tuple[str, ...]] = ("valid",)
    ensures: ClassVar[tuple[str, ...]] = ("valid", "interface", "sparsity")

    def run(self, model: Model, context: Context) -> PassResult:
        options = context.options
        if options.weight_sparsity == 0:
            return PassResult(model, False)
        if not 0 < options.weight_sparsity < 1:
            raise UsageError(
                f"The weight sparsity {options.weight_sparsity} is not a share of the weights.",
                code="bad-sparsity",
                hint="Give a number from 0 (zero nothing) to just below 1.",
            )
        pattern = choose_pattern(options.pattern, context.formats)
        if weight_plan(options, pattern) is not None:
            return PassResult(model, False, tuple(pays_notes(pattern, context.formats)))
        density = pattern.density(1 - options.weight_sparsity)
        done = sparsify(
            model,
            pattern,
            density,
            options.weight_criterion,
            data=context.calibration,
            seed=options.seed,
            progress=context.progress,
        )
        notes = loss_notes(options.weight_criterion, context.calibration)
        notes += [zeroed_note(done, pattern), *pays_notes(pattern, context.formats), *fit_notes(done)]
        return PassResult(done.model, done.zeroed > 0, tuple(notes))


def choose_pattern(asked: str, formats: Formats) -> Pattern:
    """The pattern asked for; `auto` is what the device skips, 16x4 where it states nothing."""
    return parse_pattern(asked) if asked != "auto" else device_pattern(formats) or Pattern("block", (16, 4))


def zeroed_note(done: Sparsified, pattern: Pattern) -> Note:
    """How much was zeroed."""
    share = 100 * done.zeroed / max(done.weights, 1)
    return Note(
        "weights-zeroed",
        f"{done.zeroed} of {done.weights} weights zeroed in the pattern {pattern} by criterion {done.criterion}: "
        f"{share:.1f} % of the layers that take part.",
    )


def pays_notes(pattern: Pattern, formats: Formats) -> list[Note]:
    """A warning where the device gains no time from zeros in this pattern."""
    block = formats.block
    if block == (1, 1):
        return []
    if formats.n_m is not None:
        return _n_m_notes(pattern, formats.n_m)
    if block is None:
        return [
            Note(
                "zeros-do-not-pay",
                "This device computes zeros like any other weight: they make the model no faster on it.",
                hint="Channel pruning (--sparsity) makes the layers themselves smaller.",
            )
        ]
    whole = pattern.kind == "block" and all(size % unit == 0 for size, unit in zip(pattern.size, block, strict=True))
    if whole:
        return []
    return [
        Note(
            "zeros-do-not-pay",
            f"This device skips blocks of {block[0]}x{block[1]} weights; {pattern} rarely leaves whole ones.",
            hint=f"--pattern {block[0]}x{block[1]}",
        )
    ]


def _n_m_notes(pattern: Pattern, n_m: tuple[int, int]) -> list[Note]:
    if pattern.kind == "n_m" and pattern.size == n_m:
        return []
    return [
        Note(
            "zeros-do-not-pay",
            f"This device skips zeros where {n_m[0]} of {n_m[1]} neighbouring inputs stay; {pattern} rarely does that.",
            hint=f"--pattern {n_m[0]}:{n_m[1]}",
        )
    ]


def fit_notes(done: Sparsified) -> list[Note]:
    """Layers that stayed dense, and what refitting gained."""
    notes = [Note("layer-stays-dense", _UNFIT[each.code], each.where) for each in done.unfit]
    if not done.fits:
        hint = "Give some hundred unlabelled samples: --data FILE.npz"
        return [
            *notes,
            Note("nothing-refitted", "The weights that stay were not refitted: there is no data.", hint=hint),
        ]
    loss = sum(fit.after for fit in done.fits) / len(done.fits)
    text = (
        f"{len(done.fits)} layers refitted by least squares on {done.samples} samples: mean relative squared error of "
        f"their outputs {loss:.3g}."
    )
    return [*notes, Note("layers-refitted", text)]
