"""`fit_budget`: every channel group gets the width, every layer the bits, that keep the budget at the least loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..analysis.channels import Channels, channel_groups
from ..data import Data
from ..errors import UnsupportedError, UsageError
from ..integer.from_qdq import read_qdq
from ..model.model import Model
from ..model.workload import workload
from ..pruning.criteria import importance, resolve
from ..pruning.cut import cut
from ..pruning.reconstruct import reconstruct
from ..pruning.select import Selection
from ..pruning.structures import ChannelStructure
from ..quantization.asked import asked_formats
from ..quantization.wanted import want_bits
from ..search.contest import winner
from ..search.decisions import Choice, Decision, DeviceCosts, bits_decisions, setting_decisions, tuned
from ..search.drop import Drop, drop_measure
from ..search.fit import Candidate, Fitter, Shortfall
from ..search.loss import RefitLoss
from ..search.widths import WidthModel, full_widths, removal
from ..target import Counts, Device, Formats, Target, no_progress
from .base import Context, Note, Options, PassResult
from .budget_notes import SLACK, chosen_note, contract_note, faster_note, infeasible_note
from .prune_channels import fit_notes, not_refitted_note, pinned_notes, proof_note
from .quantize import Quantize

if TYPE_CHECKING:
    from ..pipeline import PassRecord

Floats = npt.NDArray[np.float64]
CONTRACT_TRIALS = 2  # between the last network that kept the accuracy and the first that did not
FINISHED = 4  # proposals that are finished for one answer
SETTLINGS = 3  # networks that are finished to see what they really cost
_CLOSE = 0.97  # of a limit: nothing to gain by coming closer
_SLACK = 1e-9  # relative, of rounding in costs


class FitBudget:
    """Chooses widths by the device's own cost and the measured loss, cuts, proves and refits.

    Where fewer bits of weights make the device cheaper, and the user does not give them (`weight_bits`,
    `mixed_precision`), each layer's are chosen together with the widths, for `quantize` to use. Where bits were
    narrowed, or the target counts (`target.Counts`), the cost is asked again of the finished network; the solver then
    aims as far from the bounds as its prediction was off.

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
        if not task.channels.prunable and not task.bits:
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
    formats: Formats  # that quantization will use
    channels: Channels
    keys: tuple[str, ...]
    costs: DeviceCosts
    bits: Sequence[Decision]  # on layers' weights, as far as these are left to the device

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
        channels, options = channel_groups(model), context.options
        formats = asked_formats(context.formats, options) if options.quantize else context.formats
        works = WidthModel(model, channels, formats)
        stated = context.target.cost([works.base], context.device)[0].costs
        keys = tuple(key for key in sorted(context.options.budget) if key in stated)
        primary = next((key for key in ("latency_s", "energy_j", "ram_bytes") if key in stated), min(stated))
        tunes = bool(setting_decisions(context.target, context.device))
        if not keys or (tunes and primary not in keys):
            keys = (*keys, primary)  # a setting may not buy one cost with the time of a sample
        costs = DeviceCosts(context.target, context.device, works.workload, keys)
        structure = ChannelStructure(formats.channel_multiple)
        narrow = formats.narrow_weights if _decides_bits(options) else ()
        bits = bits_decisions(channels, structure, costs, works, narrow) if narrow else []
        return cls(
            model, context, context.target, context.device, context.calibration, formats, channels, keys, costs, bits
        )

    @cached_property
    def unpruned(self) -> Floats:
        """[keys]: predicted."""
        return np.asarray(self.costs([Choice(full_widths(self.channels))])[0])

    @cached_property
    def counted(self) -> Floats:
        """[keys]: of the unpruned network, as the target counts them; what it does not count as predicted."""
        if not isinstance(self.target, Counts) or not self.context.options.quantize:
            return self.unpruned
        return self._finished_costs(self.model, Choice(full_widths(self.channels)))

    def keeps(self, budget: Mapping[str, float]) -> bool:
        return all(cost <= budget.get(key, np.inf) for key, cost in zip(self.keys, self.counted, strict=True))

    def limits(self, budget: Mapping[str, float]) -> Floats:
        """[keys]; what has no bound may cost as much as unpruned."""
        whole = zip(self.keys, self.counted, strict=True)
        return np.array([budget.get(key, cost) for key, cost in whole], dtype=np.float64)

    # -- the two aims -------------------------------------------------------------------------------------------------

    def fit_budget(self) -> PassResult:
        """The least loss within the budget."""
        fitter, scores = self._fitter()
        limits = self.limits(self.context.options.budget)
        found, notes = self._settle(fitter, scores, limits)
        front = fitter.front(self.context.progress)
        notes = [*pinned_notes(self.channels), faster_note(fitter, self.keys[0]), *notes]
        details = {"budget": dict(zip(self.keys, map(float, limits), strict=True)), **self._details(fitter, front)}
        if isinstance(found, Shortfall):
            note = infeasible_note(found, fitter.whole.costs)
            short = {key: value for key, value in asdict(found).items() if key != "choice"}
            details["shortfall"] = {**short, "why": note.text}
            return PassResult(self.model, False, (*notes, note), details)
        notes += [chosen_note(fitter, found, self.costs.asked)]
        if self.context.options.max_drop is not None:
            notes += [contract_note(self._drops(scores)(found.choice), self.context.options.max_drop)]
        return self._build(found, scores, notes, details)

    def _settle(self, fitter: Fitter, scores: Floats, limits: Floats) -> tuple[Candidate | Shortfall, list[Note]]:
        """The best network within the limits. Where finished networks show that predictions are off, it is looked for
        with limits moved by as much, so that the finished one keeps those asked for, and uses them up."""
        ratio = self.counted / np.maximum(self.unpruned, np.finfo(np.float64).tiny)
        best: Candidate | None = None
        notes: list[Note] = []
        for number in range(SETTLINGS):
            self.context.progress("Solving for the budget", number / SETTLINGS)
            aimed = limits / np.maximum(ratio, np.finfo(np.float64).tiny)
            proposals = fitter.proposals(aimed, self.context.progress)
            if not proposals and not isinstance(self.target, Counts):
                return best or fitter.shortfall(limits), notes
            found = self._winner(proposals, fitter, scores, aimed) if proposals else fitter.nearest(aimed)
            if not self._uncertain(found.choice):
                return found, notes
            real = self._finished_costs(self._pruned(found.choice, scores)[0], found.choice)
            predicted = np.array([found.costs[key] for key in self.keys])
            fits = bool((real <= limits * (1 + _SLACK)).all())
            notes.append(Note("cost-counted", _counted_text(self.keys, predicted, real, fits)))
            if fits and (best is None or found.loss < best.loss):
                best = replace(found, costs=dict(zip(self.keys, map(float, real), strict=True)))
            elif not fits and not proposals:
                return best or _shortfall(self.keys, limits, real, found.choice), notes
            if fits and (real > _CLOSE * limits).any():
                break
            ratio = real / np.maximum(predicted, np.finfo(np.float64).tiny)
        return best or found, notes

    def fit_contract(self) -> PassResult:
        """The least cost within the accuracy: bisection along the Pareto front, then between its points."""
        fitter, scores = self._fitter()
        front = fitter.front(self.context.progress)
        notes = [*pinned_notes(self.channels), faster_note(fitter, self.keys[0])]
        details = {"budget": {}, **self._details(fitter, front)}
        drop_of = self._drops(scores)
        allowed = (self.context.options.max_drop or 0.0) + SLACK

        def keeps(choice: Choice) -> bool:
            drop = drop_of(choice)
            return drop.value + drop.error <= allowed

        low, high = 0, len(front) - 1  # the whole network, at `high`, keeps the accuracy
        while low < high:
            middle = (low + high) // 2
            self.context.progress("Measuring networks of the front", middle / len(front))
            low, high = (low, middle) if keeps(front[middle].choice) else (middle + 1, high)
        best = front[high]
        fails = front[high - 1].costs[self.keys[0]] if high else best.costs[self.keys[0]]
        for number in range(CONTRACT_TRIALS):
            limits = self.unpruned.copy()
            limits[0] = (best.costs[self.keys[0]] + fails) / 2
            self.context.progress("Measuring networks between", number / CONTRACT_TRIALS)
            between = fitter.fit(limits)
            if isinstance(between, Shortfall) or between.costs[self.keys[0]] >= best.costs[self.keys[0]]:
                break
            if keeps(between.choice):
                best = between
            else:
                fails = between.costs[self.keys[0]]
        if best.choice.widths == full_widths(self.channels) and not best.choice.bits:
            text = f"No smaller network keeps the score within {self.context.options.max_drop:g} of the original's."
            return PassResult(self.model, False, (*notes, Note("accuracy-forbids-pruning", text)), details)
        notes += [chosen_note(fitter, best, self.costs.asked)]
        return self._build(best, scores, notes, details)

    # -- steps --------------------------------------------------------------------------------------------------------

    def _fitter(self) -> tuple[Fitter, Floats]:
        options, progress = self.context.options, self.context.progress
        progress("Ranking channels", 0.0)
        scores = importance(self.model, self.channels, options.criterion, options.seed, self.data)
        rounding = self.formats if self.bits else None
        loss = RefitLoss(
            self.model, self.channels, scores, self.data, rounding=rounding, seed=options.seed, progress=progress
        )
        structure = ChannelStructure(self.formats.channel_multiple)
        return Fitter(self.channels, structure, self.costs, loss, bits=self.bits, progress=progress), scores

    def _winner(self, proposals: Sequence[Candidate], fitter: Fitter, scores: Floats, limits: Floats) -> Candidate:
        """What measuring the finished networks decides; without refitting, the solver's first."""
        options, progress = self.context.options, self.context.progress
        if not options.reconstruct:
            return proposals[0]
        narrows = any(each.choice.bits for each in proposals)
        return winner(
            self.model,
            self.channels,
            scores,
            proposals[:FINISHED],
            fitter.loss,
            neighbours=lambda candidate: fitter.neighbours(candidate, limits),
            finish=self._roughly_quantized if narrows else None,
            seed=options.seed,
            progress=progress,
        )

    def _roughly_quantized(self, network: Model, choice: Choice) -> Model:
        """With the widest ranges of activations, which take no time to find: they decide nothing between networks."""
        options = replace(self.context.options, ranges="minmax")
        return replace(self, context=replace(self.context, options=options))._quantized(network, choice)

    def _quantized(self, network: Model, choice: Choice) -> Model:
        return Quantize().run(want_bits(network, dict(choice.bits)), replace(self.context, progress=no_progress)).model

    def _uncertain(self, choice: Choice) -> bool:
        """Whether the finished network may cost something else than predicted."""
        return self.context.options.quantize and (bool(choice.bits) or isinstance(self.target, Counts))

    def _finished_costs(self, network: Model, choice: Choice) -> Floats:
        """[keys]: of a float network once it is quantized; counted where the target can, otherwise estimated."""
        device = tuned(self.device, dict(choice.settings))
        quantized = self._quantized(network, choice)
        costs = dict(self.target.cost([workload(quantized)], device)[0].costs)
        if isinstance(self.target, Counts):
            with suppress(UnsupportedError):  # what cannot be counted is estimated
                costs |= self.target.count(read_qdq(quantized, self.context.formats), device)
        return np.array([costs[key].value for key in self.keys], dtype=np.float64)

    def _pruned(self, choice: Choice, scores: Floats) -> tuple[Model, list[Note]]:
        """Cut, proven, refitted, told its bits; with what to say about it."""
        options, removed = self.context.options, removal(self.channels, choice.widths, scores)
        if not removed.any():
            return want_bits(self.model, dict(choice.bits)), []
        after = self.channels.macs(removed)
        chosen = Selection(removed, resolve(options.criterion, self.data), self.channels.macs(), after, True)
        pruned = cut(self.model, self.channels, removed)
        notes = [proof_note(self.model, self.channels, chosen, pruned, options.seed)]
        if not options.reconstruct:
            return want_bits(pruned, dict(choice.bits)), [*notes, not_refitted_note(False)]
        progress = self.context.progress
        refitted = reconstruct(
            self.model, pruned, self.channels, removed, self.data, seed=options.seed, progress=progress
        )
        return want_bits(refitted.model, dict(choice.bits)), [*notes, *fit_notes(refitted)]

    def _build(self, found: Candidate, scores: Floats, notes: Sequence[Note], details: Mapping[str, Any]) -> PassResult:
        model, more = self._pruned(found.choice, scores)
        chosen = {
            "widths": self._widths(found.choice),
            "weight_bits": {self.model.original(layer): bits for layer, bits in found.choice.bits},
            "settings": dict(found.choice.settings),
            "predicted": found.costs,
            "loss": found.loss,
        }
        return PassResult(model, True, (*notes, *more), {**details, **chosen})

    def _drops(self, scores: Floats) -> Callable[[Choice], Drop]:
        """By how much the network of a choice, quantized, scores lower on held-out samples than the model as it is."""
        visible, hidden = self.data.split(len(self.data) // 2, self.context.options.seed)
        seen = replace(self, data=visible)
        measure = drop_measure(self.model, hidden, self.context.metric)

        def drop_of(choice: Choice) -> Drop:
            if choice.widths == full_widths(self.channels) and not choice.bits:
                return Drop(0.0, 0.0)
            return measure(Quantize().run(seen._pruned(choice, scores)[0], self.context).model)

        return drop_of

    # -- what is said -------------------------------------------------------------------------------------------------

    def _details(self, fitter: Fitter, front: Sequence[Candidate]) -> dict[str, Any]:
        return {
            "unpruned": fitter.whole.costs,
            "estimates": self.costs.asked,
            "front": [{"costs": each.costs, "loss": each.loss, "widths": list(each.choice.widths)} for each in front],
        }

    def _widths(self, choice: Choice) -> list[dict[str, Any]]:
        return [
            {"layer": self.model.original(group.producers[0].initializer), "before": group.size, "after": width}
            for group, width in zip(self.channels.prunable, choice.widths, strict=True)
        ]


def _decides_bits(options: Options) -> bool:
    """Whether the user left the bits of the weights to the device."""
    return options.quantize and options.weight_bits is None and options.mixed_precision is None


def _counted_text(keys: Sequence[str], predicted: Floats, real: Floats, fits: bool) -> str:
    told = ", ".join(f"{key} {one:.4g} -> {other:.4g}" for key, one, other in zip(keys, predicted, real, strict=True))
    return f"Finished, a network {'keeps' if fits else 'misses'} the budget; predicted -> counted: {told}."


def _shortfall(keys: Sequence[str], limits: Floats, costs: Floats, choice: Choice) -> Shortfall:
    """Of the nearest network, as it was counted."""
    binding = int((costs / limits).argmax())
    nearest = dict(zip(keys, map(float, costs), strict=True))
    return Shortfall(keys[binding], float(limits[binding]), float(costs[binding]), nearest, choice)
