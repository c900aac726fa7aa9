"""What the criteria share: their type, the comparison between layers, and the refusal of missing data."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ...analysis.channels import Channels
from ...analysis.channels.groups import Units
from ...data import Data
from ...errors import UsageError
from ...model.edit import weight
from ...model.model import Model

Array = npt.NDArray[Any]
Scores = npt.NDArray[np.float64]  # per unit; larger matters more
Criterion = Callable[[Model, Channels, int, Data | None], Scores]  # (model, channels, seed, samples)


def needed(data: Data | None, criterion: str, at: str = "activations", instead: str = "l2") -> Data:
    """The data, or the error that there is none: what the criterion looks at, and one that needs no data."""
    if data is None:
        raise UsageError(
            f"The pruning criterion '{criterion}' looks at {at}: it needs data.",
            code="needs-data",
            hint=f"Give some hundred unlabelled samples (--data FILE.npz), or take the criterion {instead}.",
        )
    return data


def relative(count: int, layers: Iterable[tuple[Units, Scores]]) -> Scores:
    """Scores that layers of any scale can be compared by.

    Each layer gives one value per position of an axis; they are divided by the layer's mean. A unit's score is the mean
    over the positions that it has in all layers, infinite where it has none.
    """
    total, positions = np.zeros(count), np.zeros(count)
    for units, values in layers:
        scored = units >= 0
        np.add.at(total, units[scored], values[scored] / max(values.mean(), np.finfo(np.float64).tiny))
        np.add.at(positions, units[scored], 1)
    return np.asarray(np.divide(total, positions, out=np.full(count, np.inf), where=positions > 0))


def per_saving(channels: Channels, costs: Scores) -> Scores:
    """Costs of units for each share of the MACs that one unit alone saves; infinite for those that save nothing."""
    saved, whole = np.zeros(channels.count), channels.macs()
    for group in channels.prunable:
        one = channels.keep_all()
        one[group.first] = True
        saved[group.units] = (whole - channels.macs(one)) / max(whole, 1)
    return np.asarray(np.divide(costs, saved, out=np.full(channels.count, np.inf), where=saved > 0))


def producers(channels: Channels) -> list[tuple[str, int]]:
    """The axes of initializers that compute channels, sorted."""
    return sorted({(m.initializer, m.axis) for group in channels.groups for m in group.producers})


def real_weight(model: Model, name: str) -> Scores:
    """An initializer's numbers; those of an integer one (QDQ) times its scale, as DequantizeLinear computes them."""
    value = model.graph.initializers[name]
    data = weight(value)
    assert data is not None  # an initializer
    user = next((use.node for use in value.uses() if use.node.op_type == "DequantizeLinear" and use.idx == 0), None)
    if np.issubdtype(data.dtype, np.floating) or user is None:
        return np.asarray(data, dtype=np.float64)
    scale, zero = weight(user.inputs[1]), weight(user.inputs[2]) if len(user.inputs) > 2 else None
    if scale is None or scale.ndim > 1:  # computed, or one for every block: the integers have to do
        return np.asarray(data, dtype=np.float64)
    axis = user.attributes.get_int("axis", 1) if scale.ndim else 0
    shape = [-1 if position == axis % data.ndim else 1 for position in range(data.ndim)] if scale.ndim else []
    start = np.zeros(()) if zero is None else zero.astype(np.float64)
    return np.asarray((data.astype(np.float64) - start.reshape(shape if start.ndim else [])) * scale.reshape(shape))


def rows(data: Scores, axis: int) -> Scores:
    """One row for every position of an axis."""
    return np.asarray(np.moveaxis(data, axis, 0).reshape(data.shape[axis], -1))


def original_value(value: ir.Value) -> ir.Value:
    """The initializer behind a DequantizeLinear, or the value itself."""
    node = value.producer()
    source = node.inputs[0] if node is not None and node.op_type == "DequantizeLinear" else None
    return source if source is not None and source.is_initializer() else value
