"""One node per case, with inputs: what an operator's rule is compared and differentiated on.

    for case in CASES: proto, feeds = case.model(), case.feeds()

Floating-point inputs are fed to the graph; everything else (indices, shapes, axes) is an initializer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_RNG = np.random.default_rng(7)


@dataclass(frozen=True, eq=False)
class Case:
    """`kinked` marks operators whose gradient is defined otherwise than by their values (rounding, quantization).

    `fixed` inputs are no variables of the gradient.
    """

    op_type: str
    inputs: Sequence[np.ndarray | None]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    outputs: int = 1
    kinked: bool = False
    fixed: tuple[int, ...] = ()

    def __str__(self) -> str:
        settings = ",".join(f"{key}={value}" for key, value in self.attributes.items() if not hasattr(value, "dims"))
        shape = (
            "x".join(str(size) for size in self.inputs[0].shape) if self.inputs and self.inputs[0] is not None else ""
        )
        return f"{self.op_type}[{len(self.inputs)};{shape}]({settings[:60]})"

    def _named(self) -> list[tuple[str, np.ndarray]]:
        return [(f"i{index}", array) for index, array in enumerate(self.inputs) if array is not None]

    def feeds(self) -> dict[str, np.ndarray]:
        """The floating-point inputs, float32."""
        return {name: array for name, array in self._named() if array.dtype == np.float32}

    def model(self) -> onnx.ModelProto:
        names = ["" if array is None else f"i{index}" for index, array in enumerate(self.inputs)]
        outputs = [f"o{index}" for index in range(self.outputs)]
        node = helper.make_node(self.op_type, names, outputs, name="the node", **self.attributes)
        graph = helper.make_graph(
            [node],
            "case",
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
                for name, array in self.feeds().items()
            ],
            [onnx.ValueInfoProto(name=name) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in self._named() if name not in self.feeds()],
        )
        return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])


def f(*shape: int) -> np.ndarray:
    """Normal."""
    return _RNG.standard_normal(shape).astype(np.float32)


def u(*shape: int, low: float = 0.2, high: float = 0.9) -> np.ndarray:
    """Uniform, inside of every function's domain."""
    return _RNG.uniform(low, high, shape).astype(np.float32)


def i(*values: Any) -> np.ndarray:
    return np.array(values, np.int64)


def s(value: float) -> np.ndarray:
    return np.array(value, np.float32)


def n(value: int) -> np.ndarray:
    return np.array(value, np.int64)


def b(*shape: int) -> np.ndarray:
    return _RNG.random(shape) < 0.5


IMAGE = (2, 4, 7, 6)
CASES: list[Case] = []
add = CASES.append

# -- products ---------------------------------------------------------------------------------------------------------
add(Case("Conv", [f(2, 4, 9), f(6, 4, 3), f(6)], {"pads": [1, 0], "strides": [2]}))
add(Case("Conv", [f(*IMAGE), f(6, 4, 3, 3), f(6)], {"pads": [1, 1, 1, 1]}))
add(Case("Conv", [f(*IMAGE), f(8, 2, 3, 2)], {"group": 2, "dilations": [2, 1], "pads": [0, 1, 2, 0]}))
add(Case("Conv", [f(*IMAGE), f(4, 1, 3, 3), f(4)], {"group": 4, "auto_pad": "SAME_UPPER", "strides": [2, 2]}))
add(Case("Conv", [f(*IMAGE), f(2, 4, 2, 3)], {"auto_pad": "SAME_LOWER"}))
add(Case("Conv", [f(*IMAGE), f(2, 4, 2, 3)], {"auto_pad": "VALID"}))
add(Case("Conv", [f(1, 2, 4, 5, 4), f(3, 2, 2, 3, 2), f(3)], {"pads": [1, 1, 0, 0, 1, 1]}))
add(Case("ConvTranspose", [f(2, 4, 5), f(4, 3, 3), f(3)], {"strides": [2]}))
add(
    Case(
        "ConvTranspose",
        [f(2, 4, 4, 3), f(4, 3, 3, 3), f(3)],
        {"strides": [2, 2], "pads": [1, 0, 0, 1], "output_padding": [1, 1]},
    )
)
add(Case("ConvTranspose", [f(2, 4, 4, 3), f(4, 2, 3, 2)], {"group": 2, "dilations": [2, 1]}))
add(Case("ConvTranspose", [f(1, 2, 4, 3), f(2, 3, 3, 3)], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}))
add(Case("ConvTranspose", [f(1, 2, 4, 3), f(2, 3, 3, 3)], {"output_shape": [8, 6], "strides": [2, 2]}))
add(Case("ConvTranspose", [f(1, 2, 3, 3, 2), f(2, 2, 2, 2, 2)], {"strides": [2, 1, 2]}))
add(Case("Gemm", [f(3, 5), f(5, 4), f(4)]))
add(Case("Gemm", [f(5, 3), f(4, 5), f(3, 1)], {"transA": 1, "transB": 1, "alpha": 0.5, "beta": 2.0}))
add(Case("Gemm", [f(3, 5), f(5, 4)]))
add(Case("MatMul", [f(2, 3, 4, 5), f(3, 5, 2)]))
add(Case("MatMul", [f(4, 5), f(5)]))
add(Case("Einsum", [f(2, 3, 4), f(2, 5, 4)], {"equation": "bij, bkj -> bik"}))
add(Case("Det", [f(2, 3, 3)]))

