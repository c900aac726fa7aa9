"""Operators on quantized integers, written as the standard operators between quantizers that they stand for.

A model in onnxruntime's QOperator format computes, for example,

    QLinearConv(x, w, b)  =  Q(Conv(DQ(x), DQ(w), DQ(b))),     b having the scale s_x * s_w,

and everything behind the loader knows the right-hand side (QDQ) only. Both are the same function of real numbers; where
onnxruntime requantizes with other roundings than the integer contract, single results differ by one step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import onnx

from ...errors import InvalidModelError, UnsupportedError
from ..untrusted import shown

MICROSOFT = "com.microsoft"
FIRST_OPSET = 13  # whose quantizers know one scale per channel


@dataclass
class _Expansion:
    """The nodes that take the place of `node`; values in between get names that start with `prefix`."""

    node: onnx.NodeProto
    prefix: str
    nodes: list[onnx.NodeProto] = field(default_factory=list)

    def input(self, index: int) -> str:
        return self.node.input[index] if index < len(self.node.input) else ""

    def add(self, op_type: str, *inputs: str, output: str = "", axis: int | None = None) -> str:
        """A node with one output; returns its name."""
        output = output or f"{self.prefix}.{len(self.nodes)}"
        while inputs and not inputs[-1]:
            inputs = inputs[:-1]
        name = self.node.name if op_type not in ("QuantizeLinear", "DequantizeLinear", "Mul") else ""
        self.nodes.append(onnx.NodeProto(op_type=op_type, input=inputs, output=[output], name=name))
        if axis is not None:
            self.nodes[-1].attribute.append(onnx.helper.make_attribute("axis", axis))
        return output

    def real(self, first: int, axis: int | None = None) -> str:
        """The dequantized value of inputs `first` (integers), `first` + 1 (scale) and `first` + 2 (zero point)."""
        names = (self.input(first), self.input(first + 1), self.input(first + 2))
        return self.add("DequantizeLinear", *names, axis=axis)

    def bias(self, index: int, x_scale: int, w_scale: int) -> str:
        """An int32 bias, dequantized by the product of both scales."""
        if not self.input(index):
            return ""
        scale = self.add("Mul", self.input(x_scale), self.input(w_scale))
        return self.add("DequantizeLinear", self.input(index), scale, axis=0)

    def plain(self, op_type: str, *inputs: str, drop: tuple[str, ...] = ()) -> str:
        """The operator itself, with the node's attributes."""
        output = self.add(op_type, *inputs)
        self.nodes[-1].attribute.extend(each for each in self.node.attribute if each.name not in drop)
        return output

    def finish(self, value: str, first: int) -> None:
        """Quantizes the result by inputs `first` (scale) and `first` + 1 (zero point)."""
        self.add("QuantizeLinear", value, self.input(first), self.input(first + 1), output=self.node.output[0])

    def number(self, name: str, default: float) -> float:
        for attribute in self.node.attribute:
            if attribute.name == name:
                return float(attribute.f if attribute.type == onnx.AttributeProto.FLOAT else attribute.i)
        return default


def _conv(e: _Expansion) -> None:
    x, w, b = e.real(0), e.real(3, axis=0), e.bias(8, 1, 4)
    e.finish(e.plain("Conv", x, w, b), 6)


def _matmul(e: _Expansion) -> None:
    e.finish(e.plain("MatMul", e.real(0), e.real(3, axis=-1)), 6)


def _gemm(e: _Expansion) -> None:
    if e.number("alpha", 1.0) != 1.0:
        raise _refusal(e.node, "Its alpha is not 1.")
    a, b = e.real(0), e.real(3, axis=0 if e.number("transB", 0) else 1)
    result = e.plain("Gemm", a, b, e.bias(6, 1, 4))
    if e.input(7):
        e.finish(result, 7)
    else:
        e.nodes[-1].output[0] = e.node.output[0]


