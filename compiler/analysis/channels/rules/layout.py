"""Operators that move positions without choosing among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import onnx_ir as ir

from ..groups import ShapePatch
from ..labels import Dim, Dims, Fixed, Free, Pin
from ..shapes import PRIME
from ..trace import Trace, attribute, key, label, text
from .unknown import pinned


def transpose(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    x = trace.dims(node.inputs[0])
    order = node.attributes["perm"].as_ints() if "perm" in node.attributes else range(len(x))[::-1]
    return [[x[axis] for axis in order]]


def squeeze(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    x = trace.dims(node.inputs[0])
    axes = trace.integers(node.inputs[1]) if len(node.inputs) > 1 else None
    if axes is None:
        return pinned(trace, node, "dynamic-shape")
    gone = {axis % len(x) for axis in axes}
    return [[dim for axis, dim in enumerate(x) if axis not in gone]]


def unsqueeze(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    axes = trace.integers(node.inputs[1])
    if axes is None:
        return pinned(trace, node, "dynamic-shape")
    x = list(trace.dims(node.inputs[0]))
    rank = len(x) + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x.insert(axis, Fixed(1, Pin("size-one", label(node))))
    return [x]


def flatten(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    return [_refactor(trace, node)]


def reshape(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """Sizes in the shape constant are patched; an entry of -1 follows by itself."""
    shape = trace.integers(node.inputs[1])
    out = _refactor(trace, node)
    # exporters set allowzero without need: it means something only where the shape holds a zero
    if shape is not None and not (attribute(node, "allowzero", 0) and 0 in shape):
        dims = tuple(
            dim.labels if isinstance(dim, Free) and entry != -1 else None for entry, dim in zip(shape, out, strict=True)
        )
        if any(labels is not None for labels in dims):
            trace.patch(ShapePatch(key(node), 1, dims))
        return [out]
    trace.pin(trace.dims(node.inputs[1]), "dynamic-shape", label(node))
    entries = None if shape is not None else _entries(trace, node.inputs[1])
    for position, dim in enumerate(out):
        if entries is None or entries[position] != -1:
            trace.pin([dim], "dynamic-shape", label(node))
    return [out]


def _entries(trace: Trace, value: ir.Value | None) -> list[int | None] | None:
    """A computed shape entry by entry, None for what is only known at run time: `Concat(batch, -1)`, as exporters write
    a flattening with a free batch."""
    constant = trace.integers(value)
    if constant is not None:
        return list(constant)
    node = value.producer() if value is not None else None
    if value is None or node is None or value.shape is None or value.shape.rank() != 1:
        return None
    if node.op_type == "Concat":
        parts = [_entries(trace, part) for part in node.inputs]
        return None if None in parts else [entry for part in parts for entry in part or ()]
    if node.op_type in ("Cast", "Identity"):
        return _entries(trace, node.inputs[0])
    size = value.shape[0]
    return [None] * size if isinstance(size, int) else None


def _refactor(trace: Trace, node: ir.Node) -> Dims:
    """Matches factors of the old and new shape from the left, and rules on each smallest matching block of them.

    A block that mixes channels with the batch is pinned: the sizes at one batch do not tell about another."""
    x = trace.dims(node.inputs[0])
    old, new = trace.probe(_first(node)), trace.probe(node.outputs[0])
    out = trace.fixed(node.outputs[0], "layout-mismatch", label(node))
    for sources, targets in factor_blocks(old, new):
        dims = [x[axis] for axis in sources]
        sizes = [new[axis] for axis in targets]
        free = [dim for dim in dims if isinstance(dim, Free)]
        if len(sources) == 1 and len(targets) == 1:
            out[targets[0]] = dims[0]
        elif free and len(targets) == 1 and all(old[axis] % PRIME for axis in sources):
            out[targets[0]] = _merge(trace, node, dims)
        elif free and len(sources) == 1:
            into_heads = trace.whole_heads and sources[0] == len(old) - 1
            axis, carrier = _spread(trace, free[0], sizes, len(sizes) - 2 if into_heads else _largest(sizes))
            out[targets[axis]] = carrier
        else:
            trace.pin(free, "layout-mismatch", label(node))
    return out


def _first(node: ir.Node) -> ir.Value:
    value = node.inputs[0]
    assert value is not None  # required by the operator
    return value


def factor_blocks(old: Sequence[int], new: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """Splits two shapes with equal products into the smallest consecutive blocks with equal products, as axes.

    Axes of size one are left out: `(1, 12, 5) -> (3, 4, 5)` gives `([1], [0, 1])` and `([2], [2])`.
    """
    left = [axis for axis, size in enumerate(old) if size != 1]
    right = [axis for axis, size in enumerate(new) if size != 1]
    while left and right:
        sources, targets = [left.pop(0)], [right.pop(0)]
        here, there = old[sources[0]], new[targets[0]]
        while here != there and (left if here < there else right):
            if here < there:
                sources.append(left.pop(0))
                here *= old[sources[-1]]
            else:
                targets.append(right.pop(0))
                there *= new[targets[-1]]
        yield sources, targets


def _merge(trace: Trace, node: ir.Node, dims: Sequence[Dim]) -> Dim:
    """Several dimensions become one: the last free one lends its labels, further free ones are pinned."""
    carrier = max(axis for axis, dim in enumerate(dims) if isinstance(dim, Free))
    trace.pin(dims[:carrier], "layout-mismatch", label(node))
    sizes = [dim.size for dim in dims]
    shape = [size if axis == carrier else 1 for axis, size in enumerate(sizes)]
    return dims[carrier].take(np.broadcast_to(np.arange(sizes[carrier]).reshape(shape), sizes).ravel())


def _largest(sizes: Sequence[int]) -> int:
    """The axis of the largest size, of equals the last."""
    return max(range(len(sizes)), key=lambda position: (sizes[position], position))


def _spread(trace: Trace, dim: Free, sizes: Sequence[int], axis: int) -> tuple[int, Dim]:
    """One dimension becomes several: `axis` of them carries the labels, and all positions that share a place on it are
    tied. This covers channel shuffles, attention heads and the like."""
    table = np.moveaxis(dim.labels.reshape(sizes), axis, 0).reshape(sizes[axis], -1)
    for other in range(1, table.shape[1]):
        trace.space.union(table[:, 0], table[:, other])
    return axis, Free(table[:, 0])


def depth_to_space(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """Blocks of b * b channels become places: they go together. Mode CRD has a block's channels side by side."""
    x = trace.dims(node.inputs[0])
    size = attribute(node, "blocksize", 1) ** 2
    positions = np.arange(x[1].size)
    if text(node, "mode", "DCR") == "CRD":
        positions = positions.reshape(-1, size).T.ravel()
    channels = trace.tie_rows(x[1].take(positions), size)
    return [[x[0], channels, *trace.places(node, x)]]


def space_to_depth(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """b * b copies of the channels, one for each place of a block, one after the other."""
    x = trace.dims(node.inputs[0])
    size = attribute(node, "blocksize", 1) ** 2
    channels = x[1].take(np.tile(np.arange(x[1].size), size))
    return [[x[0], channels, *trace.places(node, x)]]