# -- normalisations ---------------------------------------------------------------------------------------------------
add(Case("BatchNormalization", [f(*IMAGE), u(4), f(4), f(4), u(4)], {"epsilon": 1e-3}))
add(Case("InstanceNormalization", [f(*IMAGE), u(4), f(4)]))
add(Case("GroupNormalization", [f(*IMAGE), u(4), f(4)], {"num_groups": 2}))
add(Case("LayerNormalization", [f(2, 5, 6), u(6), f(6)]))
add(Case("LayerNormalization", [f(2, 5, 6), u(5, 6)], {"axis": 1}, 3))
add(Case("MeanVarianceNormalization", [f(*IMAGE)]))
add(Case("LpNormalization", [f(3, 5)], {"axis": 1, "p": 2}))
add(Case("LpNormalization", [f(3, 5)], {"axis": 0, "p": 1}))
add(Case("LRN", [f(2, 6, 3, 3)], {"size": 3, "alpha": 0.1, "bias": 2.0}))

# -- activations ------------------------------------------------------------------------------------------------------
for _op, _settings in (
    ("Celu", {"alpha": 1.5}), ("Elu", {"alpha": 0.7}), ("Gelu", {}), ("Gelu", {"approximate": "tanh"}),
    ("HardSigmoid", {"alpha": 0.3}), ("HardSwish", {}), ("Hardmax", {"axis": 1}), ("LeakyRelu", {"alpha": 0.2}),
    ("LogSoftmax", {"axis": 1}), ("Mish", {}), ("Relu", {}), ("Selu", {}), ("Shrink", {"lambd": 0.4, "bias": 0.1}),
    ("Sigmoid", {}), ("Softmax", {}), ("Softmax", {"axis": 0}), ("Softplus", {}), ("Softsign", {}), ("Tanh", {}),
    ("ThresholdedRelu", {"alpha": 0.3}),
):  # fmt: skip
    add(Case(_op, [f(3, 4, 5) * np.float32(2)], _settings))
add(Case("Clip", [f(3, 7), s(-0.5), s(0.8)]))
add(Case("Clip", [f(3, 7), None, s(0.3)]))
add(Case("PRelu", [f(2, 3, 4), u(3, 1)]))

# -- functions of one tensor ------------------------------------------------------------------------------------------
for _op in ("Abs", "Atan", "Asinh", "Cos", "Cosh", "Erf", "Exp", "Identity", "Neg", "Sign", "Sin", "Sinh", "Dropout"):
    add(Case(_op, [f(3, 5)]))
for _op in ("Ceil", "Floor", "Round"):
    add(Case(_op, [f(3, 5) * np.float32(3)]))
for _op in ("Acos", "Asin", "Atanh", "Log", "Reciprocal", "Sqrt", "Tan"):
    add(Case(_op, [u(3, 5)]))
