"""Validates an integer graph: everything a lowering may take for granted.

Structure (order, names), types, shapes (propagated and compared), the accumulator bound, the range of weights, the
scheme's rules on zero points and scales, and the range of every multiplier and shift.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from ..errors import UnsupportedError
from . import graph as ir
from .ops import INT32_MAX, accumulator_bound
from .requant import AVERAGE_BITS, MAX_SHIFT, MIN_POW2_SHIFT, MIN_SHIFT, is_pow2

MAX_SPREAD = 48  # between the shifts of a sum's operands, which are aligned in 64 bits

Shape = tuple[int, ...]
ShapeRule = Callable[[ir.Graph, Any, list[Shape]], Shape | None]


def check_graph(graph: ir.Graph) -> None:
    """Raises UnsupportedError, with a code, for the first rule of the integer contract that the graph breaks.

    Codes: `graph-order`, `graph-names`, `type-rule`, `zero-point-rule`, `scale-not-pow2`, `shape-mismatch`,
    `weight-range`, `acc-overflow`, `requant-range`, `clip-range`, `table-size`.
    """
    _check_structure(graph)
    for name in sorted(graph.tensors):
        _check_tensor(graph, graph.tensors[name])
    for op in graph.ops:
        _check_types(graph, op)
        _check_shape(graph, op)
        if isinstance(op, ir.Fused):
            _check_fused(graph, op)
        if isinstance(op, ir.Linear):
            _check_linear(graph, op)
        if isinstance(op, ir.QLut | ir.QSoftmax):
            _require(op.table.shape == (256,), op.name, "table-size", f"The table has shape {op.table.shape}, not 256.")


def _fail(where: str, code: str, why: str) -> NoReturn:
    raise UnsupportedError(
        "The integer graph breaks the integer contract.",
        code=code,
        where=where,
        why=why,
        hint="This is a fault of the pass or tool that made the graph, not of your model; please report it.",
    )


def _require(condition: bool, where: str, code: str, why: str) -> None:
    if not condition:
        _fail(where, code, why)


# -- structure and types ----------------------------------------------------------------------------------------------


def _check_structure(graph: ir.Graph) -> None:
    known = set(graph.inputs)
    names: set[str] = set()
    for op in graph.ops:
        _require(op.name not in names, op.name, "graph-names", "Two operators have this name.")
        names.add(op.name)
        for name in op.inputs:
            _require(name in known, op.name, "graph-order", f"Its input {name} is not computed before it.")
        for name in op.outputs:
            _require(name not in known, op.name, "graph-names", f"The tensor {name} is written twice.")
            known.add(name)
    for name in graph.outputs:
        _require(name in known, name, "graph-order", "Nothing computes this graph output.")
    for name in known:
        _require(name in graph.tensors, name, "graph-names", "The tensor is not declared.")


def _check_tensor(graph: ir.Graph, tensor: ir.Tensor) -> None:
    _require(all(dim > 0 for dim in tensor.shape), tensor.name, "shape-mismatch", f"Its shape is {tensor.shape}.")
    quant = tensor.quant
    if quant is None:
        return
    _require(quant.dtype in ir.NUMPY_TYPE, tensor.name, "type-rule", f"The type {quant.dtype} is neither u8 nor s8.")
    _require(1 <= quant.bits <= 8, tensor.name, "type-rule", f"It has {quant.bits} bits.")
    positive = np.isfinite(quant.scale) and quant.scale > 0 and float(np.float32(quant.scale)) == quant.scale
    _require(bool(positive), tensor.name, "type-rule", f"The scale {quant.scale} is not a positive float32.")
    inside = quant.qmin <= quant.zero_point <= quant.qmax
    _require(inside, tensor.name, "zero-point-rule", f"Zero point {quant.zero_point} is no value of the type.")
    if graph.scheme == "pow2":
        _require(quant.zero_point == 0, tensor.name, "zero-point-rule", "Scheme pow2 wants zero point 0.")
        _require(is_pow2(quant.scale), tensor.name, "scale-not-pow2", f"Its scale is {quant.scale:.9g}.")


FLOAT_IN = (ir.Quantize, ir.Island)
FLOAT_OUT = (ir.Dequantize, ir.Island)
SAME_TYPE = (ir.QMaxPool, ir.QReshape, ir.QTranspose, ir.QSlice, ir.QPad, ir.QResize)


def _check_types(graph: ir.Graph, op: ir.Op) -> None:
    for name in op.inputs:
        is_float = graph.tensors[name].quant is None
        _require(is_float == isinstance(op, FLOAT_IN), op.name, "type-rule", f"Its input {name} has the wrong kind.")
    for name in op.outputs:
        is_float = graph.tensors[name].quant is None
        _require(is_float == isinstance(op, FLOAT_OUT), op.name, "type-rule", f"Its output {name} has the wrong kind.")
    if isinstance(op, SAME_TYPE):
        source, out = graph.quant(op.inputs[0]), graph.quant(op.output)
        _require(source == out, op.name, "type-rule", f"Data movement changes the type from {source} to {out}.")
    if isinstance(op, ir.QPad):
        out = graph.quant(op.output)
        _require(out.qmin <= op.value <= out.qmax, op.name, "clip-range", f"It pads with {op.value}.")


# -- shapes -----------------------------------------------------------------------------------------------------------


def _windowed(window: ir.Window, channels: int, shape: Shape) -> Shape:
    return (channels, *window.output_size(*shape[1:]))


def _broadcast(_graph: ir.Graph, _op: ir.Op, shapes: list[Shape]) -> Shape | None:
    return tuple(np.broadcast_shapes(*shapes)) if len({len(shape) for shape in shapes}) == 1 else None


def _concat(_graph: ir.Graph, op: ir.QConcat, shapes: list[Shape]) -> Shape | None:
    axis = op.axis
    rest = {(*shape[:axis], *shape[axis + 1 :]) for shape in shapes}
    return (*shapes[0][:axis], sum(shape[axis] for shape in shapes), *shapes[0][axis + 1 :]) if len(rest) == 1 else None


def _conv(_graph: ir.Graph, op: ir.QConv, shapes: list[Shape]) -> Shape | None:
    out, per_group = op.weight.shape[:2]
    fits = per_group * op.group == shapes[0][0] and out % op.group == 0 and op.weight.shape[2:] == op.window.kernel
    return _windowed(op.window, out, shapes[0]) if fits else None


def _depthwise(_graph: ir.Graph, op: ir.QDepthwise, shapes: list[Shape]) -> Shape | None:
    out = op.weight.shape[0]
    fits = out % shapes[0][0] == 0 and op.weight.shape[1:] == (1, *op.window.kernel)
    return _windowed(op.window, out, shapes[0]) if fits else None


def _avgpool(_graph: ir.Graph, op: ir.QAvgPool, shapes: list[Shape]) -> Shape | None:
    shape = _windowed(op.window, shapes[0][0], shapes[0])
    entries = bool(((op.count_index >= 0) & (op.count_index < op.requant.size)).all())
    return shape if entries and op.count_index.shape == shape[1:] else None


def _slice(_graph: ir.Graph, op: ir.QSlice, shapes: list[Shape]) -> Shape | None:
    bounds = zip(shapes[0], op.starts, op.stops, op.steps, strict=True)
    return tuple(len(range(size)[start:stop:step]) for size, start, stop, step in bounds)


SHAPES: Mapping[type[ir.Op], ShapeRule] = {
    ir.QConv: _conv,
    ir.QDepthwise: _depthwise,
    ir.QGemm: lambda _, op, s: (*s[0][:-1], op.weight.shape[0]) if s[0][-1] == op.weight.shape[1] else None,
    ir.QAdd: _broadcast,
    ir.QMul: _broadcast,
    ir.QConcat: _concat,
    ir.QMaxPool: lambda _, op, s: _windowed(op.window, s[0][0], s[0]),
    ir.QAvgPool: _avgpool,
    ir.QRequant: _broadcast,
    ir.QLut: _broadcast,
    ir.QSoftmax: _broadcast,
    ir.QReshape: lambda g, op, s: g.tensors[op.output].shape if np.prod(s[0]) == g.tensors[op.output].size else None,
    ir.QTranspose: lambda _, op, s: tuple(s[0][axis] for axis in op.perm) if len(op.perm) == len(s[0]) else None,
    ir.QSlice: _slice,
    ir.QPad: lambda _, op, s: tuple(b + n + a for b, n, a in zip(op.before, s[0], op.after, strict=True)),
    ir.QResize: lambda _, op, s: (s[0][0], len(op.rows), len(op.columns)),
    ir.Quantize: _broadcast,
    ir.Dequantize: _broadcast,
}


def _check_shape(graph: ir.Graph, op: ir.Op) -> None:
    rule = SHAPES.get(type(op))
    if rule is None:
        _require(isinstance(op, ir.Island), op.name, "type-rule", f"The operator {op.kind} is unknown.")
        return
    shapes = [graph.tensors[name].shape for name in op.inputs]
    declared = graph.tensors[op.output].shape
    try:
        found = rule(graph, op, shapes)
    except (ValueError, IndexError):  # ranks that do not fit the operator
        found = None
    why = f"Inputs {shapes} do not give the declared output {declared}."
    _require(found == declared, op.name, "shape-mismatch", why)


# -- arithmetic -------------------------------------------------------------------------------------------------------


def _check_fused(graph: ir.Graph, op: ir.Fused) -> None:
    out = graph.quant(op.output)
    inside = out.qmin <= op.qmin <= op.qmax <= out.qmax
    _require(inside, op.name, "clip-range", f"It clips to [{op.qmin}, {op.qmax}], outside of its type.")
    entries = {1, *_entries(op)}
    _require(op.requant.size in entries, op.name, "requant-range", f"It has {op.requant.size} multipliers.")
    _check_requant(graph, op)


def _entries(op: ir.Fused) -> tuple[int, ...]:
    if isinstance(op, ir.Linear):
        return (op.weight.shape[0],)
    if isinstance(op, ir.QAdd | ir.QConcat):
        return (len(op.inputs),)
    return (op.requant.size,) if isinstance(op, ir.QAvgPool) else ()


def _check_requant(graph: ir.Graph, op: ir.Fused) -> None:
    requant = op.requant
    wanted = "fixed" if graph.scheme == "pow2" and isinstance(op, ir.QAvgPool) else graph.scheme
    _require(requant.scheme == wanted, op.name, "requant-range", f"Its scheme is {requant.scheme}, not {wanted}.")
    _require(
        requant.shift.shape == requant.multiplier.shape,
        op.name,
        "requant-range",
        "Multipliers and shifts differ in number.",
    )
    m, shift = requant.multiplier, requant.shift
    if requant.scheme == "f32":
        normal = np.isfinite(m) & (m >= np.finfo(np.float32).tiny)
        _require(m.dtype == np.float32 and bool(normal.all()), op.name, "requant-range", "A multiplier is not normal.")
        return
    low = MIN_POW2_SHIFT if requant.scheme == "pow2" else MIN_SHIFT
    inside = bool((low <= shift).all() and (shift <= MAX_SHIFT).all())
    _require(inside, op.name, "requant-range", f"A shift lies outside of [{low}, {MAX_SHIFT}].")
    if requant.scheme == "pow2":
        spread = int(shift.max()) - int(shift.min()) if isinstance(op, ir.QAdd) else 0
        _require(spread <= MAX_SPREAD, op.name, "requant-range", f"The shifts of a sum differ by {spread}.")
        _require(bool((m == 1).all()), op.name, "requant-range", "A multiplier of scheme pow2 is not 1.")
        return
    short = graph.scheme == "pow2"
    _require(not short or requant.bits == AVERAGE_BITS, op.name, "requant-range", f"It has {requant.bits} bits.")
    _check_fixed(op)


def _check_fixed(op: ir.Fused) -> None:
    requant = op.requant
    m, top = requant.multiplier, 1 << requant.bits
    if isinstance(op, ir.QAdd):  # one common shift: only the larger multiplier is normalised
        common = bool((requant.shift == requant.shift[0]).all()) and bool((m > 0).all())
        _require(common, op.name, "requant-range", "The inputs of an addition do not share a shift.")
        m = m.max(keepdims=True)
    inside = bool((top // 2 <= m).all() and (m < top).all())
    _require(inside, op.name, "requant-range", f"A multiplier does not have {requant.bits} bits.")


def _check_linear(graph: ir.Graph, op: ir.Linear) -> None:
    _require(
        op.weight.dtype == np.int8 and op.bias.dtype == np.int32, op.name, "type-rule", "Weights are s8, biases s32."
    )
    channels = op.weight.shape[0]
    _require(op.bias.shape == (channels,), op.name, "shape-mismatch", f"{op.bias.size} biases, {channels} channels.")
    fits = op.weight_scale.size in (1, channels)
    _require(fits, op.name, "shape-mismatch", f"{op.weight_scale.size} weight scales, {channels} channels.")
    reach = 1 << (op.weight_bits - 1)
    low, high = int(op.weight.min(initial=0)), int(op.weight.max(initial=0))
    inside = max(-127, -reach) <= low and high <= reach - 1
    _require(inside, op.name, "weight-range", f"Weights lie in [{low}, {high}] and should have {op.weight_bits} bits.")
    bound = accumulator_bound(op, graph.quant(op.inputs[0]))
    _require(bound <= INT32_MAX, op.name, "acc-overflow", f"The accumulator may reach {bound}.")
