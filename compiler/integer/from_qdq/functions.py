"""Unary functions of one integer tensor: 256-entry tables, computed in float64 whatever the chain of nodes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx_ir as onnx

from .. import graph as ir
from .values import INFINITY, Function, Integer, NotIntegerError, Pending, Slot, Value, View

if TYPE_CHECKING:
    from .reader import Reader

Table: TypeAlias = npt.NDArray[np.float64]

_SELU_ALPHA, _SELU_GAMMA = 1.67326319217681884765625, 1.05070102214813232421875  # ONNX's defaults


def _erf(x: Table) -> Table:
    return np.array([math.erf(value) for value in x])


def _sigmoid(x: Table) -> Table:
    return np.asarray(1 / (1 + np.exp(-x)))


def _gelu(x: Table, approximate: str) -> Table:
    if approximate == "tanh":
        return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
    return np.asarray(0.5 * x * (1 + _erf(x / math.sqrt(2))))


def _elu(x: Table, alpha: float) -> Table:
    return np.where(x > 0, x, alpha * np.expm1(x))


def _number(node: onnx.Node, name: str, default: float) -> float:
    return float(node.attributes.get_float(name, default))


# ONNX operator -> its function. Attribute defaults are ONNX's.
UNARY: Mapping[str, Callable[[onnx.Node, Table], Table]] = {
    "Abs": lambda _, x: np.abs(x),
    "Celu": lambda n, x: (a := _number(n, "alpha", 1.0)) * _elu(x / a, 1.0),
    "Ceil": lambda _, x: np.ceil(x),
    "Cos": lambda _, x: np.cos(x),
    "Elu": lambda n, x: _elu(x, _number(n, "alpha", 1.0)),
    "Erf": lambda _, x: _erf(x),
    "Exp": lambda _, x: np.exp(x),
    "Floor": lambda _, x: np.floor(x),
    "Gelu": lambda n, x: _gelu(x, n.attributes.get_string("approximate", "none")),
    "HardSigmoid": lambda n, x: np.clip(_number(n, "alpha", 0.2) * x + _number(n, "beta", 0.5), 0, 1),
    "HardSwish": lambda _, x: x * np.clip(x / 6 + 0.5, 0, 1),
    "LeakyRelu": lambda n, x: np.where(x >= 0, x, _number(n, "alpha", 0.01) * x),
    "Log": lambda _, x: np.log(x),
    "Mish": lambda _, x: x * np.tanh(np.logaddexp(0, x)),
    "Neg": lambda _, x: -x,
    "Reciprocal": lambda _, x: 1 / x,
    "Round": lambda _, x: np.rint(x),
    "Selu": lambda n, x: _number(n, "gamma", _SELU_GAMMA) * _elu(x, _number(n, "alpha", _SELU_ALPHA)),
    "Sigmoid": lambda _, x: _sigmoid(x),
    "Sign": lambda _, x: np.sign(x),
    "Sin": lambda _, x: np.sin(x),
    "Softplus": lambda _, x: np.logaddexp(0, x),
    "Softsign": lambda _, x: x / (1 + np.abs(x)),
    "Sqrt": lambda _, x: np.sqrt(x),
    "Tanh": lambda _, x: np.tanh(x),
    "ThresholdedRelu": lambda n, x: np.where(x > _number(n, "alpha", 1.0), x, 0.0),
}  # fmt: skip

# Operators of two operands, where both depend on one tensor only, or one is a scalar constant.
BINARY: Mapping[str, Callable[[Table, Table], Table]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: a / b,
    "Pow": lambda a, b: np.power(a, b),
    "Min": np.minimum,
    "Max": np.maximum,
    "PRelu": lambda x, slope: np.where(x >= 0, x, slope * x),
}


def as_function(reader: Reader, value: onnx.Value | None) -> Function:
    """A view or a function as a function."""
    found = reader.value(value)
    if isinstance(found, Function):
        return found
    tensor = reader.tensor(value)
    quant = reader.quant(tensor)
    first = 0 if quant.dtype == "u8" else -128
    steps = np.arange(first - quant.zero_point, first - quant.zero_point + 256)
    real = (steps.astype(np.float32) * np.float32(quant.scale)).astype(np.float64)  # as DequantizeLinear gives them
    return Function(tensor, reader.tensors[tensor].shape, real, (), clip=(-INFINITY, INFINITY))


def unary(reader: Reader, node: onnx.Node) -> Value:
    """An operator of `UNARY` on an integer tensor, or on a function of one."""
    function = as_function(reader, node.inputs[0])
    with np.errstate(all="ignore"):
        table = UNARY[node.op_type](node, function.table)
    return replace(function, table=table, origin=(*function.origin, str(node.name)), clip=None)


def binary(reader: Reader, node: onnx.Node) -> Function | None:
    """An operator of `BINARY` as a function of one tensor; None where it is none."""
    functions: list[Function] = []
    tables: list[Table] = []
    for value in node.inputs:
        constant = reader.constant(value)
        if constant is not None and constant.q.size == 1:
            tables.append(np.asarray(constant.real.reshape(()), np.float64))
        elif constant is None and isinstance(reader.value(value), View | Integer | Function):
            functions.append(as_function(reader, value))
            tables.append(functions[-1].table)
        else:
            return None
    if len(tables) != 2 or len({(function.tensor, function.shape) for function in functions}) != 1:
        return None
    if len(functions) == 2 and all(function.clip == (-INFINITY, INFINITY) for function in functions):
        return None  # x + x and x * x are ordinary operators
    with np.errstate(all="ignore"):
        table = np.asarray(BINARY[node.op_type](*tables), np.float64)
    origin = tuple(dict.fromkeys(name for function in functions for name in function.origin))
    return Function(functions[0].tensor, functions[0].shape, table, (*origin, str(node.name)))


def elementwise(reader: Reader, node: onnx.Node) -> Value:
    """Sub, Div, Pow, Min, Max, PRelu: integer only as a function of one tensor."""
    found = binary(reader, node)
    if found is None:
        constants = [reader.constant(value) for value in node.inputs]
        raise NotIntegerError("constant-operand" if any(c is not None for c in constants) else "no-integer-form")
    return found


def clip(reader: Reader, node: onnx.Node) -> Value:
    """Relu and Clip: absorbed by a pending operator, part of a function, or a narrower range of a tensor."""
    low, high = 0.0, INFINITY
    if node.op_type == "Clip":
        bounds = [reader.numbers(value, "clip-bounds") for value in (*node.inputs[1:], None, None)[:2]]
        low = -INFINITY if bounds[0] is None else float(bounds[0].reshape(()))
        high = INFINITY if bounds[1] is None else float(bounds[1].reshape(()))
    found, name = reader.value(node.inputs[0]), str(node.name)
    if isinstance(found, View):
        found = as_function(reader, node.inputs[0])
    if not isinstance(found, Function):
        return reader.pending(found).clipped(low, high, name)
    both = None if found.clip is None else (_clamp(found.clip[0], low, high), _clamp(found.clip[1], low, high))
    return replace(found, table=np.clip(found.table, low, high), origin=(*found.origin, name), clip=both)


def _clamp(bound: float, low: float, high: float) -> float:
    return min(max(bound, low), high)


def function_as_pending(reader: Reader, function: Function) -> Pending:
    """A function as an operator: a table, or, where it only clips, a change of scale with a narrower range."""
    if function.clip is not None:
        low, high = function.clip
        return replace(reader.rescale(function.tensor, function.shape, function.origin), low=low, high=high)

    def build(slot: Slot) -> ir.Op:
        steps = np.rint(function.table / slot.quant.scale) + slot.quant.zero_point
        steps = np.where(np.isnan(steps), slot.quant.zero_point, steps)  # sqrt(-1), log(-1): nothing sensible there
        table = np.clip(steps, slot.qmin, slot.qmax).astype(ir.NUMPY_TYPE[slot.quant.dtype])
        return ir.QLut(**slot.names(function.tensor), table=table)

    return Pending(build, function.shape, function.origin)
