"""The state of the walk over a QDQ model, and what the reader functions may ask of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as onnx

from ...errors import UnsupportedError
from ...model import shapes
from ...model.model import Model
from ...target import Formats
from .. import graph as ir
from ..requant import is_pow2, product
from .functions import function_as_pending
from .geometry import axis_of_sample
from .values import (
    INFINITY,
    Array,
    Constant,
    Float,
    Function,
    Integer,
    Move,
    NotIntegerError,
    Pending,
    Shape,
    Slot,
    Value,
    View,
)

INT_TYPES = {onnx.DataType.UINT8: "u8", onnx.DataType.INT8: "s8"}


class Reader:
    """What is known so far: `values` of the QDQ model, `tensors` and `ops` of the integer graph, refused nodes."""

    def __init__(self, model: Model, formats: Formats) -> None:
        self.model = model.clone()
        shapes.infer(self.model.ir)
        self.formats = formats
        self.values: dict[str, Value] = {}
        self.tensors: dict[str, ir.Tensor] = {}
        self.ops: list[ir.Op] = []
        self.writers: dict[str, ir.Op] = {}  # by tensor
        self.shaped: dict[tuple[str, Shape], str] = {}  # reshaped tensors, by tensor and shape
        self.refusals: dict[str, NotIntegerError] = {}  # by node name
        self._taken = {str(value.name) for value in shapes.all_values(self.model.graph)}
        self._op_names: set[str] = set()
        first = self.model.graph.inputs[0]
        self.batch = first.shape[0] if first.shape is not None and first.shape.rank() else None
        for value in self.model.graph.initializers.values():
            if value.const_value is not None:
                self.values[str(value.name)] = Constant(value.const_value.numpy())

    # -- names and shapes -------------------------------------------------------------------------------------

    def sample_shape(self, value: onnx.Value) -> Shape:
        """The value's shape without the batch. Raises NotIntegerError where the first dimension is not the batch."""
        dims = () if value.shape is None else value.shape.dims
        if not dims or dims[0] != self.batch or not all(isinstance(dim, int) for dim in dims[1:]):
            raise NotIntegerError("batch-not-leading")
        return tuple(int(dim) for dim in dims[1:])  # type: ignore[arg-type]

    def fresh(self, name: str) -> str:
        """An unused tensor name for the integers of a float value."""
        candidate, number = f"{name}_q", 1
        while candidate in self._taken:
            number += 1
            candidate = f"{name}_q{number}"
        self._taken.add(candidate)
        return candidate

    def op_name(self, node: str) -> str:
        """An operator's name: its node's, numbered where a node gives several operators."""
        name, number = node, 1
        while name in self._op_names:
            number += 1
            name = f"{node}_{number}"
        self._op_names.add(name)
        return name

    # -- values -----------------------------------------------------------------------------------------------

    def value(self, value: onnx.Value | None) -> Value:
        """What is known about a node's input."""
        if value is None:
            raise NotIntegerError("no-integer-form", "a missing input")
        return self.values[str(value.name)]

    def constant(self, value: onnx.Value | None) -> Constant | None:
        """A constant input, or None."""
        found = None if value is None else self.values[str(value.name)]
        return found if isinstance(found, Constant) else None

    def numbers(self, value: onnx.Value | None, code: str) -> Array | None:
        """A constant input's numbers; None where it is absent. Raises `code` where it is computed."""
        if value is None:
            return None
        found = self.constant(value)
        if found is None:
            raise NotIntegerError(code)
        return found.real

    def constant_input(self, node: onnx.Node, index: int) -> Constant | None:
        """An optional constant input of a node. Raises where it is computed."""
        value = node.inputs[index] if len(node.inputs) > index else None
        self.numbers(value, "weight-not-constant")
        return self.constant(value)

    def axes(self, node: onnx.Node, rank: int) -> tuple[int, ...]:
        """The sorted axes (of the sample) of a reduction: an attribute, or a constant second input."""
        given: Sequence[int] | None = node.attributes.get_ints("axes")
        if given is None and len(node.inputs) > 1:
            numbers = self.numbers(node.inputs[1], "dynamic-shape")
            given = None if numbers is None else [int(axis) for axis in numbers.reshape(-1)]
        return tuple(sorted(axis_of_sample(axis, rank) for axis in given or ()))

    def static_shape(self, value: onnx.Value) -> Shape:
        """The shape of a constant, batch or not."""
        return () if value.shape is None else tuple(int(dim) for dim in value.shape.numpy())

    def quant(self, tensor: str) -> ir.QType:
        quant = self.tensors[tensor].quant
        assert quant is not None
        return quant

    def tensor(self, value: onnx.Value | None) -> str:
        """The integer tensor whose dequantization a value is; carries out moves that are left to do."""
        found = self.value(value)
        if not isinstance(found, View | Integer):
            raise NotIntegerError("no-input-q")
        assert value is not None
        if found.moves:
            name = self.carry_out(found.tensor, found.moves, self.fresh(str(value.name)))
            found = self.values[str(value.name)] = replace(found, tensor=name, moves=())
        return found.tensor

    def apply(self, value: onnx.Value | None, *moves: Move) -> Value:
        """A value after data movements."""
        found = self.value(value)
        if isinstance(found, View | Integer):
            return replace(found, shape=moves[-1].shape, moves=(*found.moves, *moves))
        pending = self.pending(found)
        for move in moves:
            pending = pending.moved(move)
        return pending

    def pending(self, found: Value) -> Pending:
        """A value as an operator that waits for its output's type; a float value waits for its Quantize."""
        if isinstance(found, Pending):
            return found
        if isinstance(found, Function):
            return function_as_pending(self, found)
        if not isinstance(found, Float):
            raise NotIntegerError("no-integer-form")
        source = found.source

        def quantize(slot: Slot) -> ir.Op:
            if (slot.qmin, slot.qmax) != (slot.quant.qmin, slot.quant.qmax):
                raise NotIntegerError("no-input-q")  # a Quantize cannot clip to less than its type
            written = slot.written or slot.quant
            return ir.Quantize(**slot.names(source), scale=written.scale, zero_point=written.zero_point)

        return Pending(quantize, found.shape, (), retypes=True)

    # -- operators --------------------------------------------------------------------------------------------

    def emit(self, op: ir.Op, shape: Shape, quant: ir.QType | None) -> None:
        """Adds an operator with its output tensor."""
        self.ops.append(op)
        self.writers[op.output] = op
        self.tensors[op.output] = ir.Tensor(op.output, shape, quant)

    def carry_out(self, tensor: str, moves: Sequence[Move], last: str) -> str:
        """Emits data movements on an integer tensor; the last one writes `last`."""
        quant = self.quant(tensor)
        for index, move in enumerate(moves):
            output = last if index == len(moves) - 1 else self.fresh(last)
            name = self.op_name(move.node + move.suffix)
            slot = Slot(name, output, quant, quant.qmin, quant.qmax, (move.node,))
            self.emit(move.build(slot, tensor), move.shape, quant)
            tensor = output
        return tensor

    def realise(self, pending: Pending, node: onnx.Node, written: ir.QType, stored: ir.QType) -> str:
        """Emits a pending operator and the movements behind it in the type that the QuantizeLinear `node` gives it.

        `written` is what the QuantizeLinear states, `stored` what the DequantizeLinear behind it does.
        """
        output = str(node.outputs[0].name)
        origin = pending.origin or (str(node.name),)
        if written != stored and not pending.retypes:
            raise NotIntegerError("q-dq-mismatch")
        quant, qmin, qmax = narrow(stored, pending.low, pending.high)
        target = self.fresh(output) if pending.moves else output
        op = pending.build(Slot(origin[0], target, quant, qmin, qmax, origin, written))
        self.emit(dataclasses.replace(op, name=self.op_name(op.name)), pending.shape, quant)
        return self.carry_out(target, pending.moves, output) if pending.moves else target

    def rescale(self, tensor: str, shape: Shape, origin: tuple[str, ...] = ()) -> Pending:
        """A change of scale of an integer tensor."""
        scale = self.quant(tensor).scale

        def build(slot: Slot) -> ir.Op:
            return ir.QRequant(**slot.fused(tensor), requant=self.requant([scale], slot.quant))

        return Pending(build, shape, origin)

    def dequantize(self, value: onnx.Value) -> None:
        """Emits the Dequantize that makes a view a float tensor."""
        producer, tensor = value.producer(), self.tensor(value)
        node = str(value.name) if producer is None else str(producer.name)
        op = ir.Dequantize(name=self.op_name(node), inputs=(tensor,), output=str(value.name), origin=(node,))
        self.emit(op, self.tensors[tensor].shape, None)

    def requant(self, factors: Sequence[float | Array], out: ir.QType) -> ir.Requant:
        """The multipliers for a product of scales and an output type, in the device's scheme."""
        return self.multipliers(product, factors, out.scale)

    def multipliers(self, function: Callable[..., ir.Requant], *arguments: Any) -> ir.Requant:
        """A function of `requant` with the device's scheme and bits."""
        try:
            return function(*arguments, self.formats.scheme, self.formats.requant_bits)
        except UnsupportedError as error:
            if error.code != "requant-range":  # a scale that breaks the whole scheme stays an error
                raise
            raise NotIntegerError(error.code) from error

    def check_type(self, quant: ir.QType, where: str) -> ir.QType:
        """The scheme's own rules on activation types. Raises UnsupportedError."""
        if self.formats.scheme == "pow2" and not is_pow2(quant.scale):
            raise UnsupportedError(
                "A scale is not a power of two.",
                code="scale-not-pow2",
                where=self.model.original(where),
                why=f"The device's scheme is pow2 and the scale is {quant.scale:.9g}.",
                hint="Quantize the model for this device, so that every scale is a power of two.",
            )
        if (self.formats.scheme == "pow2" or self.formats.zero_point == "zero") and quant.zero_point != 0:
            raise UnsupportedError(
                "An activation has a zero point.",
                code="zero-point-not-zero",
                where=self.model.original(where),
                why=f"The device wants zero point 0, this one is {quant.zero_point}.",
                hint="Quantize the model for this device.",
            )
        return quant


def narrow(quant: ir.QType, low: float, high: float) -> tuple[ir.QType, int, int]:
    """(type, qmin, qmax) after a clip to [low, high]: the bounds are quantized as the values are.

    Quantization is monotone, so quantizing a clipped value and clipping a quantized one are the same. Where the range
    that is left fits into fewer bits (and holds the zero point), the type says so.
    """

    def bound(value: float) -> int:
        if not np.isfinite(value):
            return quant.qmin if value < 0 else quant.qmax
        steps = float(np.rint(np.float32(value) / np.float32(quant.scale)))
        return int(np.clip(steps + quant.zero_point, quant.qmin, quant.qmax))

    qmin, qmax = bound(low), bound(high)
    if (low, high) == (-INFINITY, INFINITY):
        return quant, qmin, qmax
    for bits in range(1 if quant.dtype == "u8" else 2, quant.bits):
        tight = replace(quant, bits=bits)
        if tight.qmin <= min(qmin, quant.zero_point) and max(qmax, quant.zero_point) <= tight.qmax:
            return tight, qmin, qmax
    return quant, qmin, qmax
