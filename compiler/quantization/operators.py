"""What each ONNX operator of a float model becomes in integers: its role, or why it stays in floating point."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import onnx_ir as ir

from ..model.edit import weight

Role = Literal["linear", "binary", "pool", "unary", "softmax", "move", "clamp", "concat"]


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator that integers can carry out. `inputs` are its activations; constants are left out.

    `linear`: constant weights. `binary`: Add or Mul of two activations. `pool`: averages. `unary`: a function of one
    number. `move`: elements are copied or dropped, so the scale stays. `clamp`: Relu or Clip. `concat`, `softmax`.
    """

    node: ir.Node
    role: Role
    inputs: tuple[ir.Value, ...]


@dataclass(frozen=True, eq=False)
class Linear(Operator):
    """Conv, Gemm or MatMul with constant weights; `axis` is the weight's dimension of output channels.

    `bias_node` is the Add that carries the bias of a MatMul; the output is then that of the Add.
    """

    weight: ir.Value
    axis: int
    bias: ir.Value | None = None
    bias_node: ir.Node | None = None

    @property
    def input_axis(self) -> int:
        """The dimension of the input's channels."""
        return 1 if self.node.op_type == "Conv" else -1

    @property
    def output(self) -> ir.Value:
        return (self.bias_node or self.node).outputs[0]


@dataclass(frozen=True)
class Refusal:
    """Why an operator stays in floating point."""

    code: str
    hint: str = ""


