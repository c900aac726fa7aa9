"""MaxPool (a data movement: it only picks elements) and the averages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as onnx

from .. import graph as ir
from ..requant import average
from .geometry import Geometry, geometry, window_counts
from .movement import lifted, reshape, seen_as
from .values import Move, NotIntegerError, Pending, Shape, Slot, Value

if TYPE_CHECKING:
    from .reader import Reader


def max_pool(reader: Reader, node: onnx.Node) -> Value:
    """MaxPool, GlobalMaxPool -> QMaxPool."""
    value = node.inputs[0]
    assert value is not None
    if len(node.outputs) > 1 and list(node.outputs[1].uses()):
        raise NotIntegerError("pool-attributes", "the indices of the maxima are used")
    channels, *spatial = reader.sample_shape(value)
    kernel = node.attributes.get_ints("kernel_shape") or spatial
    geo = geometry(node, tuple(spatial), kernel)
    name = str(node.name)

    def build(slot: Slot, source: str) -> ir.Op:
        return ir.QMaxPool(**slot.names(source), window=geo.window)

    moves = [Move(name, (channels, *geo.output_size), build)]
    if len(spatial) == 1:
        moves = [reshape(name, (channels, *geo.size), "_in"), *moves, reshape(name, (channels, *geo.output), "_out")]
    return reader.apply(value, *moves)


def average_pool(reader: Reader, node: onnx.Node) -> Value:
    """AveragePool -> QAvgPool, one multiplier per distinct number of elements under the window."""
    channels, *spatial = _input_shape(reader, node)
    geo = geometry(node, tuple(spatial), node.attributes.get_ints("kernel_shape") or [])
    return _average(reader, node, channels, geo, bool(node.attributes.get_int("count_include_pad", 0)))


def global_average_pool(reader: Reader, node: onnx.Node) -> Value:
    """GlobalAveragePool -> QAvgPool with a window as large as the input."""
    channels, *spatial = _input_shape(reader, node)
    return _average(reader, node, channels, geometry(node, tuple(spatial), spatial), False)


def reduce_mean(reader: Reader, node: onnx.Node) -> Value:
    """ReduceMean over neighbouring dimensions -> QAvgPool of the input seen as [before, reduced, after]."""
    shape = _input_shape(reader, node)
    axes = reader.axes(node, len(shape) + 1)
    if not axes or list(axes) != list(range(axes[0], axes[-1] + 1)):
        raise NotIntegerError("reduce-axes")
    output = reader.sample_shape(node.outputs[0])
    viewed: Shape = shape
    kernel: Shape = shape[1:]
    if len(shape) != 3 or axes != (1, 2):
        parts = shape[: axes[0]], shape[axes[0] : axes[-1] + 1], shape[axes[-1] + 1 :]
        viewed = tuple(int(np.prod(part, dtype=np.int64)) for part in parts)
        kernel = (viewed[1], 1)
    x = seen_as(reader, node, viewed)
    found = _averaged(reader, node, x, viewed[0], geometry(node, viewed[1:], kernel), False)
    return found if found.shape == output else found.moved(reshape(str(node.name), output, "_out"))


def _input_shape(reader: Reader, node: onnx.Node) -> Shape:
    value = node.inputs[0]
    assert value is not None
    return reader.sample_shape(value)


def _average(reader: Reader, node: onnx.Node, channels: int, geo: Geometry, include_pad: bool) -> Value:
    found = _averaged(reader, node, lifted(reader, node), channels, geo, include_pad)
    return found if len(geo.spatial) == 2 else found.moved(reshape(str(node.name), (channels, *geo.output), "_out"))


def _averaged(reader: Reader, node: onnx.Node, x: str, channels: int, geo: Geometry, include_pad: bool) -> Pending:
    source = reader.quant(x)
    counts, index = np.unique(window_counts(geo, include_pad), return_inverse=True)
    if counts[0] < 1:
        raise NotIntegerError("pool-attributes", "a window lies in the padding altogether")
    count_index = index.reshape(geo.output_size).astype(np.int32)

    def build(slot: Slot) -> ir.Op:
        m = reader.multipliers(average, source.scale, slot.quant.scale, counts.tolist())
        return ir.QAvgPool(**slot.fused(x), requant=m, window=geo.window, count_index=count_index)

    return Pending(build, (channels, *geo.output_size), (str(node.name),))