add(Case("Acosh", [u(3, 5, low=1.2, high=4)]))
add(Case("Cast", [f(3, 5)], {"to": TensorProto.FLOAT}))
add(Case("Cast", [f(3, 5) * np.float32(9)], {"to": TensorProto.INT32}))
add(Case("Cast", [b(3, 5)], {"to": TensorProto.FLOAT}))
add(Case("CastLike", [f(3), f(1)]))
add(Case("CastLike", [i(1, 2, 3), f(1)], fixed=(1,)))

# -- arithmetic -------------------------------------------------------------------------------------------------------
for _op in ("Add", "Mul", "Sub"):
    add(Case(_op, [f(2, 3, 4), f(3, 1)]))
    add(Case(_op, [i(1, -2, 3), i(4)]))
add(Case("Div", [f(2, 3, 4), u(4)]))
add(Case("Div", [i(7, -7, 9), i(2, 2, -4)]))
add(Case("Pow", [u(3, 4), f(4)]))
add(Case("Pow", [f(3, 4), n(3)]))
add(Case("Mod", [f(3, 4), u(4)], {"fmod": 1}))
add(Case("Mod", [i(7, -7, 9), i(3, 3, -4)]))
for _op in ("Max", "Mean", "Min", "Sum"):
    add(Case(_op, [f(2, 3, 4), f(3, 1), f(4)]))

# -- comparison, logic, bits ------------------------------------------------------------------------------------------
for _op in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"):
    add(Case(_op, [f(3, 4).round(), f(4).round()]))
for _op in ("And", "Or", "Xor"):
    add(Case(_op, [b(3, 4), b(4)]))
add(Case("Not", [b(3, 4)]))
add(Case("Where", [b(3, 4), f(3, 4), f(4)]))
_odd = np.array([1, np.nan, np.inf, -np.inf], np.float32)
add(Case("IsNaN", [_odd]))
add(Case("IsInf", [_odd]))
add(Case("IsInf", [_odd], {"detect_negative": 0}))
for _op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
    add(Case(_op, [np.array([12, 5], np.int32), np.array([10, 3], np.int32)]))
add(Case("BitwiseNot", [np.array([12, 5], np.int32)]))
add(Case("BitShift", [np.array([12, 5], np.uint8), np.array([2, 1], np.uint8)], {"direction": "LEFT"}))
add(Case("BitShift", [np.array([12, 5], np.uint8), np.array([2, 1], np.uint8)], {"direction": "RIGHT"}))

# -- reductions and ranking -------------------------------------------------------------------------------------------
for _op in ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare"):
    _op = f"Reduce{_op}"
    add(Case(_op, [f(3, 4, 5), i(1)]))
    add(Case(_op, [f(3, 4, 5), i(-1, 0)], {"keepdims": 0}))
add(Case("ReduceSum", [f(3, 4)]))
add(Case("ReduceSum", [f(3, 4), np.zeros(0, np.int64)], {"noop_with_empty_axes": 1}))
add(Case("ReduceLogSum", [u(3, 4, 5), i(1)]))
for _op in ("ArgMax", "ArgMin"):
    add(Case(_op, [f(3, 4)], {"axis": 1, "keepdims": 0}))
    add(Case(_op, [f(3, 4).round()], {"axis": 0, "select_last_index": 1}))
    add(Case(_op, [f(3, 9).round()], {"axis": 1}))
add(Case("CumSum", [f(3, 4), n(1)]))
add(Case("CumSum", [f(3, 4), n(0)], {"exclusive": 1, "reverse": 1}))
add(Case("TopK", [f(3, 6), i(2)], {}, 2))
add(Case("TopK", [f(5, 3), i(3)], {"axis": 0, "largest": 0}, 2))
add(Case("SoftmaxCrossEntropyLoss", [f(4, 5), i(1, 0, 4, 2)], {}, 2))
add(
    Case("SoftmaxCrossEntropyLoss", [f(4, 5), i(1, 0, 4, 2), u(5)], {"reduction": "sum", "ignore_index": 4}, fixed=(2,))
)
add(Case("NegativeLogLikelihoodLoss", [f(4, 5), i(1, 0, 4, 2)], {"reduction": "none"}))

