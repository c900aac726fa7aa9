"""One rule per operator type, in files by family; `RULES` is the whole table.

A rule takes the `Trace` and the node and returns the dimensions of the node's outputs. An operator that is not in the
table pins everything that it touches, with the reason `unknown-op`.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..trace import Rule
from .across import (
    across_axis,
    batch_normalization,
    group_normalization,
    instance_normalization,
    layer_normalization,
    lrn,
    reduce,
)
from .einsum import einsum
from .elementwise import broadcast, dropout, quantize, unary
from .layout import depth_to_space, flatten, reshape, space_to_depth, squeeze, transpose, unsqueeze
from .linear import conv, conv_transpose, gemm, matmul
from .positions import concat, expand, gather, slice_, split, tile
from .recurrent import recurrent
from .spatial import pad, pool, resize
from .unknown import shape_of, unknown

__all__ = ["RULES", "unknown"]

UNARY = (
    "Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Cast", "CastLike", "Ceil", "Celu", "Clip",
    "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor", "Gelu", "HardSigmoid", "HardSwish", "Identity", "IsInf",
    "IsNaN", "LeakyRelu", "Log", "Mish", "Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid",
    "Sign", "Sin", "Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu",
)  # fmt: skip
BROADCAST = (
    "Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal", "Greater", "GreaterOrEqual",
    "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul", "Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor",
)  # fmt: skip
POOL = ("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool")
REDUCE = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)  # fmt: skip

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(UNARY, unary),
    **dict.fromkeys(BROADCAST, broadcast),
    **dict.fromkeys(POOL, pool),
    **dict.fromkeys(REDUCE, reduce("reduced-axis")),
    **dict.fromkeys(("ArgMax", "ArgMin"), reduce("ranked-axis")),
    **dict.fromkeys(("Softmax", "LogSoftmax"), across_axis("softmax-axis", -1)),
    "Dropout": dropout,
    "Hardmax": across_axis("ranked-axis", -1),
    "LpNormalization": across_axis("normalised-axis", -1),
    "CumSum": across_axis("cumulative-axis", None),
    "LRN": lrn,
    "LayerNormalization": layer_normalization,
    "GroupNormalization": group_normalization,
    "BatchNormalization": batch_normalization,
    "InstanceNormalization": instance_normalization,
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": gemm,
    "MatMul": matmul,
    "Einsum": einsum,
    **dict.fromkeys(("GRU", "LSTM", "RNN"), recurrent),
    "QuantizeLinear": quantize,
    "DequantizeLinear": quantize,
    "Concat": concat,
    "Split": split,
    "Slice": slice_,
    "Gather": gather,
    "Tile": tile,
    "Expand": expand,
    "Reshape": reshape,
    "Flatten": flatten,
    "Squeeze": squeeze,
    "Unsqueeze": unsqueeze,
    "Transpose": transpose,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
    "Resize": resize,
    "Pad": pad,
    "Shape": shape_of,
}
