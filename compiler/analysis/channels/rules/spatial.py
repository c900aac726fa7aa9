"""Operators on images: channels pass, places change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..groups import ShapePatch
from ..labels import Dim, Dims, Fixed, Free, Pin
from ..trace import Trace, key, label, text
from .unknown import pinned


def pool(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """Local and global pooling: per channel."""
    x = trace.dims(node.inputs[0])
    return [[*x[:2], *trace.places(node, x)]]


def resize(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """Dimensions that keep their size pass. Sizes of channels in input `sizes` are patched."""
    crops = text(node, "coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize"
    if crops or text(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
        return pinned(trace, node, "unsupported-form")  # dimensions of equal size may change too
    x = trace.dims(node.inputs[0])
    out = trace.fixed(node.outputs[0], "spatial", label(node))
    for axis, dim in enumerate(x):
        if dim.size == out[axis].size:
            out[axis] = dim
        else:
            trace.pin([dim], "resized-channels", label(node))
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        axes = node.attributes["axes"].as_ints() if "axes" in node.attributes else range(len(x))
        named = [out[axis % len(x)] for axis in axes]
        if trace.integers(node.inputs[3]) is None:
            trace.pin(named, "dynamic-shape", label(node))
        elif any(isinstance(dim, Free) for dim in named):
            dims = tuple(dim.labels if isinstance(dim, Free) else None for dim in named)
            trace.patch(ShapePatch(key(node), 3, dims))
    return [out]


def pad(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """Constant padding of channels (the shortcut of CIFAR ResNets) adds positions that are pinned."""
    x = trace.dims(node.inputs[0])
    pads = trace.integers(node.inputs[1])
    axes = list(range(len(x)))
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        named = trace.integers(node.inputs[3])
        if named is None:
            return pinned(trace, node, "dynamic-shape")
        axes = [axis % len(x) for axis in named]
    if pads is None:
        return pinned(trace, node, "dynamic-shape")
    constant = text(node, "mode", "constant") == "constant"
    out = list(x)
    for axis, before, after in zip(axes, pads[: len(axes)], pads[len(axes) :], strict=True):
        if before or after:
            out[axis] = _padded(trace, node, x[axis], before, after, constant)
    return [out]


def _padded(trace: Trace, node: ir.Node, dim: Dim, before: int, after: int, constant: bool) -> Dim:
    pin = Pin("padded-channels" if isinstance(dim, Free) else "spatial", label(node))
    if isinstance(dim, Free) and constant and before >= 0 and after >= 0:
        return Free(np.concatenate([trace.labels(Fixed(before, pin)), dim.labels, trace.labels(Fixed(after, pin))]))
    trace.pin([dim], pin.code, pin.where)
    return Fixed(dim.size + before + after, pin)