# -- shapes -----------------------------------------------------------------------------------------------------------
_fill = helper.make_tensor("value", TensorProto.FLOAT, [1], [2.5])
add(Case("Constant", [], {"value": helper.make_tensor("value", TensorProto.FLOAT, [2], [1.5, 2])}))
add(Case("Constant", [], {"value_ints": [1, 2]}))
add(Case("ConstantOfShape", [i(2, 3)], {"value": _fill}))
add(Case("ConstantOfShape", [i(2, 3)]))
add(Case("DepthToSpace", [f(1, 8, 2, 3)], {"blocksize": 2}))
add(Case("DepthToSpace", [f(1, 8, 2, 3)], {"blocksize": 2, "mode": "CRD"}))
add(Case("SpaceToDepth", [f(1, 2, 4, 6)], {"blocksize": 2}))
add(Case("Expand", [f(3, 1), i(2, 1, 4)]))
add(Case("EyeLike", [f(3, 4)], {"k": 1}))
add(Case("Flatten", [f(2, 3, 4)], {"axis": 2}))
add(Case("Flatten", [f(2, 3, 4)], {"axis": -1}))
add(Case("Range", [n(1), n(9), n(3)]))
add(Case("Range", [s(0.5), s(4.2), s(1.1)], fixed=(1,)))
add(Case("Reshape", [f(2, 3, 4), i(0, -1)]))
add(Case("Shape", [f(2, 3, 4)], {"start": 1}))
add(Case("Shape", [f(2, 3, 4)], {"start": -3, "end": -1}))
add(Case("Size", [f(2, 3, 4)]))
add(Case("Squeeze", [f(2, 1, 4, 1), i(1)]))
add(Case("Squeeze", [f(2, 1, 4, 1)]))
add(Case("Tile", [f(2, 3), i(2, 3)]))
add(Case("Transpose", [f(2, 3, 4)], {"perm": [2, 0, 1]}))
add(Case("Transpose", [f(2, 3, 4)]))
add(Case("Trilu", [f(4, 4), n(1)]))
add(Case("Trilu", [f(4, 5)], {"upper": 0}))
add(Case("Unsqueeze", [f(2, 3), i(0, -1)]))

# -- positions --------------------------------------------------------------------------------------------------------
add(Case("CenterCropPad", [f(5, 4, 3), i(3, 7, 3)]))
add(Case("CenterCropPad", [f(6, 5), i(8)], {"axes": [1]}))
add(Case("Col2Im", [f(1, 8, 12), i(4, 5), i(2, 2)]))
add(Case("Concat", [f(2, 3), f(2, 1), f(2, 2)], {"axis": -1}))
add(Case("Gather", [f(4, 5), i([0, -1], [2, 2])], {"axis": 1}))
add(Case("Gather", [f(4, 5), n(2)]))
add(Case("Gather", [f(4), n(2)]))
add(Case("GatherElements", [f(3, 4), i([0, -1], [2, 1])], {"axis": 1}))
add(Case("GatherND", [f(3, 4, 5), i([0, 1], [2, -1])]))
add(Case("GatherND", [f(2, 3, 4), i([1], [0])], {"batch_dims": 1}))
add(Case("OneHot", [i(0, 2, -1), n(4), f(2)]))
add(Case("OneHot", [i([0, 2], [1, 3]), n(4), f(2)], {"axis": 0}))
for _mode in ("constant", "reflect", "edge", "wrap"):
    add(Case("Pad", [f(3, 5), i(1, 2, 0, 3)], {"mode": _mode}))
add(Case("Pad", [f(3, 5), i(-1, 2), s(1.5), i(1)]))
add(Case("ReverseSequence", [f(4, 3, 2), i(4, 2, 1)]))
add(Case("ScatterElements", [f(3, 4), i([0, -1], [2, 1]), f(2, 2)], {"axis": 1}))
for _how in ("add", "mul", "max", "min"):
    add(Case("ScatterElements", [f(3, 4), i([0, 0], [2, 2]), f(2, 2)], {"axis": 1, "reduction": _how}))
    add(Case("ScatterND", [f(4, 3), i([1], [1]), f(2, 3)], {"reduction": _how}))
