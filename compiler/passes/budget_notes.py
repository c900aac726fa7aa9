"""What `fit_budget` says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from ..search.decisions import Choice
from ..search.drop import Drop
from ..search.fit import Candidate, Fitter, Shortfall, worthwhile
from ..search.widths import full_widths
from .base import Note

SLACK = 1e-12  # of rounding in scores


def faster_note(fitter: Fitter, key: str) -> Note:
    """Says, before anything is built, whether a smaller network will cost less at all."""
    gain, what = fitter.gain(), _ways(fitter)
    if worthwhile(1.0, 1.0 - gain):
        return Note("pruning-pays", f"By the device's model, {what} can save up to {100 * gain:.0f} % of {key}.")
    return Note(
        "pruning-does-not-pay",
        f"By the device's model, {what} saves at most {100 * gain:.1f} % of {key}: fixed costs decide.",
    )


def _ways(fitter: Fitter) -> str:
    """What may be removed."""
    ways = ["channels", *["bits"] * fitter.narrows, *["weights"] * fitter.zeroes]
    return "removing " + " and ".join(filter(None, (", ".join(ways[:-1]), ways[-1])))


def chosen_note(fitter: Fitter, found: Candidate, estimated: int) -> Note:
    """What the network is, and what it is predicted to cost."""
    sizes = full_widths(fitter.channels)
    kept = ", ".join(f"{width}/{size}" for width, size in zip(found.choice.widths, sizes, strict=True))
    costs = "; ".join(f"{key} {fitter.whole.costs[key]:.4g} -> {found.costs[key]:.4g}" for key in fitter.keys)
    text = (
        f"Channels kept per group: {kept or 'all'}. {weights_told(found.choice)}Predicted: {costs}; "
        f"loss {found.loss:.3g} on held-out samples. {estimated} networks were estimated."
    )
    return Note("widths-chosen", text)


def weights_told(choice: Choice) -> str:
    """How many layers get how many bits, and keep which share of their weights, and which settings the device gets;
    empty where these are its own."""
    narrow = _counted(choice.bits, "at {} bits")
    zeros = _counted(choice.densities, "with {} % of their weights", "with {} % of its weights")
    settings = ", ".join(f"{name} = {value}" for name, value in choice.settings)
    told = (("Weights: ", narrow), ("Zeros: ", zeros), ("With ", settings))
    return "".join(f"{start}{text}. " for start, text in told if text)


def _counted(layers: Iterable[tuple[str, int]], many: str, one: str = "") -> str:
    """How many layers have which value."""
    counts = sorted(Counter(value for _, value in layers).items())
    return ", ".join(
        f"{count} layer{'s' * (count > 1)} " + (many if count > 1 else one or many).format(value)
        for value, count in counts
    )


def contract_note(drop: Drop, allowed: float) -> Note:
    """Whether the network within the budget will also keep the accuracy, as far as held-out samples tell."""
    if drop.value <= allowed + SLACK:
        return Note("accuracy-predicted", f"Held-out samples lose {drop.value:.4f}, allowed are {allowed:g}.")
    text = f"Within the budget, held-out samples lose {drop.value:.4f}; allowed are {allowed:g}."
    hint = "--max-drop without --budget finds the smallest network that keeps the accuracy; --epochs fine-tunes."
    return Note("accuracy-below-contract", text, hint=hint)


def infeasible_note(found: Shortfall, unpruned: Mapping[str, float]) -> Note:
    """Names the cost that decides, and the nearest budget that can be kept."""
    nearest = ", ".join(f"{key} {value:.4g}" for key, value in found.nearest.items())
    told = weights_told(found.choice)
    text = (
        f"No network keeps the budget: {found.binding} is at least {found.least:.6g} "
        f"({100 * found.least / unpruned[found.binding]:.0f} % of the unpruned {unpruned[found.binding]:.6g}), "
        f"allowed are {found.allowed:.6g}. Nearest budget found: {nearest}{f' ({told[:-2]})' if told else ''}."
    )
    return Note("budget-infeasible", text)
