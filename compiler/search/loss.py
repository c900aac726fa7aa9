"""What the loss of channels costs in accuracy, after the layers behind them were refitted: measured, not guessed.

Removing the rows R of a layer's weight W and refitting the rows K that stay, on inputs with the normal matrix H, has a
closed form (Hassibi and Stork, Optimal Brain Surgeon, 1992, without the steps in between):

    W_K <- W_K + (H_KK)^-1 H_KR W_R

So one session whose refitted weights are inputs measures any combination of widths with a forward pass on held-out
samples. The later, complete reconstruction goes through the layers in order and does a little better than this.

Fewer bits, and zeros inside of layers, are measured in the same way (weights.py).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ..analysis.channels import Channels
from ..analysis.channels.groups import Mask
from ..analysis.channels.shapes import with_shapes
from ..data import Data
from ..executor import Session
from ..model.edit import weight
from ..model.model import Model
from ..pruning.layers import Layer, consumer_layers, product_layers
from ..pruning.least_squares import RIDGE, NormalEquations
from ..pruning.masked import MaskedModel
from ..pruning.patterns import Pattern
from ..pruning.prove import compared_values
from ..pruning.sampling import PIECE, choose, normal_equations
from ..pruning.stages import StagedRun
from ..target import Formats, Progress, no_progress
from .weights import Rounder, Zeroer
from .widths import Bits, Densities, Widths, removal

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
FIT_SAMPLES = 256
MEASURE_SAMPLES = 128
LEAST_SAMPLES = 8
MEASURE_MACS = 3e11  # of all samples, for one measurement of each group: large networks are measured on fewer samples


class RefitLoss:
    """The loss of accuracy of a network under any widths, bits and zeros. `scores` decide which channels go first.

    For classifiers the mean Kullback-Leibler divergence of the decisions from the original's, in nats; for anything
    else the squared error of the outputs, relative to their variance. Labels are not used but to tell a classifier.
    """

    def __init__(
        self,
        model: Model,
        channels: Channels,
        scores: Floats,
        data: Data,
        *,
        reference: Model | None = None,
        rounding: Formats | None = None,
        zeros: Pattern | None = None,
        seed: int = 0,
        progress: Progress = no_progress,
    ) -> None:
        """`reference` gives the outputs to keep, where that is another network than `model` itself. With `rounding`
        narrow weights get its scales and are rounded by their inputs; without it, to the nearest. `zeros`: the pattern
        of what layers may lose of their weights."""
        model = with_shapes(model)
        self._channels, self.scores = channels, scores
        self.fitted_on, held_out = data.split(len(data) // 2, seed) if len(data) > 1 else (data, data)
        readers = consumer_layers(model, channels)
        products = product_layers(model)[0]
        seen = _equations(model, [*readers, *(products if rounding or zeros else [])], self.fitted_on, seed, progress)
        self._readers = [_reader(layer, seen[layer.node.name or ""], channels) for layer in readers]
        self._zeroer = None if zeros is None else Zeroer.of(zeros, channels, products, seen)
        self._rounder = Rounder(
            rounding or Formats(),
            {str(layer.node.name): layer for layer in products},
            {name: each.gram / max(each.rows, 1) for name, each in seen.items()} if rounding else {},
        )
        outputs = list(compared_values(model))
        self._weights = _weights(products, self._readers) | (dict(self._zeroer.biases) if self._zeroer else {})
        self._session = Session(_with_inputs(model, self._weights), outputs, optimise=False)
        self._outputs = outputs
        affordable = int(MEASURE_MACS / max(channels.macs() * len(channels.prunable), 1))
        count = min(max(affordable, LEAST_SAMPLES), MEASURE_SAMPLES)
        chosen, piece = choose([model], held_out, count, seed)
        self._feeds, self._piece = chosen, piece
        self._whole = self._outputs_of(model if reference is None else with_shapes(reference))
        self._classes = len(outputs) > len(model.graph.outputs) or _are_classes(chosen.labels, self._whole[-1])
        self._known: dict[tuple[Widths, Bits, Densities], float] = {}
        self._untold = _untold(channels, self._readers)
        self._masked = MaskedModel(model, channels) if self._untold.any() else None

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers (plain node names) whose weights can be asked about with fewer bits."""
        return tuple(self._rounder.layers)

    @property
    def zeroable(self) -> tuple[str, ...]:
        """The layers (plain node names) whose weights can be asked about with zeros."""
        return tuple(self._zeroer.layers) if self._zeroer is not None else ()

    def __call__(self, widths: Widths, bits: Bits = (), densities: Densities = ()) -> float:
        """The loss with these widths, all groups together, so many per cent of these layers' weights, and so many bits
        of these ones'."""
        asked = (widths, bits, densities)
        if asked not in self._known:
            removed = removal(self._channels, widths, self.scores)
            weights = dict(self._weights)
            for reader in self._readers:
                weights |= reader.refitted(removed)
            for layer, percent in densities:
                assert self._zeroer is not None  # `zeroable` is empty without
                weights |= self._zeroer(layer, weights, percent, removed)
            loss = divergence(self._whole, self._run(weights, bits), self._classes)
            if self._masked is not None and (removed & self._untold).any():
                found = self._masked.run(self._feeds, self._piece, removed & self._untold)
                loss += divergence(self._whole, found, self._classes)
            self._known[asked] = max(loss, 0.0)
        return self._known[asked]

    def of(self, model: Model) -> float:
        """The loss of another network with the same inputs and outputs, on the same samples."""
        return max(divergence(self._whole, self._outputs_of(model), self._classes), 0.0)

    def _outputs_of(self, model: Model) -> list[Array]:
        session = Session(model, self._outputs, optimise=False)
        parts = [session.run(feeds, batch=PIECE) for feeds in self._feeds.batches(self._piece)]
        return [np.concatenate([part[name] for part in parts]) for name in self._outputs]

    def _run(self, weights: dict[str, Array], bits: Bits) -> list[Array]:
        for layer, count in bits:
            name = self._rounder.layers[layer].weight.name or ""
            weights[name] = self._rounder(layer, weights[name], count)
        parts = [self._session.run(feeds, batch=PIECE, whole=weights) for feeds in self._feeds.batches(self._piece)]
        return [np.concatenate([part[name] for part in parts]) for name in self._outputs]


