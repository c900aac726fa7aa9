"""Operators that join, part, choose or repeat positions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from ..groups import IndexPatch, ShapePatch, SlicePatch, SplitPatch
from ..labels import Dim, Dims, Fixed, Free, Pin
from ..trace import Trace, axis_of, computed, key, label
from .elementwise import tie_aligned
from .unknown import pinned


def concat(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """Labels are concatenated along the axis, and tied along the others."""
    operands = [trace.dims(value) for value in node.inputs]
    axis = axis_of(node, len(operands[0]), 0)
    meeting = [list(dims) for dims in zip(*operands, strict=True)]
    return [
        [_join(trace, dims) if at == axis else computed(trace.tie(*dims)) for at, dims in enumerate(meeting)],
    ]


def _join(trace: Trace, parts: Sequence[Dim]) -> Dim:
    fixed = [part for part in parts if isinstance(part, Fixed)]
    if len(fixed) == len(parts):
        return Fixed(sum(part.size for part in parts), fixed[0].pin)
    return Free(np.concatenate([trace.labels(part) for part in parts]))


def split(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """Each output gets its stretch of the labels."""
    x = trace.dims(node.inputs[0])
    axis = axis_of(node, len(x), 0)
    sizes = [trace.fixed(output, "layout-mismatch", label(node))[axis].size for output in node.outputs]
    if len(node.inputs) > 1 and node.inputs[1] is not None and trace.integers(node.inputs[1]) is None:
        return pinned(trace, node, "dynamic-shape")
    ends = np.cumsum(sizes)
    parts = [x[axis].take(np.arange(end - size, end)) for size, end in zip(sizes, ends, strict=True)]
    if isinstance(x[axis], Free):
        trace.patch(SplitPatch(key(node), tuple(part.labels for part in parts if isinstance(part, Free))))
    return [[*x[:axis], part, *x[axis + 1 :]] for part in parts]


def slice_(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """A stretch of the labels; a step other than one pins them."""
    starts, ends = (trace.integers(value) for value in node.inputs[1:3])
    out = list(trace.dims(node.inputs[0]))
    axes = trace.integers(node.inputs[3]) if _given(node, 3) else list(range(len(starts or ())))
    steps = trace.integers(node.inputs[4]) if _given(node, 4) else [1] * len(starts or ())
    if starts is None or ends is None or axes is None or steps is None:
        return pinned(trace, node, "dynamic-index")
    for entry, (start, end, axis, step) in enumerate(zip(starts, ends, axes, steps, strict=True)):
        axis %= len(out)
        dim = out[axis]
        taken = range(*slice(start, max(end, -dim.size - 1) if end < 0 else end, step).indices(dim.size))
        whole = step == 1 and len(taken) == dim.size
        if whole:
            continue  # the end of a whole slice is often a huge number: it needs no patch, but a patch does no harm
        if isinstance(dim, Free) and step == 1:
            trace.patch(SlicePatch(key(node), entry, taken.start, taken.stop, dim.labels))
        elif isinstance(dim, Free):
            trace.pin([dim], "strided-slice", label(node))
        out[axis] = dim.take(np.array(taken, dtype=np.int64))
    return [out]


def _given(node: ir.Node, index: int) -> bool:
    return len(node.inputs) > index and node.inputs[index] is not None


def gather(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """Chooses positions by number: constant numbers are patched, computed ones pin the dimension they index.

    A lookup in a constant table (an embedding) produces the table's other axes as channels.
    """
    data, places = trace.dims(node.inputs[0]), trace.dims(node.inputs[1])
    axis = axis_of(node, len(data), 0)
    before, dim, after = data[:axis], data[axis], data[axis + 1 :]
    for other in (*before, *after):
        trace.role(other, "producer")
    numbers = trace.integers(node.inputs[1])
    if numbers is not None and len(places) == 1 and isinstance(dim, Free):
        trace.patch(IndexPatch(key(node), dim.labels))
        chosen = dim.take(np.asarray(numbers, dtype=np.int64))
        middle: Dims = [chosen]
    else:
        code = "dynamic-index" if numbers is None else "fixed-index"
        trace.pin([dim], code, label(node))
        trace.pin(places, code, label(node))
        middle = [Fixed(place.size, Pin(code, label(node))) for place in places]
    return [[*map(computed, before), *middle, *map(computed, after)]]


def tile(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """The labels, repeated."""
    repeats = trace.integers(node.inputs[1])
    if repeats is None:
        return pinned(trace, node, "dynamic-shape")
    return [
        [
            dim.take(np.tile(np.arange(dim.size), times)) if times != 1 else dim
            for dim, times in zip(trace.dims(node.inputs[0]), repeats, strict=True)
        ]
    ]


def expand(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """Broadcasting to a given shape; its entries for dimensions that shrink are patched."""
    sizes = trace.fixed(node.outputs[0], "broadcast", label(node))
    out = tie_aligned(trace, [trace.dims(node.inputs[0])], sizes)
    shape = trace.integers(node.inputs[1])
    if shape is None:
        trace.pin([*out, *trace.dims(node.inputs[1])], "dynamic-shape", label(node))
        return [out]
    entries = out[len(out) - len(shape) :]
    dims = tuple(
        dim.labels if isinstance(dim, Free) and entry != 1 else None for entry, dim in zip(shape, entries, strict=True)
    )
    if any(labels is not None for labels in dims):
        trace.patch(ShapePatch(key(node), 1, dims))
    return [out]
