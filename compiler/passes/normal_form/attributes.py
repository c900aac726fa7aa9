"""Every attribute is written out: defaults, window geometry, axes, sizes of a Split.

Backends then never guess: hls4ml, for one, fails on a Conv that relies on the default `strides`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import AddDefaultAttributesPass

from ...model.edit import weight
from ...model.match import attribute_ints, dims, int_list, only_producer, operand, rank, scalar, static_dims
from ...model.rewrite import constant, set_attribute
from .journal import Journal

_SAME = ("SAME_UPPER", "SAME_LOWER")


def write_schema_defaults(model: ir.Model, journal: Journal) -> None:
    """Adds each attribute that the operator's schema gives a default for."""
    before = sum(len(node.attributes) for node in model.graph.all_nodes())
    AddDefaultAttributesPass()(model)
    journal.did("default-attributes", sum(len(node.attributes) for node in model.graph.all_nodes()) - before)


def explicit_window(node: ir.Node, journal: Journal) -> bool:
    """Conv, ConvTranspose, pools: kernel_shape, strides, dilations, pads (and output_padding) written out.

    auto_pad becomes pads. With k = dilation * (kernel - 1) + 1 and the input size n,
        SAME, Conv or pool:          total = max((ceil(n / stride) - 1) * stride + k - n, 0)
        ConvTranspose to a size m:   total = stride * (n - 1) + output_padding + k - m     (SAME: m = n * stride)
    and SAME_UPPER puts the odd element at the end, everything else at the start for a ConvTranspose's output_shape.
    """
    kernel = _kernel(node)
    if kernel is None:
        return False
    wanted: dict[str, Sequence[int]] = {"kernel_shape": kernel}
    ones = (1,) * len(kernel)
    for name in ("strides", "dilations", "output_padding"):
        if name == "output_padding" and node.op_type != "ConvTranspose":
            continue
        default = (0,) * len(kernel) if name == "output_padding" else ones
        wanted[name] = attribute_ints(node, name) or default
    pads = _explicit_pads(node, wanted, journal)
    if pads is None:
        return False
    wanted["pads"] = pads
    changed = node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET"
    set_attribute(node, "auto_pad", "NOTSET")
    changed |= node.attributes.pop("output_shape", None) is not None
    for name, value in wanted.items():
        if attribute_ints(node, name) != tuple(value):
            set_attribute(node, name, value)
            changed = True
    if changed:
        journal.did("explicit-windows")
    return changed


def _kernel(node: ir.Node) -> Sequence[int] | None:
    """kernel_shape, or for convolutions the weight's own."""
    given = attribute_ints(node, "kernel_shape")
    if given is not None:
        return given
    weight_dims = static_dims(operand(node, 1)) if node.op_type in ("Conv", "ConvTranspose") else None
    return None if weight_dims is None else weight_dims[2:]