def divergence(whole: list[Array], found: list[Array], classes: bool) -> float:
    """How far outputs moved: in nats between decisions of classifiers, else relative to the outputs' variance."""
    if classes:
        return float(relative_entropy(whole[-1], found[-1]).mean())
    return max(_change(one, other) for one, other in zip(whole, found, strict=True))


def relative_entropy(whole: Array, found: Array) -> Floats:
    """[n]: KL(softmax(whole) ‖ softmax(found)) of logits [n, classes], in nats."""
    expected = log_softmax(whole)
    return np.asarray((np.exp(expected) * (expected - log_softmax(found))).sum(axis=-1))


def log_softmax(logits: Array) -> Floats:
    """Of logits [n, classes], in double precision."""
    wide = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    return np.asarray(wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True)))


def _change(whole: Array, found: Array) -> float:
    one, other = whole.astype(np.float64), found.astype(np.float64)
    spread = float(np.square(one - one.mean(axis=0)).sum())
    return float(np.square(other - one).sum()) / max(spread, np.finfo(np.float64).tiny)


def _are_classes(labels: npt.NDArray[np.generic] | None, output: Array) -> bool:
    """Whether the labels are numbers of the output's classes."""
    if labels is None or output.ndim != 2 or labels.size != len(output) or not np.issubdtype(labels.dtype, np.integer):
        return False
    classes = labels.reshape(-1).astype(np.int64)
    return bool(classes.min() >= 0 and classes.max() < output.shape[1])