add(Case("ScatterND", [f(4, 3, 2), i([1, 2], [-1, 0]), f(2, 2)]))
add(Case("Slice", [f(6, 7), i(1, -1), i(5, -(1 << 62)), i(0, 1), i(2, -2)]))
add(Case("Slice", [f(6, 7), i(-3), i(100)]))
add(Case("Split", [f(7, 2), i(3, 4)], {}, 2))
add(Case("Split", [f(2, 7)], {"axis": 1, "num_outputs": 3}, 3))

# -- images -----------------------------------------------------------------------------------------------------------
_empty = np.zeros(0, np.float32)
_scale = np.array([1, 1, 1.6, 2.5], np.float32)
for _coordinates in ("half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"):
    for _mode in ("nearest", "linear", "cubic"):
        add(Case("Resize", [f(1, 2, 5, 4), None, None, i(1, 2, 8, 3)],
                 {"coordinate_transformation_mode": _coordinates, "mode": _mode}))  # fmt: skip
for _rounding in ("floor", "ceil", "round_prefer_ceil"):
    add(Case("Resize", [f(1, 1, 5, 4), None, None, i(1, 1, 7, 9)],
             {"nearest_mode": _rounding, "coordinate_transformation_mode": "asymmetric"}))  # fmt: skip
add(
    Case(
        "Resize",
        [f(1, 1, 5, 4), None, None, i(1, 1, 9, 7)],
        {"mode": "cubic", "exclude_outside": 1, "cubic_coeff_a": -0.5},
    )
)
add(Case("GridSample", [f(1, 2, 5, 4), u(1, 3, 3, 2, low=-0.9, high=0.9)]))
add(Case("GridSample", [f(1, 2, 5, 4), f(1, 3, 3, 2)], {"padding_mode": "border", "align_corners": 1}))
add(Case("AffineGrid", [f(2, 2, 3), i(2, 3, 4, 5)]))

# -- pooling ----------------------------------------------------------------------------------------------------------
add(Case("MaxPool", [f(2, 3, 9)], {"kernel_shape": [3], "strides": [2], "pads": [1, 1]}))
add(Case("MaxPool", [f(*IMAGE)], {"kernel_shape": [3, 2], "strides": [2, 2], "ceil_mode": 1}))
add(Case("MaxPool", [f(*IMAGE)], {"kernel_shape": [2, 2], "dilations": [2, 3], "pads": [1, 1, 0, 0]}))
add(Case("MaxPool", [f(*IMAGE)], {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]}))
add(Case("MaxPool", [f(2, 3, 6, 6)], {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1, 1, 1, 1]}, 2))
add(Case("MaxPool", [f(1, 2, 4, 4, 5)], {"kernel_shape": [2, 2, 2]}))
add(Case("AveragePool", [f(2, 3, 9)], {"kernel_shape": [4], "strides": [3], "pads": [1, 2], "ceil_mode": 1}))
add(Case("AveragePool", [f(*IMAGE)], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}))
add(
    Case(
        "AveragePool",
        [f(*IMAGE)],
        {"kernel_shape": [3, 3], "pads": [1, 0, 2, 1], "count_include_pad": 1, "strides": [2, 2]},
    )
)
add(Case("AveragePool", [f(*IMAGE)], {"kernel_shape": [2, 2], "dilations": [2, 2]}))
add(Case("AveragePool", [f(*IMAGE)], {"kernel_shape": [3, 2], "auto_pad": "SAME_LOWER"}))
add(Case("LpPool", [f(*IMAGE)], {"kernel_shape": [3, 2], "strides": [2, 2], "p": 2}))
add(Case("LpPool", [f(*IMAGE)], {"kernel_shape": [2, 2], "p": 3}))
for _op in ("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"):
    add(Case(_op, [f(*IMAGE)]))
