"""Operators that look across a dimension (and so pin it), and normalisations that do not."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from ..labels import Dims, Fixed, Pin
from ..trace import Rule, Trace, attribute, axis_of, computed, label
from .elementwise import tie_aligned
from .unknown import pinned


def across_axis(code: str, default: int | None) -> Rule:
    """A rule for operators that keep the shape and work along the attribute `axis`; default None: it is input 1."""

    def rule(trace: Trace, node: ir.Node) -> Sequence[Dims]:
        x = trace.dims(node.inputs[0])
        if default is not None:
            axis = axis_of(node, len(x), default)
        else:
            axes = trace.integers(node.inputs[1])
            if axes is None:
                return pinned(trace, node, "dynamic-index")
            axis = axes[0] % len(x)
        trace.pin([x[axis]], code, label(node))
        return [x]

    return rule


def reduce(code: str) -> Rule:
    """A rule for reductions: the reduced dimensions are pinned, the others pass."""

    def rule(trace: Trace, node: ir.Node) -> Sequence[Dims]:
        x = trace.dims(node.inputs[0])
        axes = _axes(trace, node, len(x))
        if axes is None:
            return pinned(trace, node, "dynamic-index")
        trace.pin([x[axis] for axis in sorted(axes)], code, label(node))
        keep = attribute(node, "keepdims", 1)
        one = Fixed(1, Pin("size-one", label(node)))
        return [[one if axis in axes else dim for axis, dim in enumerate(x) if keep or axis not in axes]]

    return rule


def _axes(trace: Trace, node: ir.Node, rank: int) -> set[int] | None:
    """The axes that a reduction runs over; None when they are computed."""
    if "axis" in node.attributes or node.op_type in ("ArgMax", "ArgMin"):
        return {axis_of(node, rank, 0)}
    if "axes" in node.attributes:
        return {int(axis) % rank for axis in node.attributes["axes"].as_ints()}
    if len(node.inputs) < 2 or node.inputs[1] is None:
        return set() if attribute(node, "noop_with_empty_axes", 0) else set(range(rank))
    axes = trace.integers(node.inputs[1])
    if axes is None:
        return None
    empty_means_all = not axes and not attribute(node, "noop_with_empty_axes", 0)
    return set(range(rank)) if empty_means_all else {axis % rank for axis in axes}


def lrn(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """Local response normalisation divides by the energy of neighbouring channels."""
    x = trace.dims(node.inputs[0])
    trace.pin([x[1]], "normalised-axis", label(node))
    return [x]


def layer_normalization(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """Mean and variance are taken over `axis` and all that follow."""
    x = trace.dims(node.inputs[0])
    trace.pin(x[axis_of(node, len(x), -1) :], "normalised-axis", label(node))
    return [tie_aligned(trace, [x, *(trace.dims(value) for value in node.inputs[1:])], x)]


def group_normalization(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """Mean and variance are taken over the channels of each group, and over the image."""
    x = trace.dims(node.inputs[0])
    parameters = [trace.dims(value)[0] for value in node.inputs[1:3]]
    trace.pin([*x[1:], *parameters], "normalised-axis", label(node))
    return [x]


def batch_normalization(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """y = (x - mean) / sqrt(var + eps) * scale + bias, per channel: all four parameters follow."""
    x = trace.dims(node.inputs[0])
    if attribute(node, "training_mode", 0):  # mean and variance are those of the batch
        trace.pin([x[0], *x[2:]], "normalised-axis", label(node))
    parameters = [trace.dims(value)[0] for value in node.inputs[1:5]]
    channels = computed(trace.tie(x[1], *parameters))
    return [[x[0], channels, *x[2:]], [channels], [channels]]


def instance_normalization(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """Statistics per sample and channel, over the image only: scale and bias follow."""
    x = trace.dims(node.inputs[0])
    parameters = [trace.dims(value)[0] for value in node.inputs[1:3]]
    trace.pin(x[2:], "normalised-axis", label(node))
    return [[x[0], computed(trace.tie(x[1], *parameters)), *x[2:]]]
