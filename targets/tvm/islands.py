"""Float islands: which of them TVM computes, and how they enter the module."""

from __future__ import annotations

from typing import Any

import onnx

from ...compiler.errors import UnsupportedError
from ...compiler.integer import graph as ir
from .lazy import FAILURES, import_tvm, rename_globals

# fmt: off
# ONNX operators that TVM's frontend turns into float code within 1e-5 of onnxruntime, for any batch: each has a test.
OPERATORS = frozenset({
    "Abs", "Add", "Asinh", "Atan", "AveragePool", "BatchNormalization", "Cast", "Ceil", "Clip", "Concat",
    "Constant", "Conv", "ConvTranspose", "Cos", "Cosh", "CumSum", "DepthToSpace", "DequantizeLinear", "Div",
    "Dropout", "Einsum", "Elu", "Erf", "Exp", "Flatten", "Floor", "Gelu", "Gemm", "GlobalAveragePool",
    "GlobalMaxPool", "HardSigmoid", "HardSwish", "Hardmax", "Identity", "InstanceNormalization", "LRN",
    "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "MatMul", "Max", "MaxPool", "Mean", "Min", "Mish",
    "Mul", "Neg", "PRelu", "Pad", "Pow", "Reciprocal", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin",
    "ReduceSum", "Relu", "Reshape", "Resize", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "Slice", "Softmax",
    "Softplus", "Softsign", "SpaceToDepth", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "ThresholdedRelu",
    "Tile", "Transpose", "Unsqueeze",
})
# fmt: on


def parse(op: ir.Island) -> onnx.ModelProto:
    """The island's ONNX model."""
    return onnx.load_model_from_string(op.model)


def unsupported_operators(op: ir.Island) -> tuple[str, ...]:
    """Types of the operators in an island that TVM does not lower, sorted. Empty: the island can be lowered."""
    found = {f"{node.domain}.{node.op_type}".lstrip(".") for node in parse(op).graph.node}
    return tuple(sorted(found - OPERATORS))


def add_island(builder: Any, op: ir.Island) -> Any:
    """Adds an island's functions to the module under construction; returns the global variable of the one to call.

    Raises UnsupportedError where TVM's ONNX frontend fails.
    """
    try:
        module = import_tvm().relax.frontend.onnx.from_onnx(parse(op), keep_params_in_input=False)
    except FAILURES as error:
        raise UnsupportedError(
            "TVM's ONNX frontend does not read a float region of the model.",
            code="island-unsupported",
            where=op.name,
            why=str(error)[:500],
            hint="Remove the region from the model and compute it on the host.",
        ) from error
    prefix = f"island_{op.name}"
    helpers = {
        variable: builder.add_func(function, f"{prefix}_{variable.name_hint}")
        for variable, function in module.functions_items()
        if variable.name_hint != "main"
    }
    # without a global symbol it is private: only `main` and `trace` of the whole graph are exported
    main = rename_globals(
        module["main"].without_attr("global_symbol"), lambda variable: helpers.get(variable, variable)
    )
    return builder.add_func(main, prefix)
