"""Operators of several activations: Add, Sum, Mul, Concat; and the integer Softmax."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx_ir as onnx

from .. import graph as ir
from ..requant import inputs_of_sum
from . import functions
from .geometry import axis_of_sample
from .values import Function, Integer, NotIntegerError, Pending, Shape, Slot, Value, View

if TYPE_CHECKING:
    from .reader import Reader

SOFTMAX_ONE = 1 << 20  # exp(0) in Q20


def add(reader: Reader, node: onnx.Node) -> Value:
    """Add, Sum of two -> QAdd; with a constant: a bias of the product before it, or a table."""
    if len(node.inputs) == 1:
        return reader.value(node.inputs[0])
    if len(node.inputs) != 2:
        raise NotIntegerError("no-integer-form", "a sum of more than two operands")
    for value, other in (node.inputs, node.inputs[::-1]):
        found, constant = reader.value(value), reader.constant(other)
        if isinstance(found, Pending) and found.with_bias is not None and constant is not None:
            return found.with_bias(constant, str(node.name))
    names, shape = _operands(reader, node)
    if isinstance(names, Function):
        return names

    def build(slot: Slot) -> ir.Op:
        scales = [reader.quant(name).scale for name in names]
        return ir.QAdd(**slot.fused(*names), requant=reader.multipliers(inputs_of_sum, scales, slot.quant.scale))

    return Pending(build, shape, (str(node.name),))


def mul(reader: Reader, node: onnx.Node) -> Value:
    """Mul -> QMul, or a table where one operand is a scalar or both are functions of one tensor (x * sigmoid(x))."""
    names, shape = _operands(reader, node)
    if isinstance(names, Function):
        return names

    def build(slot: Slot) -> ir.Op:
        return ir.QMul(
            **slot.fused(*names), requant=reader.requant([reader.quant(name).scale for name in names], slot.quant)
        )

    return Pending(build, shape, (str(node.name),))


def _operands(reader: Reader, node: onnx.Node) -> tuple[tuple[str, str] | Function, Shape]:
    """Both operands as tensors of one rank, or the node as a function of a single tensor."""
    shape = reader.sample_shape(node.outputs[0])
    function = functions.binary(reader, node)
    if function is not None:
        return function, shape
    if any(reader.constant(value) is not None for value in node.inputs):
        raise NotIntegerError("constant-operand")
    a, b = (reader.tensor(value) for value in node.inputs)
    if len(reader.tensors[a].shape) != len(reader.tensors[b].shape):
        raise NotIntegerError("broadcast-rank")
    return (a, b), shape


def concat(reader: Reader, node: onnx.Node) -> Value:
    """Concat -> QConcat. Inputs of one type need no QuantizeLinear behind it: the result has that type."""
    shape = reader.sample_shape(node.outputs[0])
    axis = axis_of_sample(node.attributes.get_int("axis", 0), len(shape) + 1)
    if any(reader.constant(value) is not None for value in node.inputs):
        raise NotIntegerError("constant-operand")
    found = [reader.value(value) for value in node.inputs]
    names = [reader.tensor(value) for value in node.inputs]

    def build(slot: Slot) -> ir.Op:
        scales = np.array([reader.quant(name).scale for name in names], np.float32)
        return ir.QConcat(**slot.fused(*names), requant=reader.requant([scales], slot.quant), axis=axis)

    pending = Pending(build, shape, (str(node.name),))
    types = [reader.quant(name) for name in names]
    direct = isinstance(found[0], Integer) or any(u.op_type != "QuantizeLinear" for u in node.outputs[0].consumers())
    if not direct or len({(quant.dtype, quant.scale, quant.zero_point) for quant in types}) != 1:
        return pending
    widest = max(types, key=lambda quant: quant.bits)
    output = str(node.outputs[0].name)
    target = output if isinstance(found[0], Integer) else reader.fresh(output)
    slot = Slot(reader.op_name(str(node.name)), target, widest, widest.qmin, widest.qmax, (str(node.name),))
    reader.emit(build(slot), shape, widest)
    return Integer(target, shape) if isinstance(found[0], Integer) else View(target, shape)


def softmax(reader: Reader, node: onnx.Node) -> Value:
    """Softmax -> QSoftmax where the target wants it and the output is quantized; the scale must be 1 / integer."""
    if reader.formats.softmax != "integer" or node.op_type != "Softmax":
        raise NotIntegerError("terminal-softmax" if _is_terminal(node) else "inner-softmax")
    shape = reader.sample_shape(node.outputs[0])
    axis = axis_of_sample(node.attributes.get_int("axis", -1), len(shape) + 1)
    x = reader.tensor(node.inputs[0])
    scale = float(reader.quant(x).scale)
    table = np.rint(np.exp(-scale * np.arange(256)) * SOFTMAX_ONE).astype(np.uint32)

    def build(slot: Slot) -> ir.Op:
        reciprocal = round(1 / slot.quant.scale)
        if np.float32(1) / np.float32(reciprocal) != np.float32(slot.quant.scale):
            raise NotIntegerError("softmax-scale")
        if (slot.qmin, slot.qmax) != (slot.quant.qmin, slot.quant.qmax):
            raise NotIntegerError("softmax-scale", "a Clip behind the Softmax")
        return ir.QSoftmax(**slot.names(x), table=table, reciprocal=reciprocal, axis=axis)

    return Pending(build, shape, (str(node.name),))


_TRAILING = frozenset({"QuantizeLinear", "DequantizeLinear", "Reshape", "Flatten", "Squeeze", "Identity"})


def _is_terminal(node: onnx.Node) -> bool:
    """Whether only graph outputs lie behind a node, reshapes and quantization aside."""
    todo = list(node.outputs)
    while todo:
        for consumer in todo.pop().consumers():
            if consumer.op_type not in _TRAILING:
                return False
            todo.extend(consumer.outputs)
    return True
