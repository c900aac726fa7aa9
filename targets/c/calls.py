"""Every operator of the integer graph as C: constant arrays, an argument structure, a call of a portable kernel.

Names in C are `op_NAME_FIELD`. A field has no underscore in it, so different operators never collide, whatever their
names; and no name of the graph stands alone, so that none can be a keyword.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from ...compiler.integer import graph as ir

Array = npt.NDArray[Any]

DTYPES: Mapping[str, str] = {"u8": "PRUNUS_U8", "s8": "PRUNUS_S8"}
SCHEMES: Mapping[str, str] = {"f32": "PRUNUS_F32", "fixed": "PRUNUS_FIXED", "pow2": "PRUNUS_POW2"}


@dataclass(frozen=True)
class Place:
    """The address of a tensor, `offset` bytes into it."""

    tensor: str
    offset: int = 0


Argument = str | Place


@dataclass(frozen=True)
class Call:
    """A call of `kernel`, whose result is a prunus_status."""

    kernel: str
    arguments: tuple[Argument, ...]


@dataclass
class Code:
    """What one operator becomes. `arrays`: C name -> constant; `structs`: C name -> (type, initialiser)."""

    arrays: dict[str, Array] = field(default_factory=dict)
    structs: dict[str, tuple[str, str]] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)


def braces(**fields: object) -> str:
    """A designated initialiser on one line."""
    return "{" + ", ".join(f".{name} = {value}" for name, value in fields.items()) + "}"


def numbers(values: Sequence[int]) -> str:
    """An array initialiser on one line."""
    return "{" + ", ".join(str(int(value)) for value in values) + "}"


def literal(value: float) -> str:
    """A C literal of exactly this float32."""
    return f"{float(np.float32(value)).hex()}f"


class _Writer:
    """Builds the `Code` of one operator."""

    def __init__(self, graph: ir.Graph, op: ir.Op) -> None:
        self.graph, self.op, self.code = graph, op, Code()

    def name(self, part: str) -> str:
        return f"op_{self.op.name}_{part}"

    def array(self, part: str, values: Array) -> str:
        self.code.arrays[self.name(part)] = values
        return self.name(part)

    def struct(self, part: str, type_name: str, **fields: object) -> str:
        self.code.structs[self.name(part)] = (type_name, braces(**fields))
        return f"&{self.name(part)}"

    def call(self, kernel: str, *arguments: Argument) -> Code:
        self.code.calls.append(Call(kernel, arguments))
        return self.code

    # -- places and types -----------------------------------------------------------------------------------------

    @property
    def x(self) -> Place:
        return Place(self.op.inputs[0])

    @property
    def y(self) -> Place:
        return Place(self.op.output)

    def shape(self, name: str) -> tuple[int, ...]:
        """With a batch of one."""
        return (1, *self.graph.tensors[name].shape)

    def type(self, name: str) -> str:
        quant = self.graph.quant(name)
        return braces(dtype=DTYPES[quant.dtype], zero_point=quant.zero_point)

    def epilogue_fields(self, op: ir.Fused) -> dict[str, object]:
        requant = op.requant
        entries: dict[str, object] = {"scheme": SCHEMES[requant.scheme], "size": requant.size}
        if requant.scheme == "f32":
            entries["multiplier_f32"] = self.array("multiplier", requant.multiplier.astype(np.float32))
        if requant.scheme == "fixed":
            entries["multiplier"] = self.array("multiplier", requant.multiplier.astype(np.int32))
        if requant.scheme != "f32":
            entries["shift"] = self.array("shift", requant.shift)
        requantization = braces(**entries)
        return {"requant": requantization, "type": self.type(op.output), "qmin": op.qmin, "qmax": op.qmax}

    def epilogue(self, op: ir.Fused) -> str:
        return braces(**self.epilogue_fields(op))

    def window(self, window: ir.Window) -> str:
        fields = ("kernel_h", "kernel_w", "stride_h", "stride_w", "pad_top", "pad_left", "pad_bottom", "pad_right")
        values = (*window.kernel, *window.strides, *window.pads)
        dilations = {"dilation_h": window.dilations[0], "dilation_w": window.dilations[1]}
        return braces(**dict(zip(fields, values, strict=True)), **dilations)

    def sizes(self, channels: tuple[str, ...]) -> dict[str, object]:
        """batch, channels, in_h, in_w, out_h, out_w of an operator on images."""
        (_, in_c, in_h, in_w), (_, out_c, out_h, out_w) = self.shape(self.op.inputs[0]), self.shape(self.op.output)
        sizes = {"in_h": in_h, "in_w": in_w, "out_h": out_h, "out_w": out_w}
        return {"batch": 1, **dict(zip(channels, (in_c, out_c), strict=False)), **sizes}


# -- operators ----------------------------------------------------------------------------------------------------


def _conv(w: _Writer, op: ir.QConv | ir.QDepthwise) -> Code:
    sizes = w.sizes(("in_c", "out_c"))
    group = op.group if isinstance(op, ir.QConv) else sizes["in_c"]
    weight, bias = w.array("weight", op.weight), w.array("bias", op.bias)
    common = {"window": w.window(op.window), "x": w.type(op.inputs[0]), "y": w.epilogue(op)}
    args = w.struct("args", "prunus_conv2d_args", **sizes, group=group, **common)
    kernel = "prunus_conv2d" if isinstance(op, ir.QConv) else "prunus_depthwise2d"
    return w.call(kernel, args, w.x, weight, bias, w.y)


def _gemm(w: _Writer, op: ir.QGemm) -> Code:
    shape = w.shape(op.inputs[0])
    weight, bias = w.array("weight", op.weight), w.array("bias", op.bias)
    sizes = {"rows": prod(shape[:-1]), "in_c": shape[-1], "out_c": op.weight.shape[0]}
    args = w.struct("args", "prunus_gemm_args", **sizes, x=w.type(op.inputs[0]), y=w.epilogue(op))
    return w.call("prunus_gemm", args, w.x, weight, bias, w.y)


def _binary(w: _Writer, op: ir.QAdd | ir.QMul) -> Code:
    a, b = (w.shape(name) for name in op.inputs)
    shapes = {"rank": len(a), "a_shape": numbers(a), "b_shape": numbers(b)}
    types = {"a": w.type(op.inputs[0]), "b": w.type(op.inputs[1])}
    args = w.struct("args", "prunus_binary_args", **shapes, **types, y=w.epilogue(op))
    return w.call(f"prunus_{op.kind}", args, w.x, Place(op.inputs[1]), w.y)


def _requant(w: _Writer, op: ir.QRequant) -> Code:
    size = w.graph.tensors[op.output].size
    runs = {"outer": 1, "inner": size, "stride": size, "copy": 0, "entry": 0}
    args = w.struct("args", "prunus_requant_args", **runs, x=w.type(op.inputs[0]), y=w.epilogue(op))
    return w.call("prunus_requantize", args, w.x, w.y)


def _concat(w: _Writer, op: ir.QConcat) -> Code:
    out, axis = w.shape(op.output), op.axis + 1
    epilogue, offset = w.epilogue(op), 0
    for index, name in enumerate(op.inputs):
        inner = prod(w.shape(name)[axis:])
        runs = {"outer": prod(out[:axis]), "inner": inner, "stride": prod(out[axis:])}
        copy = int(w.graph.quant(name) == w.graph.quant(op.output))
        which = {"copy": copy, "entry": 0 if copy else index}
        args = w.struct(f"args{index}", "prunus_requant_args", **runs, **which, x=w.type(name), y=epilogue)
        w.call("prunus_requantize", args, Place(name), Place(op.output, offset))
        offset += inner
    return w.code


def _pool(w: _Writer, op: ir.QMaxPool | ir.QAvgPool) -> str:
    quant = w.graph.quant(op.inputs[0])
    common = {"window": w.window(op.window), "x": w.type(op.inputs[0]), "fill": quant.qmin}
    return w.struct("args", "prunus_pool2d_args", **w.sizes(("c",)), **common)


def _maxpool(w: _Writer, op: ir.QMaxPool) -> Code:
    return w.call("prunus_maxpool2d", _pool(w, op), w.x, w.y)


def _avgpool(w: _Writer, op: ir.QAvgPool) -> Code:
    end = w.struct("end", "prunus_epilogue", **w.epilogue_fields(op))
    index = w.array("index", op.count_index)
    return w.call("prunus_avgpool2d", _pool(w, op), end, index, w.x, w.y)


def _lut(w: _Writer, op: ir.QLut) -> Code:
    dtype = w.graph.quant(op.output).dtype
    table = w.array("table", op.table.astype(ir.NUMPY_TYPE[dtype]))
    size = w.graph.tensors[op.output].size
    return w.call("prunus_lut", str(size), DTYPES[w.graph.quant(op.inputs[0]).dtype], table, w.x, w.y)


def _softmax(w: _Writer, op: ir.QSoftmax) -> Code:
    shape, quant = w.shape(op.output), w.graph.quant(op.output)
    axis = op.axis + 1 if op.axis >= 0 else len(shape) + op.axis
    runs = {"outer": prod(shape[:axis]), "length": shape[axis], "inner": prod(shape[axis + 1 :])}
    types = {"x": w.type(op.inputs[0]), "y": w.type(op.output)}
    limits = {"qmin": quant.qmin, "qmax": quant.qmax}
    args = w.struct("args", "prunus_softmax_args", **runs, reciprocal=op.reciprocal, **types, **limits)
    return w.call("prunus_softmax", args, w.array("table", op.table), w.x, w.y)


def _slice_args(w: _Writer, start: Sequence[int], step: Sequence[int], fill: int) -> Code:
    x, y = w.shape(w.op.inputs[0]), w.shape(w.op.output)
    shapes = {"rank": len(x), "x_shape": numbers(x), "y_shape": numbers(y)}
    steps = {"start": numbers((0, *start)), "step": numbers((1, *step)), "fill": fill}
    return w.call("prunus_slice", w.struct("args", "prunus_slice_args", **shapes, **steps), w.x, w.y)


def _slice(w: _Writer, op: ir.QSlice) -> Code:
    return _slice_args(w, op.starts, op.steps, 0)


def _pad(w: _Writer, op: ir.QPad) -> Code:
    return _slice_args(w, [-before for before in op.before], [1] * len(op.before), op.value)


def _transpose(w: _Writer, op: ir.QTranspose) -> Code:
    shape = w.shape(op.inputs[0])
    perm = numbers((0, *(axis + 1 for axis in op.perm)))
    fields = {"rank": len(shape), "x_shape": numbers(shape), "perm": perm}
    return w.call("prunus_transpose", w.struct("args", "prunus_transpose_args", **fields), w.x, w.y)


def _resize(w: _Writer, op: ir.QResize) -> Code:
    args = w.struct("args", "prunus_resize_args", **w.sizes(("c",)))
    return w.call("prunus_resize_nearest", args, w.array("rows", op.rows), w.array("columns", op.columns), w.x, w.y)


CALLS: Mapping[type[ir.Op], Callable[[_Writer, Any], Code]] = {
    ir.QConv: _conv,
    ir.QDepthwise: _conv,
    ir.QGemm: _gemm,
    ir.QAdd: _binary,
    ir.QMul: _binary,
    ir.QConcat: _concat,
    ir.QMaxPool: _maxpool,
    ir.QAvgPool: _avgpool,
    ir.QRequant: _requant,
    ir.QLut: _lut,
    ir.QSoftmax: _softmax,
    ir.QTranspose: _transpose,
    ir.QSlice: _slice,
    ir.QPad: _pad,
    ir.QResize: _resize,
    ir.QReshape: lambda w, _op: w.code,
}


def code(graph: ir.Graph, op: ir.Op) -> Code:
    """The operator as C."""
    return CALLS[type(op)](_Writer(graph, op), op)
