"""Measured activation density: which share of a layer's inputs is not zero on real samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..data import Data
from ..executor import Session
from ..model.model import Model
from ..model.workload import Workload

SAMPLES = 8
TENSORS_AT_ONCE = 16  # bounds the memory that fetched tensors take


def with_activation_density(work: Workload, model: Model, data: Data) -> Workload:
    """The workload with `input_density` measured on the first samples; values are compared with exactly zero.

    work: read from `model`. Layers whose input is a constant, or that do not name a node of the model, keep theirs.
    """
    inputs = {
        str(node.name): str(value.name)
        for node in model.graph
        for value in node.inputs[:1]
        if value is not None and value.name and value.const_value is None
    }
    wanted = sorted({inputs[layer.origin] for layer in work.layers if layer.macs and layer.origin in inputs})
    samples = data.first(SAMPLES).inputs
    densities = {
        name: float(np.count_nonzero(array) / max(array.size, 1)) for name, array in samples.items() if name in wanted
    }
    fetched = [name for name in wanted if name not in densities]
    for start in range(0, len(fetched), TENSORS_AT_ONCE):
        group = fetched[start : start + TENSORS_AT_ONCE]
        for name, array in Session(model, group).run(samples, batch=SAMPLES).items():
            densities[name] = float(np.count_nonzero(array) / max(array.size, 1))
    layers = tuple(
        replace(layer, input_density=densities.get(inputs.get(layer.origin, ""), layer.input_density))
        if layer.macs
        else layer
        for layer in work.layers
    )
    return replace(work, layers=layers)
