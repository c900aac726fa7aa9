"""The networks that `fit_budget` chooses among: really cut, refitted, zeroed and quantized, and what they cost then."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..analysis.channels import Channels
from ..data import Data
from ..errors import UnsupportedError
from ..integer.from_qdq import read_qdq
from ..model.model import Model
from ..model.workload import workload
from ..pruning.criteria import resolve
from ..pruning.cut import cut
from ..pruning.patterns import device_pattern
from ..pruning.reconstruct import reconstruct
from ..pruning.select import Selection
from ..quantization.wanted import want_bits
from ..search.contest import zeroed
from ..search.decisions import Choice, tuned
from ..search.widths import removal
from ..target import Counts, Device, Formats, Target, no_progress
from .base import Context, Note
from .prune_channels import fit_notes, not_refitted_note, proof_note
from .prune_weights import fit_notes as zeroed_fit_notes
from .prune_weights import zeroed_note
from .quantize import Quantize

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Networks:
    """What choices about one model make of it. `keys` name the costs; `formats` are those that quantization will use.
    Weights are zeroed in the pattern that the device skips."""

    model: Model
    context: Context
    target: Target
    device: Device
    data: Data
    formats: Formats
    channels: Channels
    keys: tuple[str, ...]

    def build(self, choice: Choice, scores: Floats) -> tuple[Model, list[Note]]:
        """Cut, proven, refitted, zeroed, told its bits; with what to say about it."""
        model, notes = self._cut(choice, scores)
        pattern, options = device_pattern(self.formats), self.context.options
        if pattern is not None and choice.densities:
            criterion, progress = options.weight_criterion, self.context.progress
            done = zeroed(model, choice, pattern, self.data, criterion=criterion, seed=options.seed, progress=progress)
            model, notes = done.model, [*notes, zeroed_note(done, pattern), *zeroed_fit_notes(done)]
        return want_bits(model, dict(choice.bits)), notes

    def _cut(self, choice: Choice, scores: Floats) -> tuple[Model, list[Note]]:
        options, removed = self.context.options, removal(self.channels, choice.widths, scores)
        if not removed.any():
            return self.model, []
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

    def quantize(self, network: Model, choice: Choice) -> Model:
        """A float network with the choice's bits, as `quantize` will give it."""
        return Quantize().run(want_bits(network, dict(choice.bits)), replace(self.context, progress=no_progress)).model

    def roughly_quantize(self, network: Model, choice: Choice) -> Model:
        """With the widest ranges of activations, which take no time to find: they decide nothing between networks."""
        options = replace(self.context.options, ranges="minmax")
        return replace(self, context=replace(self.context, options=options)).quantize(network, choice)

    def costs(self, network: Model, choice: Choice) -> Floats:
        """[keys]: of a float network once it is quantized; counted where the target can, otherwise estimated."""
        device = tuned(self.device, dict(choice.settings))
        quantized = self.quantize(network, choice)
        costs = dict(self.target.cost([workload(quantized)], device)[0].costs)
        if isinstance(self.target, Counts):
            with suppress(UnsupportedError):  # what cannot be counted is estimated
                costs |= self.target.count(read_qdq(quantized, self.context.formats), device)
        return np.array([costs[key].value for key in self.keys], dtype=np.float64)
