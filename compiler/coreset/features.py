"""What a model makes of a sample: the values that its last layer with weights reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ..analysis.channels.shapes import with_shapes
from ..data import Data
from ..executor import Session
from ..model.edit import weight
from ..model.model import Model

Floats = npt.NDArray[np.float64]
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def features(data: Data, model: Model) -> Floats:
    """[samples, features]: feature maps count by their means over places.

    Where no layer with weights reads a computed value, the samples themselves are the features, each input in parts of
    its deviation.
    """
    name = _last_input(model)
    if name is not None:
        values = Session(model, [name], optimise=False).run(data.inputs)[name]
        if len(values) == len(data):
            return _rows(values)
    inputs = [_flat(array) for array in data.inputs.values()]
    return np.concatenate([rows / max(float(rows.std()), np.finfo(np.float64).tiny) for rows in inputs], axis=1)


def _last_input(model: Model) -> str | None:
    """The computed value that the last layer with weights of its own reads."""
    inputs = {value.name for value in model.graph.inputs}
    for node in reversed(list(with_shapes(model).graph)):
        value = node.inputs[0] if node.op_type in _LAYERS else None
        if value is not None and len(node.inputs) > 1 and _has_weight(node.inputs[1]) and value.name not in inputs:
            return value.name
    return None


def _has_weight(value: Any) -> bool:
    """Whether it is a constant, or one behind a DequantizeLinear."""
    node = value.producer() if value is not None else None
    source = node.inputs[0] if node is not None and node.op_type == "DequantizeLinear" else value
    return weight(source) is not None


def _rows(values: npt.NDArray[Any]) -> Floats:
    """[samples, channels]: means over places of feature maps, everything else as it stands."""
    return np.asarray(values.mean(axis=tuple(range(2, values.ndim))) if values.ndim > 3 else _flat(values), np.float64)


def _flat(array: npt.NDArray[Any]) -> Floats:
    return np.asarray(array.reshape(len(array), -1), dtype=np.float64)
