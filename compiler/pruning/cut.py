"""Removes channels from a model: slices weights, and rewrites the attributes and constants that hold sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..analysis.channels import REASONS, Channels
from ..analysis.channels.groups import CountPatch, IndexPatch, Mask, Patch, ShapePatch, SlicePatch, SplitPatch, kept
from ..analysis.channels.trace import key
from ..errors import UsageError
from ..model.edit import fresh_name, infer_shapes, make_initializer, replace_initializer, set_weight, weight
from ..model.model import Model
from .origins import remember

Array = npt.NDArray[Any]


def cut(model: Model, channels: Channels, removed: Mask) -> Model:
    """A copy of the model without the units for which `removed` is True; `channels` is the analysis of this model.

    Shapes are inferred anew. The names of the values stay what they were, and which of their channels are left is
    written on them (origins.py).

    Raises:
        UsageError: the removal contains a pinned unit (code `pinned-channel`) or empties a group (`empty-group`).
    """
    _check(model, channels, removed)
    result = model.clone()
    initializers = result.graph.initializers
    for (name, axis), units in channels.units.items():
        stay = kept(units, removed)
        if not stay.all():
            set_weight(initializers[name], np.compress(stay, _data(initializers[name]), axis=axis))
    nodes = {key(node): node for node in result.graph}
    for patch in channels.patches:
        _apply(patch, result.graph, nodes[patch.node], removed)
    infer_shapes(result)
    remember(result, channels, removed)
    return result


def _check(model: Model, channels: Channels, removed: Mask) -> None:
    for group in channels.groups:
        gone = int(removed[group.units].sum())
        if gone and group.pinned_because is not None:
            raise UsageError(
                "A pinned channel cannot be removed.",
                code="pinned-channel",
                where=model.original(group.pinned_because.where),
                why=REASONS[group.pinned_because.code].text,
                hint=REASONS[group.pinned_because.code].hint or "Only units of `channels.prunable` can go.",
            )
        if gone == group.size:
            raise UsageError(
                f"All {group.size} channels of a group were asked to go.",
                code="empty-group",
                where=model.original(group.members[0].initializer),
                why="A layer without channels computes nothing.",
                hint="Leave at least one. Whole layers go with prune_layers (--layer-sparsity).",
            )


def _apply(patch: Patch, graph: ir.Graph, node: ir.Node, removed: Mask) -> None:
    match patch:
        case CountPatch(attribute=attribute, units=units):
            node.attributes[attribute] = ir.AttrInt64(attribute, int(kept(units, removed).sum()))
        case ShapePatch(index=index, dims=dims):
            entries = _constant(node, index).copy()
            for position, dim in enumerate(dims):
                if dim is not None:
                    entries[position] = kept(dim, removed).sum()
            _replace(graph, node, index, entries)
        case SplitPatch(parts=parts):
            sizes = np.array([kept(part, removed).sum() for part in parts], dtype=np.int64)
            node.attributes.pop("num_outputs", None)
            _replace(graph, node, 1, sizes)
        case SlicePatch(entry=entry, start=start, end=end, units=units):
            stay = kept(units, removed)
            first = int(stay[:start].sum())
            for index, bound in ((1, first), (2, first + int(stay[start:end].sum()))):
                bounds = _constant(node, index).copy()
                bounds[entry] = bound
                _replace(graph, node, index, bounds)
        case IndexPatch(units=units):
            stay = kept(units, removed)
            numbers = _constant(node, 1) % len(units)
            _replace(graph, node, 1, (np.cumsum(stay) - 1)[numbers[stay[numbers]]].astype(numbers.dtype))


def _replace(graph: ir.Graph, node: ir.Node, index: int, array: Array) -> None:
    """Gives the node this constant as input `index`, unless it has an equal one."""
    if len(node.inputs) <= index or node.inputs[index] is None:
        node.resize_inputs(max(index + 1, len(node.inputs)))
        node.replace_input_with(index, make_initializer(graph, fresh_name(graph), array))
    elif not np.array_equal(_constant(node, index), array):
        replace_initializer(graph, node, index, array)


def _constant(node: ir.Node, index: int) -> Array:
    value = node.inputs[index]
    assert value is not None  # patches are only made for constants
    tensor = ir.convenience.get_const_tensor(value)
    assert tensor is not None
    return tensor.numpy()


def _data(value: ir.Value) -> Array:
    data = weight(value)
    assert data is not None  # an initializer
    return data
