"""One form of averaging over a whole feature map: GlobalAveragePool."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ...model.match import attribute_ints, dims, int_list, operand, rank, static_dims
from ...model.rewrite import constant, insert_before, retype, set_attribute
from .journal import Journal


def mean_to_global_pool(node: ir.Node, journal: Journal) -> bool:
    """ReduceMean over all dimensions from the third on -> GlobalAveragePool (and a Reshape where keepdims = 0)."""
    source, of = node.inputs[0], rank(node.inputs[0])
    axes = int_list(operand(node, 1))
    if source is None or of is None or of < 3 or axes is None:
        return False
    if sorted(axis % of for axis in axes) != list(range(2, of)):
        return False
    if node.attributes.get_int("keepdims", 1):
        retype(node, "GlobalAveragePool", [source])
    else:
        batch, channels = (dims(source) or ())[:2]
        if not isinstance(channels, int):
            return False
        pooled = insert_before(
            node, "GlobalAveragePool", [source], like=source, shape=[batch, channels, *([1] * (of - 2))]
        )
        retype(node, "Reshape", [pooled, constant(node, np.array([-1, channels], np.int64))])
        set_attribute(node, "allowzero", 0)
    journal.did("global-pools")
    return True


def window_to_global_pool(node: ir.Node, journal: Journal) -> bool:
    """AveragePool whose window is the whole, unpadded input -> GlobalAveragePool."""
    size, kernel = static_dims_after_batch(node.inputs[0]), attribute_ints(node, "kernel_shape")
    if size is None or kernel is None or kernel != size[1:]:
        return False
    if any(attribute_ints(node, "pads") or ()) or any(step != 1 for step in attribute_ints(node, "dilations") or ()):
        return False
    retype(node, "GlobalAveragePool", [node.inputs[0]])
    journal.did("global-pools")
    return True


def static_dims_after_batch(value: ir.Value | None) -> tuple[int, ...] | None:
    """All dimensions but the first, where they are numbers."""
    if static_dims(value) is None and any(isinstance(dim, str) for dim in (dims(value) or ("?", "?"))[1:]):
        return None
    return tuple(dim for dim in (dims(value) or ())[1:] if isinstance(dim, int))
