"""What the loss of channels costs in accuracy, after the layers behind them were refitted: measured, not guessed.

Removing the rows R of a layer's weight W and refitting the rows K that stay, on inputs with the normal matrix H, has a
closed form (Hassibi and Stork, Optimal Brain Surgeon, 1992, without the steps in between):

    W_K <- W_K + (H_KK)^-1 H_KR W_R

So one session whose refitted weights are inputs measures any combination of widths with a forward pass on held-out
samples. The later, complete reconstruction goes through the layers in order and does a little better than this.

Fewer bits are measured in the same way: weights rounded as quantization will, by what their layers' inputs are (GPTQ).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..analysis.channels import Channels
from ..analysis.channels.groups import Mask
from ..analysis.channels.shapes import with_shapes
from ..data import Data
from ..executor import Session
from ..integer.graph import QType
from ..model.edit import weight
from ..model.model import Model
from ..pruning.layers import Layer, consumer_layers, product_layers
from ..pruning.least_squares import RIDGE, NormalEquations
from ..pruning.masked import MaskedModel
from ..pruning.prove import compared_values
from ..pruning.sampling import PIECE, choose, normal_equations
from ..pruning.stages import StagedRun
from ..quantization.rounding import Fit, gptq
from ..quantization.scales import quantize_weights
from ..target import Formats, Progress, no_progress
from .widths import Bits, Widths, removal

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
FIT_SAMPLES = 256
MEASURE_SAMPLES = 128
LEAST_SAMPLES = 8
MAX_ROUNDED = 4  # roundings of one layer that are kept
MEASURE_MACS = 3e11  # of all samples, for one measurement of each group: large networks are measured on fewer samples


class RefitLoss:
    """The loss of accuracy of a network under any widths and bits. `scores` decide which channels go first.

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
        seed: int = 0,
        progress: Progress = no_progress,
    ) -> None:
        """`reference` gives the outputs to keep, where that is another network than `model` itself. With `rounding`
        narrow weights get its scales and are rounded by their inputs; without it, to the nearest."""
        model = with_shapes(model)
        self._channels, self.scores = channels, scores
        self.fitted_on, held_out = data.split(len(data) // 2, seed) if len(data) > 1 else (data, data)
        readers = consumer_layers(model, channels)
        products = product_layers(model)[0]
        seen = _equations(model, [*readers, *(products if rounding else [])], self.fitted_on, seed, progress)
        self._readers = [_reader(layer, seen[layer.node.name or ""], channels) for layer in readers]
        self._rounder = _Rounder(
            rounding or Formats(),
            {str(layer.node.name): layer for layer in products},
            {name: each.gram / max(each.rows, 1) for name, each in seen.items()} if rounding else {},
        )
        outputs = list(compared_values(model))
        self._weights = _weights(model, self._readers)
        self._session = Session(_with_inputs(model, self._weights), outputs, optimise=False)
        self._outputs = outputs
        affordable = int(MEASURE_MACS / max(channels.macs() * len(channels.prunable), 1))
        count = min(max(affordable, LEAST_SAMPLES), MEASURE_SAMPLES)
        chosen, piece = choose([model], held_out, count, seed)
        self._feeds, self._piece = chosen, piece
        self._whole = self._outputs_of(model if reference is None else with_shapes(reference))
        self._classes = len(outputs) > len(model.graph.outputs) or _are_classes(chosen.labels, self._whole[-1])
        self._known: dict[tuple[Widths, Bits], float] = {}
        self._untold = _untold(channels, self._readers)
        self._masked = MaskedModel(model, channels) if self._untold.any() else None

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers (plain node names) whose weights can be asked about with fewer bits."""
        return tuple(self._rounder.layers)

    def __call__(self, widths: Widths, bits: Bits = ()) -> float:
        """The loss with these widths, all groups together, and the weights of these layers rounded to so many bits."""
        if (widths, bits) not in self._known:
            removed = removal(self._channels, widths, self.scores)
            changed: dict[str, Array] = {}
            for reader in self._readers:
                changed |= reader.refitted(removed)
            loss = divergence(self._whole, self._run(changed, bits), self._classes)
            if self._masked is not None and (removed & self._untold).any():
                found = self._masked.run(self._feeds, self._piece, removed & self._untold)
                loss += divergence(self._whole, found, self._classes)
            self._known[widths, bits] = max(loss, 0.0)
        return self._known[widths, bits]

    def of(self, model: Model) -> float:
        """The loss of another network with the same inputs and outputs, on the same samples."""
        return max(divergence(self._whole, self._outputs_of(model), self._classes), 0.0)

    def _outputs_of(self, model: Model) -> list[Array]:
        session = Session(model, self._outputs, optimise=False)
        parts = [session.run(feeds, batch=PIECE) for feeds in self._feeds.batches(self._piece)]
        return [np.concatenate([part[name] for part in parts]) for name in self._outputs]

    def _run(self, changed: Mapping[str, Array], bits: Bits) -> list[Array]:
        weights = {name: changed.get(name, data) for name, data in self._weights.items()}
        for layer, count in bits:
            name = self._rounder.layers[layer].weight.name or ""
            weights[name] = self._rounder(layer, weights[name], count)
        parts = [self._session.run(feeds, batch=PIECE, whole=weights) for feeds in self._feeds.batches(self._piece)]
        return [np.concatenate([part[name] for part in parts]) for name in self._outputs]


@dataclass(eq=False)
class _Rounder:
    """Rounds weights of layers (by plain node name) to the grid that a device has for so many bits.

    hessians: E[x x'] of the inputs [groups, k, k], by which GPTQ rounds; where there is none, to the nearest.
    """

    formats: Formats
    layers: Mapping[str, Layer]
    hessians: Mapping[str, Floats]
    _known: dict[str, dict[tuple[int, bytes], Array]] = field(default_factory=dict)

    def __call__(self, name: str, data: Array, bits: int) -> Array:
        """The real numbers that `data`, the layer's weight, becomes."""
        known, asked = self._known.setdefault(name, {}), (bits, hashlib.blake2b(data.tobytes()).digest())
        if asked not in known:
            if len(known) == MAX_ROUNDED:
                known.pop(next(iter(known)))
            known[asked] = self._rounded(self.layers[name], data, bits, self.hessians.get(name))
        return known[asked]

    def _rounded(self, layer: Layer, data: Array, bits: int, hessian: Floats | None) -> Array:
        matrix = layer.matrix(data)  # [groups, k, n]
        groups, k, n = matrix.shape
        fit = None if hessian is None else Fit(gptq, hessian, np.zeros((groups, k)), None)
        rows = matrix.transpose(0, 2, 1).reshape(groups * n, k)
        found = quantize_weights(rows, 0, None, _INPUT, replace(self.formats, weight_bits=bits), fit)
        return layer.unmatrix(found.real(0).reshape(groups, n, k).transpose(0, 2, 1), data)


_INPUT = QType("s8", 1.0, 0, 8)  # of any layer: the scale of weights does not depend on it


def divergence(whole: list[Array], found: list[Array], classes: bool) -> float:
    """How far outputs moved: in nats between decisions of classifiers, else relative to the outputs' variance."""
    if classes:
        expected, logits = _log_softmax(whole[-1]), _log_softmax(found[-1])
        return float((np.exp(expected) * (expected - logits)).sum(axis=-1).mean())
    return max(_change(one, other) for one, other in zip(whole, found, strict=True))


def _log_softmax(logits: Array) -> Floats:
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


def _weights(model: Model, readers: list[_Reader]) -> dict[str, Array]:
    """What the session takes as inputs: the weights of all products, and the biases of readers."""
    found: dict[str, Array] = {}
    for layer in product_layers(model)[0]:
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
