"""`fit_budget`: gives every channel group the width with which the device keeps the budget at the least loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..analysis.channels import Channels, channel_groups
from ..data import Data
from ..errors import UsageError
from ..model.model import Model
from ..pruning.criteria import importance, resolve
from ..pruning.cut import cut
from ..pruning.reconstruct import reconstruct
from ..pruning.schedules import held_out
from ..pruning.select import Selection
from ..pruning.structures import ChannelStructure
from ..search.contest import winner
from ..search.decisions import Choice, DeviceCosts, setting_decisions
from ..search.fit import Candidate, Fitter, Shortfall, worthwhile
from ..search.loss import RefitLoss
from ..search.widths import WidthModel, Widths, full_widths, removal
from ..target import Device, Target
from .base import Context, Note, Options, PassResult
from .prune_channels import fit_notes, not_refitted_note, pinned_notes, proof_note
from .quantize import Quantize

if TYPE_CHECKING:
    from ..pipeline import PassRecord

CONTRACT_TRIALS = 2  # between the last network that kept the accuracy and the first that did not
_SLACK = 1e-12  # of rounding in scores


class FitBudget:
    """Chooses widths by the device's own cost and the measured loss, cuts, proves and refits.

    Reads `context.options`: `budget` (upper bounds in units; empty: none), `max_drop` (alone: the cheapest network
    whose score, quantized, falls by no more), `criterion` (which channels go first), `reconstruct`, `seed`; and
    `context.target`, `device` and `calibration`. With any sparsity of the user's own it leaves the model alone: then
    budgets are only checked. A budget that no network keeps leaves the model as it is, and says by how much it fails.

    Raises:
        UsageError: there is no target (code `needs-target`), or no data (`needs-data`).
        InvalidModelError: the cut model does not equal the original with zeroed consumers (code `proof-failed`).
    """

    name: ClassVar[str] = "fit_budget"
    summary: ClassVar[str] = "Fitting the network to the budget"
    requires: ClassVar[tuple[str, ...]] = ("valid",)
    ensures: ClassVar[tuple[str, ...]] = ("valid", "interface", "sparsity")

    def run(self, model: Model, context: Context) -> PassResult:
        options = context.options
        if not options.budget and not minimises(options):
            return PassResult(model, False)
        if not decides(options):
            text = "The budget is only checked: how much to prune was given."
            return PassResult(model, False, (Note("budget-only-checked", text, hint="Leave --sparsity out."),))
        task = _Task.of(model, context)
        if options.budget and task.keeps(options.budget):
            return PassResult(model, False, (Note("budget-met-unpruned", "The unpruned network keeps the budget."),))
        if not task.channels.prunable:
            notes = (
                *pinned_notes(task.channels),
                Note("nothing-to-prune", "No channel can go: no budget changes that."),
            )
            return PassResult(model, False, notes)
        return task.fit_budget() if options.budget else task.fit_contract()


def decides(options: Options) -> bool:
    """Whether the user left it to the device how much is pruned."""
    return not (options.sparsity or options.layer_sparsity or options.weight_sparsity)


def minimises(options: Options) -> bool:
    """Whether the accuracy alone bounds the cost: `max_drop` without budget, sparsity, training or other aims."""
    others = options.budget or options.training.epochs or options.qat_epochs or options.mixed_precision is not None
    return options.max_drop is not None and decides(options) and not others


def cautious_drop(drop: float, samples: int) -> float:
    """A drop of a score between 0 and 1 as measured on so many samples, plus one standard error of such a count."""
    return drop + float(np.sqrt(drop / samples)) if drop > 0 else 0.0


def chosen_settings(records: Sequence[PassRecord]) -> dict[str, int]:
    """The settings of the device that the pass chose together with the widths."""
    settings: dict[str, int] = {}
    for record in records:
        settings |= record.details.get("settings", {})
    return settings


@dataclass(frozen=True, eq=False)
class _Task:
    """One model on one device, and what the steps share."""

    model: Model
    context: Context
    target: Target
    device: Device
    data: Data
    channels: Channels
    keys: tuple[str, ...]
    costs: DeviceCosts

    @classmethod
    def of(cls, model: Model, context: Context) -> _Task:
        if context.target is None or context.device is None:
            raise UsageError(
                "A budget is kept for a device: it needs one.", code="needs-target", hint="--target DEVICE"
            )
        if context.calibration is None:
            raise UsageError(
                "To keep a budget the losses of channels are measured: that needs data.",
                code="needs-data",
                hint="Give some hundred unlabelled samples: --data FILE.npz",
            )
        channels = channel_groups(model)
        works = WidthModel(model, channels, context.formats)
        stated = context.target.cost([works.base], context.device)[0].costs
        keys = tuple(key for key in sorted(context.options.budget) if key in stated)
        primary = next((key for key in ("latency_s", "energy_j", "ram_bytes") if key in stated), min(stated))
        tunes = bool(setting_decisions(context.target, context.device))
        if not keys or (tunes and primary not in keys):
            keys = (*keys, primary)  # a setting may not buy one cost with the time of a sample
        costs = DeviceCosts(context.target, context.device, works.workload, keys)
        return cls(model, context, context.target, context.device, context.calibration, channels, keys, costs)

    @property
    def unpruned(self) -> npt.NDArray[np.float64]:
        """[keys]."""
        return np.asarray(self.costs([Choice(full_widths(self.channels))])[0])

    def keeps(self, budget: Mapping[str, float]) -> bool:
        return all(cost <= budget.get(key, np.inf) for key, cost in zip(self.keys, self.unpruned, strict=True))

    def limits(self, budget: Mapping[str, float]) -> npt.NDArray[np.float64]:
        """[keys]; what has no bound may cost as much as unpruned."""
        whole = zip(self.keys, self.unpruned, strict=True)
        return np.array([budget.get(key, cost) for key, cost in whole], dtype=np.float64)

    # -- the two aims -------------------------------------------------------------------------------------------------

    def fit_budget(self) -> PassResult:
        """The least loss within the budget."""
        fitter, scores = self._fitter()
        limits = self.limits(self.context.options.budget)
        proposals = fitter.proposals(limits, self.context.progress)
        front = fitter.front(self.context.progress)
        notes = [*pinned_notes(self.channels), faster_note(fitter, self.keys[0])]
        details = {"budget": dict(zip(self.keys, map(float, limits), strict=True)), **self._details(fitter, front)}
        if not proposals:
            shortfall = fitter.shortfall(limits)
            note = infeasible_note(shortfall, fitter.whole.costs)
            details["shortfall"] = {**asdict(shortfall), "why": note.text}
            return PassResult(self.model, False, (*notes, note), details)
        found = self._winner(proposals, fitter, scores)
        notes += [self._chosen_note(fitter, found)]
        if self.context.options.max_drop is not None:
            notes += self._contract_notes(found, scores)
        return self._build(found, scores, notes, details)

    def fit_contract(self) -> PassResult:
        """The least cost within the accuracy: bisection along the Pareto front, then between its points."""
        fitter, scores = self._fitter()
        front = fitter.front(self.context.progress)
        notes = [*pinned_notes(self.channels), faster_note(fitter, self.keys[0])]
        details = {"budget": {}, **self._details(fitter, front)}
        drop_of = self._drops(scores)
        allowed = (self.context.options.max_drop or 0.0) + _SLACK

        def keeps(widths: Widths) -> bool:
            drop, error = drop_of(widths)
            return drop + error <= allowed

        low, high = 0, len(front) - 1  # the whole network, at `high`, keeps the accuracy
        while low < high:
            middle = (low + high) // 2
            self.context.progress("Measuring networks of the front", middle / len(front))
            low, high = (low, middle) if keeps(front[middle].choice.widths) else (middle + 1, high)
        best = front[high]
        fails = front[high - 1].costs[self.keys[0]] if high else best.costs[self.keys[0]]
        for number in range(CONTRACT_TRIALS):
            limits = self.unpruned
            limits[0] = (best.costs[self.keys[0]] + fails) / 2
            self.context.progress("Measuring networks between", number / CONTRACT_TRIALS)
            between = fitter.fit(limits)
            if isinstance(between, Shortfall) or between.costs[self.keys[0]] >= best.costs[self.keys[0]]:
                break
            if keeps(between.choice.widths):
                best = between
            else:
                fails = between.costs[self.keys[0]]
        if best.choice.widths == full_widths(self.channels):
            text = f"No smaller network keeps the score within {self.context.options.max_drop:g} of the original's."
            return PassResult(self.model, False, (*notes, Note("accuracy-forbids-pruning", text)), details)
        notes += [self._chosen_note(fitter, best)]
        return self._build(best, scores, notes, details)

    # -- steps --------------------------------------------------------------------------------------------------------

    def _fitter(self) -> tuple[Fitter, npt.NDArray[np.float64]]:
        options, progress = self.context.options, self.context.progress
        progress("Ranking channels", 0.0)
        scores = importance(self.model, self.channels, options.criterion, options.seed, self.data)
        loss = RefitLoss(self.model, self.channels, scores, self.data, seed=options.seed, progress=progress)
        structure = ChannelStructure(self.context.formats.channel_multiple)
        return Fitter(self.channels, structure, self.costs, loss, progress=progress), scores

    def _winner(self, proposals: Sequence[Candidate], fitter: Fitter, scores: npt.NDArray[np.float64]) -> Candidate:
        """What measuring the finished networks decides; without refitting, the solver's first."""
        options, progress = self.context.options, self.context.progress
        if not options.reconstruct:
            return proposals[0]
        return winner(self.model, self.channels, scores, proposals, fitter.loss, seed=options.seed, progress=progress)

    def _pruned(self, widths: Widths, scores: npt.NDArray[np.float64]) -> tuple[Model, list[Note]]:
        """Cut, proven, refitted; with what to say about it."""
        options, removed = self.context.options, removal(self.channels, widths, scores)
        after = self.channels.macs(removed)
        chosen = Selection(removed, resolve(options.criterion, self.data), self.channels.macs(), after, True)
        pruned = cut(self.model, self.channels, removed)
        notes = [proof_note(self.model, self.channels, chosen, pruned, options.seed)]
        if not options.reconstruct:
            return pruned, [*notes, not_refitted_note(False)]
        progress = self.context.progress
        refitted = reconstruct(
            self.model, pruned, self.channels, removed, self.data, seed=options.seed, progress=progress
        )
        return refitted.model, [*notes, *fit_notes(refitted)]

    def _build(
        self, found: Candidate, scores: npt.NDArray[np.float64], notes: Sequence[Note], details: Mapping[str, Any]
    ) -> PassResult:
        model, more = self._pruned(found.choice.widths, scores)
        chosen = {
            "widths": self._widths(found.choice.widths),
            "settings": dict(found.choice.settings),
            "predicted": found.costs,
            "loss": found.loss,
        }
        return PassResult(model, True, (*notes, *more), {**details, **chosen})

    def _drops(self, scores: npt.NDArray[np.float64]) -> Callable[[Widths], tuple[float, float]]:
        """For the network of given widths, quantized: by how much its score on held-out samples is lower than that of
        the model as it is, and the standard error of this, from the share of samples that are decided otherwise."""
        visible, hidden = self.data.split(len(self.data) // 2, self.context.options.seed)
        seen = replace(self, data=visible)
        measure, agreement = held_out(self.model, hidden), held_out(self.model, replace(hidden, labels=None))
        whole = measure(self.model)

        def drop_of(widths: Widths) -> tuple[float, float]:
            if widths == full_widths(self.channels):
                return 0.0, 0.0
            network = Quantize().run(seen._pruned(widths, scores)[0], self.context).model
            return whole - measure(network), float(np.sqrt(max(1 - agreement(network), 0.0) / len(hidden)))

        return drop_of

    # -- what is said -------------------------------------------------------------------------------------------------

    def _details(self, fitter: Fitter, front: Sequence[Candidate]) -> dict[str, Any]:
        return {
            "unpruned": fitter.whole.costs,
            "estimates": self.costs.asked,
            "front": [{"costs": each.costs, "loss": each.loss, "widths": list(each.choice.widths)} for each in front],
        }

    def _widths(self, widths: Widths) -> list[dict[str, Any]]:
        return [
            {"layer": self.model.original(group.producers[0].initializer), "before": group.size, "after": width}
            for group, width in zip(self.channels.prunable, widths, strict=True)
        ]

    def _chosen_note(self, fitter: Fitter, found: Candidate) -> Note:
        kept = ", ".join(
            f"{width}/{size}" for width, size in zip(found.choice.widths, full_widths(self.channels), strict=True)
        )
        costs = "; ".join(f"{key} {fitter.whole.costs[key]:.4g} -> {found.costs[key]:.4g}" for key in self.keys)
        settings = "".join(f" with {name} = {value}" for name, value in found.choice.settings)
        text = (
            f"Channels kept per group: {kept}. Predicted: {costs}{settings}; loss {found.loss:.3g} on held-out "
            f"samples. {self.costs.asked} networks were estimated."
        )
        return Note("widths-chosen", text)

    def _contract_notes(self, found: Candidate, scores: npt.NDArray[np.float64]) -> list[Note]:
        """Whether the network within the budget will also keep the accuracy, as far as held-out samples tell."""
        (drop, _), allowed = self._drops(scores)(found.choice.widths), self.context.options.max_drop or 0.0
        if drop <= allowed + _SLACK:
            return [Note("accuracy-predicted", f"Held-out samples lose {drop:.4f}, allowed are {allowed:g}.")]
        text = f"Within the budget, held-out samples lose {drop:.4f}; allowed are {allowed:g}."
        hint = "--max-drop without --budget finds the smallest network that keeps the accuracy; --epochs fine-tunes."
        return [Note("accuracy-below-contract", text, hint=hint)]


def faster_note(fitter: Fitter, key: str) -> Note:
    """Says, before anything is built, whether a pruned network will cost less at all."""
    gain = fitter.gain()
    if worthwhile(1.0, 1.0 - gain):
        return Note(
            "pruning-pays", f"By the device's model, removing channels can save up to {100 * gain:.0f} % of {key}."
        )
    return Note(
        "pruning-does-not-pay",
        f"By the device's model, removing channels saves at most {100 * gain:.1f} % of {key}: fixed costs decide.",
    )


def infeasible_note(found: Shortfall, unpruned: Mapping[str, float]) -> Note:
    """Names the cost that decides, and the nearest budget that can be kept."""
    nearest = ", ".join(f"{key} {value:.4g}" for key, value in found.nearest.items())
    text = (
        f"No network keeps the budget: {found.binding} is at least {found.least:.6g} "
        f"({100 * found.least / unpruned[found.binding]:.0f} % of the unpruned {unpruned[found.binding]:.6g}), "
        f"allowed are {found.allowed:.6g}. Nearest budget found: {nearest}."
    )
    return Note("budget-infeasible", text)
