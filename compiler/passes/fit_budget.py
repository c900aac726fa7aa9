"""`fit_budget`: channel groups get the widths, layers the bits and zeros, that keep the budget at the least loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from ..analysis.channels import channel_groups
from ..errors import UsageError
from ..model.model import Model
from ..pruning.criteria import importance
from ..pruning.patterns import device_pattern
from ..pruning.structures import ChannelStructure
from ..quantization.asked import asked_formats
from ..search.contest import ranked
from ..search.decisions import (
    Choice,
    Decision,
    DeviceCosts,
    WeightBits,
    WeightDensity,
    bits_decisions,
    density_decisions,
    setting_decisions,
)
from ..search.drop import Drop, drop_measure
from ..search.fit import Candidate, Fitter, Shortfall
from ..search.loss import RefitLoss
from ..search.widths import WidthModel, full_widths
from ..target import Counts
from .base import Context, Note, Options, PassResult
from .budget_networks import Networks
from .budget_notes import SLACK, chosen_note, contract_note, faster_note, infeasible_note
from .prune_channels import pinned_notes
from .quantize import Quantize

if TYPE_CHECKING:
    from ..pipeline import PassRecord

Floats = npt.NDArray[np.float64]
CONTRACT_TRIALS = 2  # between the last network that kept the accuracy and the first that did not
FINISHED = 4  # proposals that are finished for one answer
SETTLINGS = 3  # networks that are finished to see what they really cost
CHECKED = 3  # finished networks whose cost is asked again for one answer
_CLOSE = 0.97  # of a limit: nothing to gain by coming closer
_SLACK = 1e-9  # relative, of rounding in costs
_TINY = np.finfo(np.float64).tiny


class FitBudget:
    """Chooses widths by the device's own cost and the measured loss, cuts, proves and refits.

    Where fewer bits of weights make the device cheaper, and the user does not give them (`weight_bits`,
    `mixed_precision`), each layer's are chosen together with the widths, for `quantize` to use. So are zeros in the
    pattern that the device skips (unless `budget_zeros` is off), and zeroed they are here. Where weights were narrowed
    or zeroed, or the target counts (`target.Counts`), the cost is asked again of the finished network; the solver then
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
        if not task.channels.prunable and not task.layers:
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
class _Task(Networks):
    """One model on one device, and what the steps share."""

    asked: DeviceCosts
    layers: Sequence[Decision]  # on layers' weights, as far as these are left to the device

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
        layers = bits_decisions(channels, structure, costs, works, narrow) if narrow else []
        layers += density_decisions(channels, structure, costs, works) if options.budget_zeros else []
        return cls(
            model, context, context.target, context.device, context.calibration, formats, channels, keys, costs, layers
        )

    @cached_property
    def unpruned(self) -> Floats:
        """[keys]: predicted."""
        return np.asarray(self.asked([Choice(full_widths(self.channels))])[0])

    @cached_property
    def counted(self) -> Floats:
        """[keys]: of the unpruned network, as the target counts them; what it does not count as predicted."""
        if not isinstance(self.target, Counts) or not self.context.options.quantize:
            return self.unpruned
        return self.costs(self.model, Choice(full_widths(self.channels)))

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
        notes += [chosen_note(fitter, found, self.asked.asked)]
        if self.context.options.max_drop is not None:
            notes += [contract_note(self._drops(scores)(found.choice), self.context.options.max_drop)]
        return self._build(found, scores, notes, details)

    def _settle(self, fitter: Fitter, scores: Floats, limits: Floats) -> tuple[Candidate | Shortfall, list[Note]]:
        """The best network within the limits. Where finished networks show that predictions are off, it is looked for
        with limits moved by as much, so that the finished one keeps those asked for, and uses them up. How far they
        are off, a first answer tells that is found quickly."""
        ratio = self.counted / np.maximum(self.unpruned, _TINY)
        best: Candidate | None = None
        notes: list[Note] = []
        counts = isinstance(self.target, Counts) or fitter.narrows
        for number in range(SETTLINGS):
            self.context.progress("Solving for the budget", number / SETTLINGS)
            aimed, quick = limits / np.maximum(ratio, _TINY), counts and number == 0
            proposals = fitter.proposals(aimed, self.context.progress)
            if not proposals and not isinstance(self.target, Counts):
                return best or fitter.shortfall(limits), notes
            answers = self._ranked(proposals, fitter, scores, aimed, quick) if proposals else [fitter.nearest(aimed)]
            if not self.uncertain:
                return answers[0], notes
            found, real = self._first_within(answers, scores, limits)
            predicted = np.array([found.costs[key] for key in self.keys])
            fits = _within(real, limits)
            notes.append(Note("cost-counted", _counted_text(self.keys, predicted, real, fits)))
            if fits and (best is None or found.loss < best.loss):
                best = replace(found, costs=dict(zip(self.keys, map(float, real), strict=True)))
            elif not fits and not proposals:
                return best or _shortfall(self.keys, limits, real, found.choice), notes
            expected, ratio = ratio, real / np.maximum(predicted, _TINY)
            settled = (real > _CLOSE * limits).any() or np.allclose(ratio, expected, rtol=1 - _CLOSE)
            if fits and settled and not quick:
                break
        return best or found, notes

    def _first_within(self, answers: Sequence[Candidate], scores: Floats, limits: Floats) -> tuple[Candidate, Floats]:
        """The first of the best answers that really keeps the limits, and what it costs; the very best where none does,
        or where it misses them by more than the next one could make up for."""
        found: list[tuple[Candidate, Floats]] = []
        for each in answers[:CHECKED]:
            found.append((each, self.costs(self.build(each.choice, scores)[0], each.choice)))
            if _within(found[-1][1], limits):
                return found[-1]
            if not _within(_CLOSE * found[-1][1], limits):
                break
        return found[0]

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
        if best.choice.whole(self.channels):
            text = f"No smaller network keeps the score within {self.context.options.max_drop:g} of the original's."
            return PassResult(self.model, False, (*notes, Note("accuracy-forbids-pruning", text)), details)
        notes += [chosen_note(fitter, best, self.asked.asked)]
        return self._build(best, scores, notes, details)

    # -- steps --------------------------------------------------------------------------------------------------------

    def _fitter(self) -> tuple[Fitter, Floats]:
        options, progress = self.context.options, self.context.progress
        progress("Ranking channels", 0.0)
        scores = importance(self.model, self.channels, options.criterion, options.seed, self.data)
        kinds = {type(each.subject) for each in self.layers}
        loss = RefitLoss(
            self.model,
            self.channels,
            scores,
            self.data,
            rounding=self.formats if WeightBits in kinds else None,
            zeros=device_pattern(self.formats) if WeightDensity in kinds else None,
            seed=options.seed,
            progress=progress,
        )
        structure = ChannelStructure(self.formats.channel_multiple)
        return Fitter(self.channels, structure, self.asked, loss, layers=self.layers, progress=progress), scores

    @property
    def uncertain(self) -> bool:
        """Whether finished networks may cost something else than predicted."""
        return self.context.options.quantize and (bool(self.layers) or isinstance(self.target, Counts))

    def _ranked(
        self, proposals: Sequence[Candidate], fitter: Fitter, scores: Floats, limits: Floats, quick: bool
    ) -> Sequence[Candidate]:
        """Best first, as measuring the finished networks decides, and unless `quick` those near them; without
        refitting, the solver's order."""
        options, progress = self.context.options, self.context.progress
        if not options.reconstruct:
            return proposals
        narrows = any(each.choice.bits for each in proposals)
        return ranked(
            self.model,
            self.channels,
            scores,
            _some(proposals),
            fitter.loss,
            neighbours=None if quick else lambda candidate: fitter.neighbours(candidate, limits),
            finish=self.roughly_quantize if narrows else None,
            pattern=device_pattern(self.formats),
            seed=options.seed,
            progress=progress,
        )

    def _build(self, found: Candidate, scores: Floats, notes: Sequence[Note], details: Mapping[str, Any]) -> PassResult:
        model, more = self.build(found.choice, scores)
        chosen = {
            "widths": self._widths(found.choice),
            "weight_bits": {self.model.original(layer): bits for layer, bits in found.choice.bits},
            "weights_kept_percent": {self.model.original(layer): share for layer, share in found.choice.densities},
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
            if choice.whole(self.channels):
                return Drop(0.0, 0.0)
            return measure(Quantize().run(seen.build(choice, scores)[0], self.context).model)

        return drop_of

    # -- what is said -------------------------------------------------------------------------------------------------

    def _details(self, fitter: Fitter, front: Sequence[Candidate]) -> dict[str, Any]:
        return {
            "unpruned": fitter.whole.costs,
            "estimates": self.asked.asked,
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


def _within(costs: Floats, limits: Floats) -> bool:
    return bool((costs <= limits * (1 + _SLACK)).all())


def _some(proposals: Sequence[Candidate]) -> list[Candidate]:
    """Those of least loss, and the best one without zeros inside of layers: what those lose is estimated roughly."""
    full = [each for each in proposals if not each.choice.densities]
    return list(dict.fromkeys((*proposals[:FINISHED], *full[:1])))


def _counted_text(keys: Sequence[str], predicted: Floats, real: Floats, fits: bool) -> str:
    told = ", ".join(f"{key} {one:.4g} -> {other:.4g}" for key, one, other in zip(keys, predicted, real, strict=True))
    return f"Finished, a network {'keeps' if fits else 'misses'} the budget; predicted -> counted: {told}."


def _shortfall(keys: Sequence[str], limits: Floats, costs: Floats, choice: Choice) -> Shortfall:
    """Of the nearest network, as it was counted."""
    binding = int((costs / limits).argmax())
    nearest = dict(zip(keys, map(float, costs), strict=True))
    return Shortfall(keys[binding], float(limits[binding]), float(costs[binding]), nearest, choice)
