"""What a float model will ask of hardware once it is quantized, as far as its weights tell before any data is seen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..integer.graph import QType
from ..model.edit import weight
from ..model.model import Model
from ..model.workload import Layer, Workload, signed_digits, workload
from ..target import Formats, quantized_like
from .operators import Linear, classify
from .scales import quantize_weights

_INPUT = QType("s8", 1.0, 0, 8)  # of any layer: the scale of weights does not depend on it


def quantized_workload(model: Model, formats: Formats, work: Workload | None = None) -> Workload:
    """The layers at the bit widths of `formats`, with zeros and signed digits of float weights rounded to the nearest.

    `work`: the model's workload where it is known already.
    """
    narrowed = Narrowed(model, formats)
    work = quantized_like(workload(model) if work is None else work, formats)
    return replace(work, layers=tuple(narrowed.at(layer, layer.weight_bits) for layer in work.layers))


@dataclass(eq=False)
class Narrowed:
    """Layers of a float model at any weight bits. Where weights are no floats, or no operator has them, only the bits
    change."""

    model: Model
    formats: Formats
    _linears: dict[str, Linear] = field(init=False)
    _known: dict[tuple[str, int, float], tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        found = (classify(node) for node in self.model.graph)
        self._linears = {str(each.node.name): each for each in found if isinstance(each, Linear)}

    def at(self, layer: Layer, bits: int, density: float = 1.0) -> Layer:
        """The layer with weights of so many bits, of which the largest stay and the others are zero."""
        linear = self._linears.get(layer.origin)
        data = None if linear is None else weight(linear.weight)
        if linear is None or data is None or data.dtype.kind != "f" or not data.size:
            return replace(layer, weight_bits=bits)
        if (layer.origin, bits, density) not in self._known:
            formats = replace(self.formats, weight_bits=bits)
            integers = quantize_weights(_largest(data, density), linear.axis, None, _INPUT, formats).weight
            zeros = float(1 - np.count_nonzero(integers) / data.size)
            self._known[layer.origin, bits, density] = signed_digits(integers), zeros
        digits, zeros = self._known[layer.origin, bits, density]
        return replace(layer, weight_bits=bits, weight_digits=digits, zero_fraction=zeros)


def _largest(data: npt.NDArray[Any], density: float) -> npt.NDArray[Any]:
    """The weights with all but the largest set to zero."""
    gone = data.size - max(1, round(density * data.size))
    if not gone:
        return data
    kept = data.copy().ravel()
    kept[np.argpartition(np.abs(kept), gone)[:gone]] = 0
    return kept.reshape(data.shape)
