"""Integer graph -> netlist, fully unrolled: every multiplication by a constant becomes adders, every tensor wires.

What cannot be unrolled exactly is refused with the reason: `check` and `lower` make the same walk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from ....compiler.integer import graph as ir
from .netlist import Input, Larger, Lookup, Netlist
from .products import Term, add, multiply, settle

Wires = npt.NDArray[np.int64]  # nodes of the netlist in the shape of a tensor


@dataclass
class Lowering:
    """The netlist as it grows, and the nodes of every tensor that is computed on the device."""

    graph: ir.Graph
    netlist: Netlist = field(default_factory=Netlist)
    wires: dict[str, Wires] = field(default_factory=dict)

    def read(self, op: ir.Op, number: int = 0) -> Wires:
        return self.wires[op.inputs[number]]

    def finish(
        self, op: ir.Fused, terms: npt.NDArray[Any], entry: npt.NDArray[np.intp] | int = 0, bias: Any = 0
    ) -> Wires:
        """Requantizes sums: `terms` (an array of Term), `entry` of the requantization and `bias` for each."""
        requant = op.requant
        entries, biases = np.broadcast_to(entry, terms.shape), np.broadcast_to(bias, terms.shape)
        found = np.empty(terms.shape, np.int64)
        for place, term in np.ndenumerate(terms):
            which = int(entries[place]) if requant.size > 1 else 0
            found[place] = self._finished(
                op, term, int(requant.multiplier[which]), int(requant.shift[which]), int(biases[place])
            )
        return found

    def _finished(self, op: ir.Fused, term: Term, multiplier: int, shift: int, bias: int) -> int:
        net = self.netlist
        if multiplier != 1:
            total = settle(net, term, 0, bias)
            [term], bias = multiply(net, np.array([[multiplier]]), [total]), 0
        return net.clamp(settle(net, term, shift, bias), op.qmin, op.qmax)


def lower_gemm(low: Lowering, op: ir.QGemm) -> Wires:
    """[..., in] -> [..., out]."""
    x = low.read(op)
    rows = x.reshape(-1, x.shape[-1])
    terms = _terms([multiply(low.netlist, op.weight, row.tolist()) for row in rows])
    found = low.finish(op, terms, np.arange(len(op.weight)), op.bias)
    return found.reshape(*x.shape[:-1], len(op.weight))


def lower_conv(low: Lowering, op: ir.QConv | ir.QDepthwise) -> Wires:
    """A convolution, position by position; padding is the constant zero."""
    x = low.read(op)
    groups = op.group if isinstance(op, ir.QConv) else len(x)
    patches = _windows(x, op.window, low.netlist.const(0))
    channels, height, width = patches.shape[:3]
    outputs = len(op.weight)
    weight = op.weight.reshape(groups, outputs // groups, -1)
    patches = patches.reshape(groups, channels // groups, height, width, -1)
    terms = np.empty((outputs, height, width), object)
    for group in range(groups):
        rows = slice(group * outputs // groups, (group + 1) * outputs // groups)
        for place in np.ndindex(height, width):
            inputs = patches[group, :, *place].reshape(-1).tolist()
            terms[rows, *place] = _terms([multiply(low.netlist, weight[group], inputs)])[0]
    entry, bias = np.arange(outputs)[:, None, None], op.bias[:, None, None]
    return low.finish(op, terms, entry, bias)


def lower_add(low: Lowering, op: ir.QAdd) -> Wires:
    """Both operands on a common grid, one rounding."""
    a, b = np.broadcast_arrays(low.read(op, 0), low.read(op, 1))
    common = int(op.requant.shift.max())
    left = [common - int(shift) for shift in op.requant.shift]
    factors = [int(multiplier) for multiplier in op.requant.multiplier]
    terms = np.empty(a.shape, object)
    for place in np.ndindex(a.shape):
        one, other = (
            multiply(low.netlist, np.array([[factor << moved]]), [int(wires[place])])[0]
            for wires, factor, moved in zip((a, b), factors, left, strict=True)
        )
        terms[place] = add(low.netlist, one, other)
    found = np.empty(a.shape, np.int64)
    for place, term in np.ndenumerate(terms):
        found[place] = low.netlist.clamp(settle(low.netlist, term, common, 0), op.qmin, op.qmax)
    return found


def lower_requant(low: Lowering, op: ir.QRequant) -> Wires:
    """Another scale, or a Relu."""
    return low.finish(op, _as_terms(low.read(op)))


def lower_concat(low: Lowering, op: ir.QConcat) -> Wires:
    """Inputs of the output's own type are wires; others are requantized."""
    parts = []
    for number, name in enumerate(op.inputs):
        x = low.read(op, number)
        if low.graph.quant(name) == low.graph.quant(op.output):
            clamped = [low.netlist.clamp(int(node), op.qmin, op.qmax) for node in x.reshape(-1)]
            parts.append(np.array(clamped, np.int64).reshape(x.shape))
        else:
            parts.append(low.finish(op, _as_terms(x), number))
    return np.concatenate(parts, axis=op.axis)


def lower_maxpool(low: Lowering, op: ir.QMaxPool) -> Wires:
    """A tree of comparisons per window; what lies outside of the image is the smallest value."""
    quant = low.graph.quant(op.inputs[0])
    patches = _windows(low.read(op), op.window, low.netlist.const(quant.qmin))
    found = np.empty(patches.shape[:3], np.int64)
    for place in np.ndindex(found.shape):
        found[place] = _tree(patches[place].tolist(), lambda a, b: low.netlist.add(Larger((a, b))))
    return found