add(
    Case(
        "MaxUnpool",
        [f(1, 1, 2, 2), i([[[5, 7], [13, 15]]]).reshape(1, 1, 2, 2)],
        {"kernel_shape": [2, 2], "strides": [2, 2]},
    )
)

# -- recurrent layers -------------------------------------------------------------------------------------------------
_lengths = np.array([3, 1], np.int32)
for _op, _gates, _states in (("RNN", 1, 1), ("GRU", 3, 1), ("LSTM", 4, 2)):
    _w, _r, _bias = f(1, _gates * 4, 3), f(1, _gates * 4, 4), f(1, _gates * 8)
    add(Case(_op, [f(3, 2, 3), _w, _r, _bias], {"hidden_size": 4}, 1 + _states))
    add(Case(_op, [f(3, 2, 3), _w, _r], {"hidden_size": 4, "direction": "reverse", "clip": 0.7}, 1))
    add(Case(_op, [f(3, 2, 3), f(2, _gates * 4, 3), f(2, _gates * 4, 4), f(2, _gates * 8), _lengths,
                   *[f(2, 2, 4) for _ in range(_states)]],
             {"hidden_size": 4, "direction": "bidirectional"}, 1 + _states))  # fmt: skip
add(Case("GRU", [f(3, 2, 3), f(1, 12, 3), f(1, 12, 4), f(1, 24)], {"hidden_size": 4, "linear_before_reset": 1}, 2))
add(Case("LSTM", [f(3, 2, 3), f(1, 16, 3), f(1, 16, 4), f(1, 32), None, None, None, f(1, 12)], {"hidden_size": 4}, 3))
add(Case("RNN", [f(3, 2, 3), f(1, 4, 3), f(1, 4, 4)], {"hidden_size": 4, "activations": ["Relu"]}, 2))

# -- quantization -----------------------------------------------------------------------------------------------------
_zeros = np.array([3, 0, -5, 1], np.int8)
add(Case("QuantizeLinear", [f(3, 5), s(0.02), np.uint8(120)], kinked=True))
add(Case("QuantizeLinear", [f(2, 4, 3), u(4, low=0.01, high=0.03), _zeros], {"axis": 1}, kinked=True))
add(Case("QuantizeLinear", [f(3, 5), s(0.05)], kinked=True))
add(Case("QuantizeLinear", [f(4, 6), u(2, 6, low=0.01, high=0.03)], {"axis": 0, "block_size": 2}, kinked=True))
add(Case("DequantizeLinear", [_RNG.integers(-128, 127, (2, 4, 3)).astype(np.int8), u(4), _zeros], {"axis": 1}))
add(Case("DequantizeLinear", [_RNG.integers(0, 255, (3, 5)).astype(np.uint8), s(0.3), np.uint8(7)]))
add(Case("DynamicQuantizeLinear", [f(3, 5)], {}, 3, kinked=True))

_u8, _s8 = _RNG.integers(0, 255, (1, 2, 5, 4)).astype(np.uint8), _RNG.integers(-128, 127, (3, 2, 3, 3)).astype(np.int8)
_a, _b = _RNG.integers(0, 255, (3, 4)).astype(np.uint8), _RNG.integers(-128, 127, (4, 2)).astype(np.int8)
add(Case("ConvInteger", [_u8, _u8[:, :, :3, :3], np.uint8(7), np.uint8(120)], {"pads": [1, 1, 1, 1]}, kinked=True))
add(Case("MatMulInteger", [_a, _b, np.uint8(7), np.array([3, -5], np.int8)], kinked=True))
add(Case("MatMulInteger", [_a, _b], kinked=True))
_channels, _bias = u(3, low=0.001, high=0.01), np.array([100, -300, 20], np.int32)
_product = [_u8, s(0.02), np.uint8(9), _s8, _channels, np.zeros(3, np.int8), s(0.05), np.uint8(128), _bias]
add(Case("QLinearConv", _product, {"pads": [1, 1, 1, 1]}, kinked=True))
add(Case("QLinearMatMul", [_a, s(0.02), np.uint8(9), _b, s(0.01), np.int8(0), s(0.3), np.uint8(100)], kinked=True))

COVERED = frozenset(case.op_type for case in CASES)
