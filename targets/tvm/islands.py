"""Float islands: which of them TVM computes, and how they enter the module."""

from __future__ import annotations

from typing import Any

import onnx

from ...compiler.errors import UnsupportedError
from ...compiler.integer import graph as ir

# fmt: off
# ONNX operators that TVM's frontend turns into float code within 1e-5 of onnxruntime.
OPERATORS = frozenset({
    "Abs", "Add", "AveragePool", "Cast", "Ceil", "Clip", "Concat", "Constant", "Conv", "Cos", "Div", "Elu", "Erf",
    "Exp", "Expand", "Flatten", "Floor", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid",
    "HardSwish", "Identity", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "MatMul", "Max", "MaxPool",
    "Min", "Mul", "Neg", "Pad", "Pow", "PRelu", "Reciprocal", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum",
    "Relu", "Reshape", "Resize", "Selu", "Sigmoid", "Sin", "Slice", "Softmax", "Softplus", "Sqrt", "Squeeze", "Sub",
    "Tanh", "Transpose", "Unsqueeze"
})
# fmt: on


def parse(op: ir.Island) -> onnx.ModelProto:
    """The island's ONNX model."""
    return onnx.load_model_from_string(op.model)


def unsupported_operators(op: ir.Island) -> tuple[str, ...]:
    """Types of the operators in an island that TVM does not lower, sorted. Empty: the island can be lowered."""
    found = {f"{node.domain}.{node.op_type}".lstrip(".") for node in parse(op).graph.node}
    return tuple(sorted(found - OPERATORS))


def add_function(builder: Any, op: ir.Island) -> Any:
    """Adds the island to the module under construction; returns its global variable."""
    from tvm.relax.frontend.onnx import from_onnx

    try:
        module = from_onnx(parse(op), keep_params_in_input=False)
    except Exception as error:  # the frontend raises whatever the operator's converter raises
        raise UnsupportedError(
            "TVM's ONNX frontend does not read a float region of the model.",
            code="island-unsupported",
            where=op.name,
            why=str(error)[:500],
            hint="Remove the region from the model and compute it on the host.",
        ) from error
    return builder.add_func(module["main"].without_attr("global_symbol"), f"island_{op.name}")
