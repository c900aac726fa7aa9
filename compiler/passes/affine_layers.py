"""Per-channel affine functions that no neighbour could absorb become depthwise convolutions, which have integer forms.

    y_c = scale_c * x_c + shift_c   is   Conv(x, W, B, group = C)   with W = scale [C, 1, 1, 1], B = shift [C]

Batch normalisation behind a Concat or an Add (DenseNet, pre-activation ResNets) is the usual case. One int8 weight per
channel with a scale of its own represents scale_c exactly, so per-channel quantization loses nothing by it.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..model.match import dims, is_float, is_op
from ..model.rewrite import constant, insert_before, replace_value, sweep
from .affine import AFFINE_OPS, Affine, follow, read_affine


def affine_to_depthwise(graph: ir.Graph) -> list[str]:
    """Rewrites the graph in place; returns the names of the nodes that begin each rewritten chain.

    Chains on [batch, channels, height, width] only; those that treat all channels alike are left, since a function of
    one number needs no layer.
    """
    rewritten: list[str] = []
    done: set[ir.Node] = set()
    for node in list(graph):
        found = None if node in done else _head(node)
        if found is None:
            continue
        x, function = found
        chain, rest = follow(node.outputs[0], 1, len(function.scale))
        function = function.then(rest)
        done.update([node, *chain])
        if function.is_finite and not _is_uniform(function):
            replace_value((chain or [node])[-1].outputs[0], _depthwise(node, x, function))
            rewritten.append(str(node.name))
    if rewritten:
        sweep(graph)
    return rewritten


def _head(node: ir.Node) -> tuple[ir.Value, Affine] | None:
    """(x, function) of a node that is affine per channel on a map of known channels."""
    shape = dims(node.outputs[0])
    if not is_op(node, *AFFINE_OPS) or shape is None or len(shape) != 4 or not isinstance(shape[1], int):
        return None
    found = read_affine(node, 1, shape[1])
    if found is None or not is_float(found[0]):
        return None
    return found


def _is_uniform(function: Affine) -> bool:
    return bool(np.ptp(function.scale) == 0 and np.ptp(function.shift) == 0)


def _depthwise(before: ir.Node, x: ir.Value, function: Affine) -> ir.Value:
    channels = len(function.scale)
    weight = constant(before, function.scale.astype(np.float32).reshape(channels, 1, 1, 1))
    bias = constant(before, function.shift.astype(np.float32))
    window = {"kernel_shape": (1, 1), "strides": (1, 1), "pads": (0, 0, 0, 0), "dilations": (1, 1)}
    return insert_before(before, "Conv", [x, weight, bias], {"group": channels, **window}, like=x)
