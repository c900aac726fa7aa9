"""Attributes of ONNX nodes, and the geometry of sliding windows: automatic padding, ceiling mode, 1-D lifted to 2-D."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as onnx

from .. import graph as ir
from .values import NotIntegerError, Shape


def axis_of_sample(axis: int, rank: int) -> int:
    """An ONNX axis of a value with `rank` dimensions (batch included) as an axis of the sample."""
    axis = axis + rank if axis < 0 else axis
    if axis == 0:
        raise NotIntegerError("axis-batch")
    return axis - 1


@dataclass(frozen=True)
class Geometry:
    """A window over one or two dimensions; `window` is always 2-D, a 1-D one has height 1."""

    window: ir.Window
    spatial: tuple[int, ...]  # of the input
    output: tuple[int, ...]
    declared_pads: tuple[int, int, int, int]  # before ceiling mode extended them

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input."""
        return _lifted(self.spatial, 1)

    @property
    def output_size(self) -> tuple[int, int]:
        """Height and width of the output."""
        return _lifted(self.output, 1)


def _lifted(values: Sequence[int], fill: int) -> tuple[int, int]:
    return (fill, values[0]) if len(values) == 1 else (values[0], values[1])


def geometry(node: onnx.Node, spatial: Shape, kernel: Sequence[int]) -> Geometry:
    """The window of a Conv or a pooling node over an input with the given spatial dimensions."""
    rank = len(spatial)
    if rank not in (1, 2) or len(kernel) != rank:
        raise NotIntegerError("conv-rank")
    attributes = node.attributes
    strides = list(attributes.get_ints("strides") or [1] * rank)
    dilations = list(attributes.get_ints("dilations") or [1] * rank)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    begin, end = _pads(node, spatial, reach, strides)
    output, declared = [], (list(begin), list(end))
    for i, size in enumerate(spatial):
        room = size + begin[i] + end[i] - reach[i]
        count = room // strides[i] + 1
        if attributes.get_int("ceil_mode", 0) and room % strides[i] and count * strides[i] < size + begin[i]:
            end[i] += strides[i] - room % strides[i]
            count += 1
        if count < 1:
            raise NotIntegerError("pool-attributes", "the window is larger than its input")
        output.append(count)
    window = ir.Window(
        kernel=_lifted(kernel, 1),
        strides=_lifted(strides, 1),
        dilations=_lifted(dilations, 1),
        pads=_pads_2d(begin, end),
    )
    return Geometry(window, tuple(spatial), tuple(output), _pads_2d(*declared))


def _pads_2d(begin: Sequence[int], end: Sequence[int]) -> tuple[int, int, int, int]:
    return (*_lifted(begin, 0), *_lifted(end, 0))


def _pads(node: onnx.Node, spatial: Shape, reach: Sequence[int], strides: Sequence[int]) -> tuple[list[int], list[int]]:
    """Padding before and after each dimension, `auto_pad` resolved."""
    rank = len(spatial)
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    if mode == "NOTSET":
        pads = list(node.attributes.get_ints("pads") or [0] * (2 * rank))
        return pads[:rank], pads[rank:]
    if mode == "VALID":
        return [0] * rank, [0] * rank
    total = [max((-(-n // s) - 1) * s + r - n, 0) for n, r, s in zip(spatial, reach, strides, strict=True)]
    less, more = [t // 2 for t in total], [t - t // 2 for t in total]
    return (less, more) if mode == "SAME_UPPER" else (more, less)


def window_counts(geo: Geometry, include_pad: bool) -> npt.NDArray[np.int64]:
    """How many elements each output of an average divides by, [out_h, out_w].

    With `include_pad` the declared padding counts too; what ceiling mode adds beyond it never does.
    """
    top, left, bottom, right = geo.declared_pads if include_pad else (0, 0, 0, 0)
    per_axis = []
    for i, (before, after) in enumerate(((top, bottom), (left, right))):
        size, start = geo.size[i], geo.window.pads[i]
        taps = np.arange(geo.window.kernel[i]) * geo.window.dilations[i]
        position = np.arange(geo.output_size[i])[:, None] * geo.window.strides[i] - start + taps
        per_axis.append(((position >= -before) & (position < size + after)).sum(axis=1))
    return np.asarray(np.outer(*per_axis), np.int64)
