"""Network slimming: the scale of the batch normalisation behind a channel (Liu et al., 2017).

A normalised channel has variance one, so its scale |gamma| is the size of what it carries. Once the normalisation has
been folded into the weights the scale stands nowhere, but it can be recovered: it is the standard deviation of what the
layer computes. So channels without a BatchNormalization are measured on samples; without samples their weights' L2 norm
has to do, in parts of the layer's mean and times the mean of the known scales.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ...analysis.channels import Channels
from ...analysis.channels.groups import Units
from ...analysis.channels.shapes import with_shapes
from ...data import Data
from ...executor import Session
from ...model.edit import weight
from ...model.model import Model
from ..sampling import PIECE, choose
from .base import Scores, original_value
from .weights import magnitude

SAMPLES = 256


def batch_norm_scale(model: Model, channels: Channels, seed: int, data: Data | None) -> Scores:
    """The mean scale of every unit over the normalisations, or else layers, that it goes through."""
    known = known_scales(model, channels)
    unknown = np.isnan(known)
    if not unknown.any():
        return known
    if data is not None:
        measured = _deviations(with_shapes(model), channels, data, seed)
        scores = np.where(unknown, measured, known)
        return np.where(np.isnan(scores), np.inf, scores)
    typical = 1.0 if unknown.all() else float(known[~unknown].mean())
    return np.where(unknown, typical * magnitude(2)(model, channels, seed, None), known)


def known_scales(model: Model, channels: Channels) -> Scores:
    """|gamma| of every unit, the mean over several; not a number where it passes no BatchNormalization."""
    found = [node.inputs[1] for node in model.graph if node.op_type == "BatchNormalization"]
    layers: list[tuple[Units, Scores]] = []
    for value in found:
        data = weight(value)
        units = None if value is None else channels.units.get((value.name or "", 0))
        if data is not None and units is not None:
            layers.append((units, np.abs(data).astype(np.float64)))
    return _mean(channels.count, layers)


def _mean(count: int, layers: list[tuple[Units, Scores]]) -> Scores:
    total, positions = np.zeros(count), np.zeros(count)
    for units, values in layers:
        np.add.at(total, units[units >= 0], values[units >= 0])
        np.add.at(positions, units[units >= 0], 1)
    return np.asarray(np.divide(total, positions, out=np.full(count, np.nan), where=positions > 0))


def _deviations(model: Model, channels: Channels, data: Data, seed: int) -> Scores:
    """The standard deviation of what computes every unit, before its activation."""
    layers = list(_layers(model, channels))
    if not layers:
        return np.full(channels.count, np.nan)
    chosen, piece = choose([model], data, SAMPLES, seed)
    session = Session(model, [name for name, _, _ in layers], optimise=False)
    moments = [np.zeros((3, len(units))) for _, _, units in layers]
    for feeds in chosen.batches(piece):
        values = session.run(feeds, batch=PIECE)
        for total, (name, axis, units) in zip(moments, layers, strict=True):
            x = np.moveaxis(values[name], axis, 0).reshape(len(units), -1).astype(np.float64)
            total += [np.full(len(units), x.shape[1]), x.sum(axis=1), np.square(x).sum(axis=1)]
    deviations = [np.sqrt(np.maximum(two / n - np.square(one / n), 0)) for n, one, two in moments]
    return _mean(channels.count, [(units, value) for (_, _, units), value in zip(layers, deviations, strict=True)])


def _layers(model: Model, channels: Channels) -> list[tuple[str, int, Units]]:
    """(output, its channel axis, units) of the convolutions and products with a weight of channels."""
    layers = []
    for node in model.graph:
        w = node.inputs[1] if node.op_type in ("Conv", "Gemm", "MatMul") and len(node.inputs) > 1 else None
        if w is None:
            continue
        source = original_value(w)
        units = channels.units.get((source.name or "", _output_axis(node)))
        if units is not None and (units >= 0).any():
            rank = len(node.outputs[0].shape or ())
            layers.append((node.outputs[0].name or "", 1 if node.op_type == "Conv" else rank - 1, units))
    return layers


def _output_axis(node: ir.Node) -> int:
    """The weight's axis of outputs."""
    if node.op_type == "Gemm":
        return 0 if node.attributes.get_int("transB", 0) else 1
    return 0 if node.op_type == "Conv" else 1