def _explicit_pads(node: ir.Node, window: dict[str, Sequence[int]], journal: Journal) -> Sequence[int] | None:
    """Padding as [begin..., end...], or None (with a note) where it depends on a size that is not known."""
    spatial = len(window["kernel_shape"])
    mode = node.attributes.get_string("auto_pad", "NOTSET")
    output_shape = attribute_ints(node, "output_shape")
    if mode == "VALID" and output_shape is None:
        return (0,) * (2 * spatial)
    if mode not in _SAME and output_shape is None:
        return attribute_ints(node, "pads") or (0,) * (2 * spatial)
    totals = _total_pads(node, window, output_shape)
    if totals is None or min(totals) < 0:
        journal.declined(
            "auto-pad-unresolved",
            node,
            f"{node.op_type} keeps its automatic padding: the size of its input is not known, or too small.",
            "Give the input's shape with --shape.",
        )
        return None
    begin = [total // 2 if mode == "SAME_UPPER" else total - total // 2 for total in totals]
    return (*begin, *(total - first for total, first in zip(totals, begin, strict=True)))


def _total_pads(
    node: ir.Node, window: dict[str, Sequence[int]], output_shape: Sequence[int] | None
) -> list[int] | None:
    shape = dims(node.inputs[0])
    transposed = node.op_type == "ConvTranspose"
    totals = []
    for axis, (kernel, stride, dilation) in enumerate(
        zip(window["kernel_shape"], window["strides"], window["dilations"], strict=True)
    ):
        reach = dilation * (kernel - 1) + 1
        extra = window["output_padding"][axis] if transposed else 0
        size = shape[axis + 2] if shape is not None else "?"
        if transposed and output_shape is None:
            totals.append(extra + reach - stride)
        elif isinstance(size, str):
            return None
        elif transposed:
            assert output_shape is not None
            wanted = output_shape[len(output_shape) - len(window["kernel_shape"]) + axis]
            totals.append(stride * (size - 1) + extra + reach - wanted)
        else:
            totals.append(max((-(-size // stride) - 1) * stride + reach - size, 0))
    return totals


def pad_into_window(node: ir.Node, journal: Journal) -> bool:
    """Conv(Pad(x, zeros)) -> Conv(x) with larger pads."""
    pad = only_producer(node.inputs[0], "Pad")
    given, of = attribute_ints(node, "pads"), rank(node.inputs[0])
    amounts = int_list(operand(pad, 1)) if pad is not None else None
    if pad is None or given is None or amounts is None or of is None or weight(operand(node, 1)) is None:
        return False
    filled = operand(pad, 2)
    if pad.attributes.get_string("mode", "constant") != "constant" or (filled is not None and scalar(filled) != 0):
        return False
    axes = int_list(operand(pad, 3)) or tuple(range(of))
    begin, end = dict.fromkeys(range(of), 0), dict.fromkeys(range(of), 0)
    for position, axis in enumerate(axes):
        begin[axis % of], end[axis % of] = amounts[position], amounts[len(axes) + position]
    if min(amounts) < 0 or any((begin[0], end[0], begin[1], end[1])):
        return False
    extra = [side[axis] for side in (begin, end) for axis in range(2, of)]
    set_attribute(node, "pads", [old + new for old, new in zip(given, extra, strict=True)])
    node.replace_input_with(0, pad.inputs[0])
    journal.did("pads-merged")
    return True


def explicit_axis(node: ir.Node, journal: Journal) -> bool:
    """A negative `axis` counts from the end; written from the start where the rank is known."""
    axis, of = node.attributes.get_int("axis"), rank(node.inputs[0])
    if axis is None or axis >= 0 or of is None:
        return False
    set_attribute(node, "axis", axis + of)
    journal.did("explicit-axes")
    return True


def explicit_perm(node: ir.Node, journal: Journal) -> bool:
    """Transpose() -> Transpose(perm = all dimensions reversed)."""
    of = rank(node.inputs[0])
    if "perm" in node.attributes or of is None:
        return False
    set_attribute(node, "perm", tuple(reversed(range(of))))
    journal.did("explicit-axes")
    return True


def explicit_split(node: ir.Node, journal: Journal) -> bool:
    """Split(num_outputs = n) -> Split(sizes): equal parts of ceil(size / n), the last one smaller."""
    axis, shape = node.attributes.get_int("axis", 0), dims(node.inputs[0])
    if int_list(operand(node, 1)) is not None or shape is None:
        return False
    size = shape[axis]
    if operand(node, 1) is not None or isinstance(size, str):
        journal.declined("split-dynamic", node, "The sizes of a Split are not constant.", "Fix them with --shape.")
        return False
    parts = len(node.outputs)
    part = -(-size // parts)
    sizes = [part] * (parts - 1) + [size - part * (parts - 1)]
    node.resize_inputs(2)
    node.replace_input_with(1, constant(node, np.array(sizes, np.int64)))
    node.attributes.pop("num_outputs", None)
    journal.did("explicit-splits")
    return True
