"""How much of an error in one layer reaches the outputs of the network.

A small error is put into a layer's result, and the network runs on. The error must look like one: noise that is
independent from pixel to pixel would be averaged out on its way, and pruning does not make such noise. So a share of
the result's variance comes from another sample's result. What then changes at the outputs, relative to their variance,
for each unit of the error, is the layer's reach: about one along a chain of layers, a few hundredths in a shortcut
that an addition drowns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..analysis.channels.trace import key
from ..data import Data
from ..executor import Session
from ..model.edit import fresh_name
from ..model.model import Model
from .layers import Layer
from .prove import raw_outputs
from .sampling import PIECE, choose
from .scoring.sensitivity import damage

Array = npt.NDArray[Any]
SAMPLES = 128
LEAST_SAMPLES = 8
PAIRINGS = 4  # other samples that every sample gets errors from
MAX_MACS = 5e11  # of all runs: large networks are measured on fewer pairs
ERROR = 0.1  # share of a result's variance that comes from another sample
LEAST = 0.01  # what seems to reach nothing on few samples is not free


def reach(model: Model, layers: Sequence[Layer], macs: int, data: Data, seed: int) -> dict[str, float]:
    """Relative squared error of the outputs for each unit of relative squared error of a layer's result, by its weight.

    Shapes of the model are known; `macs` are those of one sample. It is 1 for a layer whose result is an output, and
    for all of them where there is only one sample.
    """
    outputs = list(raw_outputs(model))
    inner = [layer for layer in layers if layer.result not in outputs]
    affordable = max(int(MAX_MACS / max(macs * len(inner), 1)), LEAST_SAMPLES)
    chosen, piece = choose([model], data, min(affordable, SAMPLES), seed)
    found = {layer.weight.name or "": 1.0 for layer in layers}
    if len(chosen) < 2 or not inner:
        return found
    pairings = min(max(affordable // len(chosen), 1), PAIRINGS, len(chosen) - 1)
    noisy = _NoisyModel(model, inner, outputs)
    feeds = list(chosen.batches(piece))
    whole = noisy.run(feeds, [{} for _ in feeds])
    for layer in inner:
        results = [values[layer.result] for values in whole]
        effects = []
        for pairing in range(1, pairings + 1):
            errors = _errors(results, 1 if layer.is_conv else -1, pairing / (pairings + 1))
            changed = noisy.run(feeds, [{layer.result: error} for error in errors])
            effects.append(float(damage(_joined(whole, outputs), _joined(changed, outputs), None)))
        effect = float(np.mean(effects)) / ERROR
        found[layer.weight.name or ""] = max(effect, LEAST) if np.isfinite(effect) else 1.0
    return found


def _errors(results: Sequence[Array], channel_axis: int, distance: float) -> list[Array]:
    """What turns each piece of a result into one of as much variance, of which the share ERROR is another sample's.

    `distance` is that of the other sample, as a share of all of them.
    """
    together = np.concatenate(results)
    others = tuple(axis for axis in range(together.ndim) if axis != channel_axis % together.ndim)
    centred = together - together.mean(axis=others, keepdims=True)
    other = np.roll(centred, max(round(len(centred) * distance), 1), axis=0)
    error = np.sqrt(ERROR) * other - (1 - np.sqrt(1 - ERROR)) * centred
    return np.split(error.astype(together.dtype), np.cumsum([len(result) for result in results])[:-1])


def _joined(pieces: Sequence[Mapping[str, Array]], names: Sequence[str]) -> list[Array]:
    return [np.concatenate([piece[name] for piece in pieces]) for name in names]


class _NoisyModel:
    """The model with an addition behind each of some layers: one input more for each."""

    def __init__(self, model: Model, layers: Sequence[Layer], outputs: Sequence[str]) -> None:
        noisy = model.clone()
        nodes = {key(node): node for node in noisy.graph}
        self._quiet: dict[str, Array] = {}
        self._inputs: dict[str, str] = {}  # the result that each additional input is added to
        for layer in layers:
            result = nodes[key(layer.node)].outputs[0]
            self._inputs[_insert_addition(noisy, nodes[key(layer.node)])] = layer.result
            rank = result.shape.rank() if result.shape is not None else 0
            self._quiet[layer.result] = np.zeros([1] * rank, (result.dtype or ir.DataType.FLOAT).numpy())
        self._session = Session(noisy, [*outputs, *(layer.result for layer in layers)], optimise=False)

    def run(self, feeds: Sequence[Mapping[str, Array]], noise: Sequence[Mapping[str, Array]]) -> list[dict[str, Array]]:
        """Outputs and results before the noise, piece by piece."""
        return [
            self._session.run(
                piece, batch=PIECE, whole={name: errors.get(of, self._quiet[of]) for name, of in self._inputs.items()}
            )
            for piece, errors in zip(feeds, noise, strict=True)
        ]


def _insert_addition(model: Model, node: ir.Node) -> str:
    """A new input, of a shape that broadcasts, that is added to the node's result for all that read it; its name."""
    result = node.outputs[0]
    readers = list(result.uses())
    rank = result.shape.rank() if result.shape is not None else 0
    noise = ir.Value(
        name=fresh_name(model), type=ir.TensorType(result.dtype or ir.DataType.FLOAT), shape=ir.Shape([None] * rank)
    )
    model.graph.inputs.append(noise)
    total = ir.node("Add", [result, noise], name=fresh_name(model, "n"))
    total.outputs[0].name, total.outputs[0].type = fresh_name(model), result.type
    model.graph.insert_after(node, total)
    for use in readers:
        use.node.replace_input_with(use.idx, total.outputs[0])
    return noise.name or ""