def lower_avgpool(low: Lowering, op: ir.QAvgPool) -> Wires:
    """A tree of adders per window, then a constant multiplication for the division."""
    patches = _windows(low.read(op), op.window, low.netlist.const(0))
    terms = np.empty(patches.shape[:3], object)
    for place in np.ndindex(terms.shape):
        terms[place] = Term(_tree(patches[place].tolist(), low.netlist.sum))
    return low.finish(op, terms, op.count_index.astype(np.intp))


def lower_lut(low: Lowering, op: ir.QLut) -> Wires:
    """A table of the values that the input can take."""
    x = low.read(op)
    offset = 0 if low.graph.quant(op.inputs[0]).dtype == "u8" else 128
    found = np.empty(x.shape, np.int64)
    for place, node in np.ndenumerate(x):
        first, last = low.netlist.intervals[int(node)]
        table = tuple(int(entry) for entry in op.table[first + offset : last + offset + 1])
        found[place] = low.netlist.add(Lookup((int(node),), first, table))
    return found


def lower_reshape(low: Lowering, op: ir.QReshape) -> Wires:
    return low.read(op).reshape(low.graph.tensors[op.output].shape)


def lower_transpose(low: Lowering, op: ir.QTranspose) -> Wires:
    return low.read(op).transpose(op.perm)


def lower_slice(low: Lowering, op: ir.QSlice) -> Wires:
    return low.read(op)[tuple(slice(*cut) for cut in zip(op.starts, op.stops, op.steps, strict=True))]


def lower_pad(low: Lowering, op: ir.QPad) -> Wires:
    around = tuple(zip(op.before, op.after, strict=True))
    return np.pad(low.read(op), around, constant_values=low.netlist.const(op.value))


def lower_resize(low: Lowering, op: ir.QResize) -> Wires:
    return low.read(op)[:, op.rows][..., op.columns]


LOWER: Mapping[type[ir.Op], Callable[[Lowering, Any], Wires]] = {
    ir.QGemm: lower_gemm,
    ir.QConv: lower_conv,
    ir.QDepthwise: lower_conv,
    ir.QAdd: lower_add,
    ir.QRequant: lower_requant,
    ir.QConcat: lower_concat,
    ir.QMaxPool: lower_maxpool,
    ir.QAvgPool: lower_avgpool,
    ir.QLut: lower_lut,
    ir.QReshape: lower_reshape,
    ir.QTranspose: lower_transpose,
    ir.QSlice: lower_slice,
    ir.QPad: lower_pad,
    ir.QResize: lower_resize,
}


@dataclass(frozen=True, eq=False)
class Lowered:
    """The netlist, and the tensors of the graph that the host sends to it and gets back, in order.

    The netlist's inputs are the elements of `inputs` one after another, its outputs those of `outputs`.
    """

    netlist: Netlist
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def unroll(graph: ir.Graph, inputs: tuple[str, ...], outputs: tuple[str, ...], ops: tuple[ir.Op, ...]) -> Lowered:
    """The netlist of the operators `ops`, all of them in `LOWER`, between two sets of integer tensors.

    Raises ToolError `missing-extra` where da4ml is not installed.
    """
    low = Lowering(graph)
    start = 0
    for name in inputs:
        tensor, quant = graph.tensors[name], graph.quant(name)
        numbers = [low.netlist.add(Input((), start + i, quant.qmin, quant.qmax)) for i in range(tensor.size)]
        low.wires[name] = np.array(numbers, np.int64).reshape(tensor.shape)
        start += tensor.size
    for op in ops:
        low.netlist.layer = op.name
        low.wires[op.output] = LOWER[type(op)](low, op)
    low.netlist.outputs = tuple(int(node) for name in outputs for node in low.wires[name].reshape(-1))
    return Lowered(low.netlist.pruned(), inputs, outputs)


def _windows(x: Wires, window: ir.Window, outside: int) -> Wires:
    """[c, h, w] -> [c, out_h, out_w, kh, kw]."""
    top, left, bottom, right = window.pads
    padded = np.pad(x, ((0, 0), (top, bottom), (left, right)), constant_values=outside)
    (kh, kw), (dh, dw), (sh, sw) = window.kernel, window.dilations, window.strides
    view = np.lib.stride_tricks.sliding_window_view(padded, ((kh - 1) * dh + 1, (kw - 1) * dw + 1), axis=(1, 2))
    return view[:, ::sh, ::sw, ::dh, ::dw]


def _terms(rows: list[list[Term]]) -> npt.NDArray[Any]:
    found = np.empty((len(rows), len(rows[0])), object)
    for i, row in enumerate(rows):
        for j, term in enumerate(row):
            found[i, j] = term
    return found


def _as_terms(wires: Wires) -> npt.NDArray[Any]:
    found = np.empty(wires.shape, object)
    for place, node in np.ndenumerate(wires):
        found[place] = Term(int(node))
    return found


def _tree(nodes: list[Any], combine: Callable[[int, int], int]) -> int:
    """A balanced tree over all elements of nested lists."""
    flat = np.asarray(nodes).reshape(-1).tolist()
    while len(flat) > 1:
        pairs = [combine(a, b) for a, b in zip(flat[::2], flat[1::2], strict=False)]
        flat = pairs + flat[len(pairs) * 2 :]
    return int(flat[0])
