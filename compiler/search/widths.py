"""The workload of a network whose channel groups have other widths and layers other bits, without cutting the network.

Every dimension is a number plus, for each prunable group, how often a unit of the group occurs in it. So all sizes of
all layers follow from one product of a matrix with the widths, and each layer's record from its sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..analysis.channels import Channels
from ..analysis.channels.groups import CountPatch, Mask, Units
from ..analysis.channels.shapes import static_dims, with_shapes
from ..analysis.channels.trace import attribute, key
from ..model.edit import weight
from ..model.model import Model
from ..model.workload import Layer, Sparsity, Workload
from ..pruning.patterns import device_pattern
from ..quantization.outlook import Narrowed, quantized_workload
from ..target import Formats

Widths = tuple[int, ...]  # units that stay, one number per prunable group
Bits = tuple[tuple[str, int], ...]  # (plain node name, weight bits) of the layers that differ from the device's
Densities = tuple[tuple[str, int], ...]  # (plain node name, per cent of the weights that stay) of layers with zeros
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def full_widths(channels: Channels) -> Widths:
    """Nothing removed."""
    return tuple(group.size for group in channels.prunable)


def removal(channels: Channels, widths: Widths, scores: npt.NDArray[np.float64]) -> Mask:
    """The removal that leaves `widths` units in each group: those with the lowest scores go."""
    removed = channels.keep_all()
    for group, width in zip(channels.prunable, widths, strict=True):
        order = group.units[np.argsort(scores[group.units], kind="stable")]
        removed[order[: group.size - width]] = True
    return removed


@dataclass(frozen=True)
class _Sizes:
    """Numbers of the dimensions that decide one layer."""

    inputs: tuple[tuple[int, ...], ...]  # of its computed operands, batch left out
    outputs: tuple[tuple[int, ...], ...]
    weight: tuple[int, ...]  # of its constant weight, of two computed operands the left one's; none elsewhere
    group: int | None  # the dimension that `group` follows


class WidthModel:
    """Asks what the network would be with other widths, bits, and zeros in the pattern that the device skips.

    Zeros and digits of weights stay those of the whole network: which channels go is not known here. `formats` are
    those that quantization will use.
    """

    def __init__(self, model: Model, channels: Channels, formats: Formats) -> None:
        model = with_shapes(model)
        self.base = quantized_workload(model, formats)
        self.pattern = device_pattern(formats)
        self._narrowed = Narrowed(model, formats)
        self._dims = _Dimensions(channels)
        nodes = {node.name: node for node in model.graph}
        counts = {patch.node: patch for patch in channels.patches if isinstance(patch, CountPatch)}
        self._sizes = [self._layer_sizes(nodes[layer.origin], channels, counts) for layer in self.base.layers]
        whole = self._dims.sizes(full_widths(channels))
        self._at_full = [_Numbers.of(sizes, whole) for sizes in self._sizes]
        self._layers: dict[tuple[int, _Numbers, int | None, int | None], Layer] = {}
        self._transposed = [attribute(nodes[layer.origin], "transB", 0) == 1 for layer in self.base.layers]

    @property
    def narrowable(self) -> list[Layer]:
        """The layers whose weights may have fewer bits: products, not depthwise ones, whose few weights save little."""
        return [layer for layer in self.base.layers if layer.op in ("conv", "gemm") and layer.weights]

    def workload(self, widths: Widths, bits: Bits = (), densities: Densities = ()) -> Workload:
        """What `workload` would read from the cut and quantized network."""
        found, narrow, thin = self._dims.sizes(widths), dict(bits), dict(densities)
        layers = tuple(
            self._layer(index, _Numbers.of(sizes, found), narrow.get(layer.origin), thin.get(layer.origin))
            for index, (layer, sizes) in enumerate(zip(self.base.layers, self._sizes, strict=True))
        )
        return replace(self.base, layers=layers)

    def _layer(self, index: int, now: _Numbers, bits: int | None, percent: int | None) -> Layer:
        """The record of one layer under these sizes, made once; `bits` and `percent` where they differ from the
        device's own, and from all."""
        if (index, now, bits, percent) not in self._layers:
            layer, before = self.base.layers[index], self._at_full[index]
            resized = layer if now == before else _resized(layer, before, now, self._transposed[index])
            zeros = self._zeros(resized, percent)
            if bits is not None or zeros is not None:
                share = 1.0 if zeros is None else zeros.density
                at = self._narrowed.at(layer, bits or layer.weight_bits, share)
                resized = replace(
                    resized,
                    weight_bits=at.weight_bits,
                    weight_digits=at.weight_digits,
                    zero_fraction=at.zero_fraction,
                    sparsity=zeros or layer.sparsity,
                )
            self._layers[index, now, bits, percent] = resized
        return self._layers[index, now, bits, percent]

    def _zeros(self, layer: Layer, percent: int | None) -> Sparsity | None:
        """What structure the zeros have; None where there are none, or the layer is too small for the pattern."""
        inputs, outputs = layer.in_channels // layer.group, layer.out_channels // layer.group
        if percent is None or self.pattern is None or not self.pattern.fits(inputs, outputs):
            return None
        return self.pattern.sparsity(percent / 100, inputs, outputs, layer.weights // max(inputs * outputs, 1))

    def _layer_sizes(self, node: ir.Node, channels: Channels, counts: Mapping[str, CountPatch]) -> _Sizes:
        dims = self._dims
        operands = [value for value in node.inputs if value is not None and weight(_source(value)) is None]
        decisive = _decisive(node)
        patch = counts.get(key(node))
        return _Sizes(
            tuple(dims.of_value(value) for value in operands),
            tuple(dims.of_value(value) for value in node.outputs),
            () if decisive is None else dims.of_operand(decisive, channels),
            None if patch is None else dims.number(patch.units),
        )


class _Dimensions:
    """All dimensions that occur, each once, as rows of [fixed | units of group 1 | units of group 2 | …]."""

    def __init__(self, channels: Channels) -> None:
        self._values = channels.values
        self._group_of = np.full(channels.count + 1, -1, dtype=np.int64)  # -1 also for what never goes
        for number, group in enumerate(channels.prunable):
            self._group_of[group.units] = number
        self._full = np.array(full_widths(channels), dtype=np.int64)
        self._rows: list[npt.NDArray[np.int64]] = []
        self._known: dict[tuple[int, ...], int] = {}
        self._matrix: npt.NDArray[np.int64] | None = None

    def number(self, units: Units | int) -> int:
        """The number of this dimension."""
        count = len(self._full)
        row = np.zeros(count + 1, dtype=np.int64)
        if isinstance(units, np.ndarray):
            found = self._group_of[units]
            positions = np.bincount(found[found >= 0], minlength=count)[:count]
            row[1:] = positions // np.maximum(self._full, 1)
            row[0] = len(units) - int((row[1:] * self._full).sum())
        else:
            row[0] = units
        name = tuple(row.tolist())
        if name not in self._known:
            self._known[name] = len(self._rows)
            self._rows.append(row)
            self._matrix = None
        return self._known[name]

    def of_value(self, value: ir.Value) -> tuple[int, ...]:
        """The dimensions of a computed value behind its batch."""
        sizes = self._values.get(value.name or "", static_dims(value))
        return tuple(self.number(units) for units in sizes[1:])

    def of_operand(self, value: ir.Value, channels: Channels) -> tuple[int, ...]:
        """All dimensions of a constant or computed value."""
        name = value.name or ""
        if name in self._values:
            return tuple(self.number(units) for units in self._values[name])
        sizes = static_dims(value)
        return tuple(self.number(channels.units.get((name, axis), size)) for axis, size in enumerate(sizes))

    def sizes(self, widths: Sequence[int]) -> list[int]:
        """The size of every dimension under these widths."""
        if self._matrix is None:
            self._matrix = np.stack(self._rows)
        return [int(size) for size in self._matrix @ np.array([1, *widths], dtype=np.int64)]


@dataclass(frozen=True)
class _Numbers:
    """The sizes of one layer."""

    inputs: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    weight: tuple[int, ...]
    group: int | None

    @classmethod
    def of(cls, sizes: _Sizes, found: Sequence[int]) -> _Numbers:
        return cls(
            tuple(tuple(found[dim] for dim in dims) for dims in sizes.inputs),
            tuple(tuple(found[dim] for dim in dims) for dims in sizes.outputs),
            tuple(found[dim] for dim in sizes.weight),
            None if sizes.group is None else found[sizes.group],
        )

    @property
    def elements(self) -> tuple[int, int]:
        """(of all inputs, of all outputs)."""
        return sum(map(prod, self.inputs)), sum(map(prod, self.outputs))


def _resized(layer: Layer, before: _Numbers, now: _Numbers, transposed: bool) -> Layer:
    """The layer's record under its new sizes, as `model.workload` reads it."""
    inputs, outputs = now.elements
    changes: dict[str, Any] = {
        "in_shape": now.inputs[0] if now.inputs else layer.in_shape,
        "out_shape": now.outputs[0],
        "input_elements": inputs,
        "output_elements": outputs,
    }
    if layer.op in ("conv", "depthwise"):
        group = now.group if now.group is not None else layer.group
        channels = now.inputs[0][0]
        changes |= {"in_channels": channels, "out_channels": now.outputs[0][0], "group": group}
        changes |= {"weights": prod(now.weight), "macs": prod(now.weight) * (layer.macs // max(layer.weights, 1))}
        changes["op"] = "depthwise" if group > 1 and group == channels else "conv"
    elif layer.op == "gemm":
        inner, outer = now.weight[::-1] if transposed else now.weight[-2:]
        rows = prod(now.outputs[0]) // max(outer, 1)
        changes |= {"in_channels": inner, "out_channels": outer, "weights": prod(now.weight)}
        changes["macs"] = inner * outer * rows
    elif layer.op == "matmul":
        inner = now.weight[-1] if len(now.weight) > 1 else 1
        changes |= {"in_channels": inner, "out_channels": now.outputs[0][-1], "macs": prod(now.outputs[0]) * inner}
    else:
        old = max(max(before.elements), 1)
        changes["ops"] = layer.ops // old * max(inputs, outputs)
    return replace(layer, **changes)


def _decisive(node: ir.Node) -> ir.Value | None:
    """The operand of a product whose sizes decide its work: the constant one, else the left one."""
    if node.op_type not in _PRODUCTS or node.inputs[0] is None or node.inputs[1] is None:
        return None
    constant = _source(node.inputs[1])
    return constant if weight(constant) is not None else _source(node.inputs[0])


def _source(value: ir.Value) -> ir.Value:
    """The quantized value behind a DequantizeLinear, or the value itself."""
    node = value.producer()
    source = node.inputs[0] if node is not None and node.op_type == "DequantizeLinear" else None
    return value if source is None else source