UNARY = (
    "Abs",
    "Celu",
    "Elu",
    "Erf",
    "Exp",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "LeakyRelu",
    "Mish",
    "Neg",
    "Selu",
    "Sigmoid",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Tanh",
    "ThresholdedRelu",
)
WITH_SCALAR = ("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "PRelu")  # unary where the other operand is a scalar
MOVES = (
    "Reshape",
    "Transpose",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Slice",
    "Gather",
    "Identity",
    "MaxPool",
    "GlobalMaxPool",
    "DepthToSpace",
    "SpaceToDepth",
    "Expand",
    "Tile",
    "Split",
)
NONNEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Softmax", "Exp", "Abs", "Softplus", "Sqrt")


def integer_attribute(node: ir.Node, name: str, default: int) -> int:
    """An integer attribute of a node, or the default of its operator."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_int()


def string_attribute(node: ir.Node, name: str, default: str) -> str:
    """A string attribute of a node, or the default of its operator."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_string()


def float_attribute(node: ir.Node, name: str, default: float) -> float:
    """A float attribute of a node, or the default of its operator."""
    attribute = node.attributes.get(name)
    return default if attribute is None else attribute.as_float()


def _is_float(value: ir.Value) -> bool:
    return value.dtype == ir.DataType.FLOAT


def _conv(node: ir.Node) -> Operator | Refusal:
    x, w, bias = (*node.inputs, None)[:3]
    array = weight(w)
    if x is None or w is None or array is None or (bias is not None and weight(bias) is None):
        return Refusal("dynamic-weight", "only constant weights are quantized")
    if array.ndim not in (3, 4):
        return Refusal("conv-rank", "only 1-D and 2-D convolutions have an integer form")
    return Linear(node, "linear", (x,), w, 0, bias)


def _gemm(node: ir.Node) -> Operator | Refusal:
    x, w, bias = (*node.inputs, None)[:3]
    array, offset = weight(w), weight(bias)
    if x is None or w is None or array is None or (bias is not None and offset is None):
        return Refusal("dynamic-weight", "only constant weights are quantized")
    if integer_attribute(node, "transA", 0):
        return Refusal("gemm-transposed-input", "transpose the input before the Gemm")
    axis = 0 if integer_attribute(node, "transB", 0) else 1
    if offset is not None and offset.size not in (1, array.shape[axis]):
        return Refusal("bias-shape", "the bias must have one entry per output")
    return Linear(node, "linear", (x,), w, axis, bias)


def _matmul(node: ir.Node) -> Operator | Refusal:
    x, w = node.inputs
    array = weight(w)
    if x is None or w is None or array is None:
        return Refusal("dynamic-weight", "products of two activations stay in floating point")
    if array.ndim != 2:
        return Refusal("matmul-rank", "only two-dimensional weights have an integer form")
    channels = array.shape[1]
    users = [user for user, _ in node.outputs[0].uses()]
    if len(users) == 1 and users[0].op_type == "Add" and not node.outputs[0].is_graph_output():
        bias = next(value for value in (*users[0].inputs, node.outputs[0]) if value is not node.outputs[0])
        offset = weight(bias)
        if offset is not None and (offset.size == 1 or offset.shape[-1] == offset.size == channels):
            return Linear(node, "linear", (x,), w, 1, bias, users[0])
    return Linear(node, "linear", (x,), w, 1)


def _binary(node: ir.Node) -> Operator | Refusal:
    a, b = node.inputs
    constants = [weight(a), weight(b)]
    if a is None or b is None or all(array is not None for array in constants):
        return Refusal("constant-expression", "fold constants before quantization")
    if all(array is None for array in constants):
        if node.op_type in ("Add", "Mul"):
            return Operator(node, "binary", (a, b))
        return Refusal("no-integer-form", f"{node.op_type} of two activations stays in floating point")
    scalar = next(array for array in constants if array is not None)
    if scalar.size != 1 or (node.op_type == "PRelu" and constants[1] is None):
        return Refusal("constant-operand", "fold it into a neighbouring convolution, or make it a scalar")
    return Operator(node, "unary", (a if constants[0] is None else b,))


def _pool(node: ir.Node) -> Operator | Refusal:
    assert node.inputs[0] is not None
    return Operator(node, "pool", (node.inputs[0],))


def _reduce_mean(node: ir.Node) -> Operator | Refusal:
    x = node.inputs[0]
    axes = weight(node.inputs[1]) if len(node.inputs) > 1 else None
    if x is None or x.shape is None or axes is None:
        return Refusal("reduce-axes", "only means over constant axes have an integer form")
    rank = len(x.shape)
    if rank < 3 or sorted(int(axis) % rank for axis in axes.ravel()) != list(range(2, rank)):
        return Refusal("reduce-axes", "only means over all spatial dimensions have an integer form")
    return Operator(node, "pool", (x,))


def _unary(node: ir.Node) -> Operator | Refusal:
    assert node.inputs[0] is not None
    return Operator(node, "unary", (node.inputs[0],))


def _clamp(node: ir.Node) -> Operator | Refusal:
    x = node.inputs[0]
    if x is None or any(bound is not None and weight(bound) is None for bound in node.inputs[1:]):
        return Refusal("dynamic-bounds", "only constant bounds have an integer form")
    return Operator(node, "clamp", (x,))


def _move(node: ir.Node) -> Operator | Refusal:
    x = node.inputs[0]
    if x is None or weight(x) is not None or any(v is not None and weight(v) is None for v in node.inputs[1:]):
        return Refusal("dynamic-shape", "only constant shapes and indices have an integer form")
    if node.op_type == "MaxPool" and len(node.outputs) > 1 and any(True for _ in node.outputs[1].uses()):
        return Refusal("maxpool-indices", "the indices of the maxima have no integer form")
    return Operator(node, "move", (x,))


def _pad(node: ir.Node) -> Operator | Refusal:
    value = weight(node.inputs[2]) if len(node.inputs) > 2 else None
    if len(node.inputs) > 2 and node.inputs[2] is not None and (value is None or np.any(value != 0)):
        return Refusal("pad-value", "only padding with zeros keeps the scale")
    return _move(node)


def _resize(node: ir.Node) -> Operator | Refusal:
    if string_attribute(node, "mode", "nearest") != "nearest":
        return Refusal("resize-mode", "only nearest-neighbour resizing has an integer form")
    return _move(node)


def _concat(node: ir.Node) -> Operator | Refusal:
    inputs = tuple(value for value in node.inputs if value is not None)
    if any(weight(value) is not None for value in inputs):
        return Refusal("constant-operand", "concatenation with a constant stays in floating point")
    return Operator(node, "concat", inputs)


def _softmax(node: ir.Node) -> Operator | Refusal:
    assert node.inputs[0] is not None
    return Operator(node, "softmax", (node.inputs[0],))


CLASSIFY: Mapping[str, Callable[[ir.Node], Operator | Refusal]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    **dict.fromkeys(WITH_SCALAR, _binary),
    "AveragePool": _pool,
    "GlobalAveragePool": _pool,
    "ReduceMean": _reduce_mean,
    **dict.fromkeys(UNARY, _unary),
    "Relu": _clamp,
    "Clip": _clamp,
    **dict.fromkeys(MOVES, _move),
    "Pad": _pad,
    "Resize": _resize,
    "Concat": _concat,
    "Softmax": _softmax,
}


def classify(node: ir.Node) -> Operator | Refusal:
    """The role of a node of a float model, or why it has none."""
    function = CLASSIFY.get(node.op_type) if node.domain in ("", "ai.onnx") else None
    if function is None:
        return Refusal("no-integer-form", f"{node.op_type} stays in floating point")
    found = function(node)
    if isinstance(found, Operator) and not all(map(_is_float, (*found.inputs, node.outputs[0]))):
        return Refusal("not-float32", "only float32 tensors are quantized")
    return found


def bounds(node: ir.Node) -> tuple[float, float]:
    """The range of values that a Relu or Clip lets through."""
    if node.op_type == "Relu":
        return 0.0, float("inf")
    low, high = (weight(value) for value in (*node.inputs[1:], None, None)[:2])
    return (
        float("-inf") if low is None else float(low),
        float("inf") if high is None else float(high),
    )