# -- readers ----------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Reader:
    """A layer that sums over prunable channels, and what its refit needs: H [groups, k, k], W [groups, k, n]."""

    layer: Layer
    units: npt.NDArray[np.int64]  # of every row k; -1 where the row never goes
    gram: Floats
    mean: Floats  # [groups, k]
    weights: Floats
    original: dict[str, Array]  # weight and bias by initializer name
    _last: tuple[bytes, dict[str, Array]] | None = field(default=None)

    def refitted(self, removed: Mask) -> dict[str, Array]:
        """Weight and bias without these units; nothing where none of them is read."""
        gone = np.append(removed, False)[self.units]
        if not gone.any():
            return {}
        name = gone.tobytes()
        if self._last is None or self._last[0] != name:
            self._last = (name, self._solve(gone))
        return self._last[1]

    def _solve(self, gone: Mask) -> dict[str, Array]:
        weights = np.where(gone[None, :, None], 0.0, self.weights)
        for group, gram in enumerate(self.gram):
            cross = gram[np.ix_(~gone, gone)] @ self.weights[group][gone]
            weights[group][~gone] += np.linalg.solve(gram[np.ix_(~gone, ~gone)], cross)
        layer, before = self.layer, self.original[self.layer.weight.name or ""]
        found = {layer.weight.name or "": layer.unmatrix(weights, before)}
        if layer.bias is not None:
            old = self.original[layer.bias.name or ""]
            shift = np.einsum("gk,gkn->gn", self.mean, self.weights - weights).ravel()
            found[layer.bias.name or ""] = (np.broadcast_to(old.ravel(), shift.shape) + shift).astype(old.dtype)
        return found


def _equations(
    model: Model, layers: Iterable[Layer], data: Data, seed: int, progress: Progress
) -> dict[str, NormalEquations]:
    """What every layer (by plain node name) sees in the original network."""
    chosen, piece = choose([model], data, FIT_SAMPLES, seed)
    run = StagedRun(model, list(chosen.batches(piece)))
    ordered = sorted({each.node.name or "": each for each in layers}.values(), key=lambda each: each.position)
    found = {}
    for number, layer in enumerate(ordered):
        progress("Measuring what channels are worth", number / len(ordered))
        run.run_until(layer.position + 1, keep=[layer.inputs, layer.result])
        inputs, outputs = ([values[name] for values in run.values] for name in (layer.inputs, layer.result))
        found[layer.node.name or ""] = normal_equations(layer, inputs, outputs, np.random.default_rng([seed, number]))
    return found


def _reader(layer: Layer, equations: NormalEquations, channels: Channels) -> _Reader:
    data = weight(layer.weight)
    assert data is not None  # an initializer
    axis = next(
        m.axis
        for g in channels.groups
        for m in g.members
        if m.initializer == layer.weight.name and m.role == "consumer"
    )
    gram = equations.centred()[0] if layer.bias is not None else equations.gram
    k = gram.shape[1]
    ridge = np.maximum(RIDGE * np.trace(gram, axis1=1, axis2=2) / k, np.finfo(np.float32).tiny)
    original = {layer.weight.name or "": data}
    bias = weight(layer.bias)
    if layer.bias is not None and bias is not None:
        original[layer.bias.name or ""] = bias
    return _Reader(
        layer,
        np.repeat(channels.units[layer.weight.name or "", axis], layer.taps),
        gram + ridge[:, None, None] * np.eye(k),
        equations.sum_a / max(equations.rows, 1),
        layer.matrix(data),
        original,
    )


def _weights(products: Iterable[Layer], readers: list[_Reader]) -> dict[str, Array]:
    """What the session takes as inputs: the weights of all products, and the biases of readers."""
    found: dict[str, Array] = {}
    for layer in products:
        data = weight(layer.weight)
        assert data is not None  # an initializer
        found[layer.weight.name or ""] = data
    return {**found, **{name: data for reader in readers for name, data in reader.original.items()}}


def _with_inputs(model: Model, names: Iterable[str]) -> Model:
    """A copy with these initializers as inputs."""
    result = model.clone()
    for name in names:
        value = result.graph.initializers.pop(name)
        value.const_value = None
        result.graph.inputs.append(value)
    return result


def _untold(channels: Channels, readers: list[_Reader]) -> Mask:
    """Units that some site sums over which no reader tells about: their loss is measured without a refit."""
    told = {reader.layer.weight.name for reader in readers}
    mask = channels.keep_all()
    for site in channels.sites:
        if site.weight is None or site.weight[0] not in told:
            mask[site.units[site.units >= 0]] = True
    return mask