def _binary(op_type: str) -> Callable[[_Expansion], None]:
    return lambda e: e.finish(e.plain(op_type, e.real(0), e.real(3)), 6)


def _unary(op_type: str, drop: tuple[str, ...] = ()) -> Callable[[_Expansion], None]:
    return lambda e: e.finish(e.plain(op_type, e.real(0), drop=drop), 3)


def _pool(op_type: str) -> Callable[[_Expansion], None]:
    def expand(e: _Expansion) -> None:
        if e.number("channels_last", 0):
            raise _refusal(e.node, "Its channels come last.")
        e.finish(e.plain(op_type, e.real(0), drop=("channels_last",)), 3)

    return expand


def _concat(e: _Expansion) -> None:
    parts = [e.real(index) for index in range(2, len(e.node.input), 3)]
    e.finish(e.plain("Concat", *parts), 0)


def _same(e: _Expansion) -> None:
    e.nodes.append(onnx.NodeProto())
    e.nodes[-1].CopyFrom(e.node)
    e.nodes[-1].domain = ""


# (domain, operator) -> (least number of inputs, expansion)
_EXPANSIONS: Mapping[tuple[str, str], tuple[int, Callable[[_Expansion], None]]] = {
    ("", "QLinearConv"): (8, _conv),
    ("", "QLinearMatMul"): (8, _matmul),
    (MICROSOFT, "QGemm"): (6, _gemm),
    (MICROSOFT, "QLinearAdd"): (8, _binary("Add")),
    (MICROSOFT, "QLinearMul"): (8, _binary("Mul")),
    (MICROSOFT, "QLinearSigmoid"): (5, _unary("Sigmoid")),
    (MICROSOFT, "QLinearLeakyRelu"): (5, _unary("LeakyRelu")),
    (MICROSOFT, "QLinearSoftmax"): (5, _unary("Softmax", drop=("opset",))),
    (MICROSOFT, "QLinearAveragePool"): (5, _pool("AveragePool")),
    (MICROSOFT, "QLinearGlobalAveragePool"): (5, _pool("GlobalAveragePool")),
    (MICROSOFT, "QLinearConcat"): (5, _concat),
    (MICROSOFT, "QuantizeLinear"): (2, _same),
    (MICROSOFT, "DequantizeLinear"): (2, _same),
}


def expanded(node: onnx.NodeProto, opset: int, number: int) -> list[onnx.NodeProto] | None:
    """The standard nodes for an operator on quantized integers; None for any other. `number` makes names unique.

    Raises:
        InvalidModelError: it has too few inputs, or several outputs. UnsupportedError: a form that is not understood,
            or an opset below FIRST_OPSET.
    """
    domain = "" if node.domain == "ai.onnx" else node.domain
    found = _EXPANSIONS.get((domain, node.op_type)) if isinstance(domain, str) else None
    if found is None:
        return None
    least, expand = found
    if len(node.input) < least or len(node.output) != 1:
        raise InvalidModelError(
            f"A node of type {shown(node.op_type)} is not valid.",
            code="operator-arity",
            where=shown(node.name or next(iter(node.output), "")),
            why=f"It has {len(node.input)} inputs and {len(node.output)} outputs; it needs {least} and 1.",
            hint="Export the model again.",
        )
    if opset < FIRST_OPSET:
        raise _refusal(node, f"The model declares opset {opset}; quantizers per channel came with {FIRST_OPSET}.")
    expansion = _Expansion(node, f"prunus.q{number}")
    expand(expansion)
    return expansion.nodes


def _refusal(node: onnx.NodeProto, why: str) -> UnsupportedError:
    return UnsupportedError(
        f"This form of {shown(node.op_type)} is not supported.",
        code="quantized-operator",
        where=shown(node.name or next(iter(node.output), "")),
        why=why,
        hint="Quantize to the QDQ format (onnxruntime: quant_format=QuantFormat.QDQ), at opset 13 or later.",
    )
