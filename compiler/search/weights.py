"""What becomes of a layer's weights when a solver asks for fewer bits, or for zeros: for measuring what that loses.

Bits: rounded as quantization will, by what the layer's inputs are (GPTQ). Zeros: in the pattern that the device skips,
the other weights refitted (Optimal Brain Surgeon), as `prune_weights` will.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from ..analysis.channels import Channels
from ..analysis.channels.groups import Mask
from ..integer.graph import QType
from ..model.edit import weight
from ..pruning.layers import Layer
from ..pruning.least_squares import NormalEquations
from ..pruning.patterns import Pattern
from ..pruning.sparsify import Rounds
from ..quantization.rounding import Fit, gptq
from ..quantization.scales import quantize_weights
from ..target import Formats

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Result = TypeVar("Result")
MAX_KEPT = 16  # results of one layer
_INPUT = QType("s8", 1.0, 0, 8)  # of any layer: the scale of weights does not depend on it


@dataclass(eq=False)
class _Kept(Generic[Result]):
    """The last few results of each layer."""

    found: dict[str, dict[tuple[object, ...], Result]] = field(default_factory=dict)

    def __call__(self, layer: str, asked: tuple[object, ...], find: Callable[[], Result]) -> Result:
        known = self.found.setdefault(layer, {})
        if asked not in known:
            if len(known) == MAX_KEPT:
                known.pop(next(iter(known)))
            known[asked] = find()
        return known[asked]


@dataclass(eq=False)
class Rounder:
    """Rounds weights of layers (by plain node name) to the grid that a device has for so many bits.

    hessians: E[x x'] of the inputs [groups, k, k], by which GPTQ rounds; where there is none, to the nearest.
    """

    formats: Formats
    layers: Mapping[str, Layer]
    hessians: Mapping[str, Floats]
    _kept: _Kept[Array] = field(default_factory=_Kept)

    def __call__(self, name: str, data: Array, bits: int) -> Array:
        """The real numbers that `data`, the layer's weight, becomes. Zeros stay."""
        return self._kept(name, (bits, _digest(data)), lambda: self._rounded(name, data, bits))

    def _rounded(self, name: str, data: Array, bits: int) -> Array:
        layer, hessian = self.layers[name], self.hessians.get(name)
        matrix = layer.matrix(data)  # [groups, k, n]
        groups, k, n = matrix.shape
        fit = None if hessian is None else Fit(gptq, hessian, np.zeros((groups, k)), None)
        rows = matrix.transpose(0, 2, 1).reshape(groups * n, k)
        found = quantize_weights(rows, 0, None, _INPUT, replace(self.formats, weight_bits=bits), fit)
        rounded = layer.unmatrix(found.real(0).reshape(groups, n, k).transpose(0, 2, 1), data)
        return np.where(data == 0, np.zeros_like(rounded), rounded)


@dataclass(eq=False)
class Zeroer:
    """Zeroes weights of layers (by plain node name) in a pattern, and refits the others on what the layer saw in the
    original network. `channels` are those of that network: what of a layer is gone has no part in the pattern."""

    pattern: Pattern
    channels: Channels
    layers: Mapping[str, Layer]
    equations: Mapping[str, NormalEquations]
    biases: Mapping[str, Array]  # of the original network, by initializer name
    _kept: _Kept[dict[str, Array]] = field(default_factory=_Kept)

    @classmethod
    def of(
        cls, pattern: Pattern, channels: Channels, layers: Iterable[Layer], seen: Mapping[str, NormalEquations]
    ) -> Zeroer:
        """Of those layers that the pattern fits into; grouped ones are left out."""
        chosen = {
            str(layer.node.name): layer
            for layer in layers
            if layer.groups == 1 and pattern.fits(layer.inner // layer.taps, int(layer.outputs.size))
        }
        found = ((layer.bias, weight(layer.bias)) for layer in chosen.values())
        biases = {str(value.name): data for value, data in found if value is not None and data is not None}
        return cls(pattern, channels, chosen, {name: seen[name] for name in chosen}, biases)

    def __call__(self, name: str, weights: Mapping[str, Array], percent: int, removed: Mask) -> dict[str, Array]:
        """The layer's weight and bias, by initializer name, when `percent` of its weights stay. `weights` are those
        of the network without the removed channels."""
        layer = self.layers[name]
        data = weights[layer.weight.name or ""]
        gone = self._gone(layer, data, removed)
        asked = (percent, _digest(data), _digest(gone))
        return self._kept(name, asked, lambda: self._zeroed(layer, weights, percent / 100, gone))

    def _gone(self, layer: Layer, data: Array, removed: Mask) -> Array:
        """[k, n]: the weights that channels took with them."""
        gone, mask = np.zeros(data.shape, np.bool_), np.append(removed, False)
        for axis in range(data.ndim):
            units = self.channels.units.get((layer.weight.name or "", axis))
            if units is not None:
                gone |= mask[units].reshape([-1 if each == axis else 1 for each in range(data.ndim)])
        return np.asarray(layer.matrix(gone)[0] > 0)

    def _zeroed(self, layer: Layer, weights: Mapping[str, Array], density: float, gone: Array) -> dict[str, Array]:
        name, data = layer.weight.name or "", weights[layer.weight.name or ""]
        rows, columns = np.asarray(~gone.all(axis=1)), np.asarray(~gone.all(axis=0))
        inputs = int(rows.sum()) // layer.taps
        if not self.pattern.fits(inputs, int(columns.sum())):
            return {}
        seen, matrix = _part(self.equations[str(layer.node.name)], rows, columns), layer.matrix(data)
        solver = Rounds(self.pattern, self.pattern.density(density), "obs", 0, {}, rounds=2)  # quick
        start = matrix[:, rows][:, :, columns]
        bias = weights.get(layer.bias.name or "") if layer.bias is not None else None
        found, shift = solver.solve(layer, seen, start, bias is not None)
        matrix[0][np.ix_(rows, columns)] = found[0]
        changed = {name: layer.unmatrix(matrix, data)}
        if layer.bias is not None and bias is not None:
            full = np.broadcast_to(bias.ravel(), columns.shape).astype(np.float64)
            before = np.broadcast_to(self.biases[layer.bias.name or ""].ravel(), columns.shape)
            full[columns] = shift[0] + (before[columns] if layer.bias_follows else 0.0)
            changed[layer.bias.name or ""] = full.reshape(bias.shape if bias.size == full.size else -1).astype(
                bias.dtype
            )
        return changed


def _part(whole: NormalEquations, rows: Array, columns: Array) -> NormalEquations:
    """The problem of some outputs of a layer with one group, from some of its inputs."""
    return NormalEquations(
        whole.rows,
        whole.gram[:, rows][:, :, rows],
        whole.cross[:, rows][:, :, columns],
        whole.sum_a[:, rows],
        whole.sum_y[:, columns],
        whole.sum_yy,
    )


def _digest(data: Array) -> bytes:
    return hashlib.blake2b(data.tobytes()).digest()
