"""One float island per ONNX operator that the target lowers, in the operator's usual forms."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from prunus.compiler.integer import graph as ir
from prunus.tests.targets.tvm.unions import Case, evaluated

Array = np.ndarray
IMAGE = (3, 4, 5)


def island(
    op_type: str,
    shape: tuple[int, ...] = IMAGE,
    out: tuple[int, ...] | None = None,
    constants: tuple[Array, ...] = (),
    inputs: int = 1,
    out_type: int = onnx.TensorProto.FLOAT,
    **attributes: Any,
) -> ir.Graph:
    """A graph of one island: `inputs` float tensors of `shape`, then constants, through one ONNX node."""
    names = [f"x{i}" for i in range(inputs)]
    stored = [numpy_helper.from_array(array, f"c{i}") for i, array in enumerate(constants)]
    node = helper.make_node(op_type, [*names, *(tensor.name for tensor in stored)], ["y"], **attributes)
    out = shape if out is None else out

    def info(name: str, dims: tuple[int, ...], kind: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, ["n", *dims])

    float32 = onnx.TensorProto.FLOAT
    body = helper.make_graph(
        [node], "island", [info(name, shape, float32) for name in names], [info("y", out, out_type)], stored
    )
    model = helper.make_model(body, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    op = ir.Island(
        name="op", inputs=tuple(names), output="y", model=model.SerializeToString(deterministic=True), reason="test"
    )
    dtype = str(np.dtype(helper.tensor_dtype_to_np_dtype(out_type)))
    tensors = {name: ir.Tensor(name, shape) for name in names} | {"y": ir.Tensor("y", out, dtype=dtype)}
    return ir.Graph(op_type, tuple(names), ("y",), tensors, (op,))


def _f32(*shape: int) -> Array:
    return np.random.default_rng(shape).uniform(0.5, 2, shape).astype(np.float32)


def _ints(*values: int) -> Array:
    return np.array(values, np.int64)


UNARY = (
    "Abs Asinh Atan Ceil Cos Cosh Dropout Elu Erf Exp Floor Gelu HardSigmoid HardSwish Identity LeakyRelu Mish Neg "
    "Relu Round Selu Sigmoid Sign Sin Sinh Softplus Softsign Tanh ThresholdedRelu"
)
POSITIVE = "Log Reciprocal Sqrt"
BINARY = "Add Sub Mul Div Max Min Pow"


def _elementwise() -> list[ir.Graph]:
    found = [island(name) for name in f"{UNARY} {POSITIVE}".split()]
    found += [island(name, constants=(_f32(1, 3, 1, 1),)) for name in BINARY.split()]
    found += [island(name, inputs=2) for name in BINARY.split()]
    found += [island("Sum", inputs=3), island("Mean", inputs=3)]
    found += [island("Clip", constants=(np.float32(0.2), np.float32(0.9)))]
    found += [island("PRelu", constants=(_f32(3, 1, 1),))]
    found += [island("Cast", out_type=onnx.TensorProto.INT32, to=onnx.TensorProto.INT32)]
    found += [island("CumSum", constants=(np.array(1, np.int64),))]
    return found


def _movement() -> list[ir.Graph]:
    return [
        island("Transpose", out=(4, 5, 3), perm=[0, 2, 3, 1]),
        island("Reshape", out=(60,), constants=(_ints(-1, 60),)),
        island("Reshape", out=(12, 5), constants=(_ints(0, 12, -1),)),
        island("Flatten", out=(60,), axis=1),
        island("Squeeze", (1, 4), (4,), (_ints(1),)),
        island("Unsqueeze", (4,), (1, 4), (_ints(1),)),
        island("Slice", out=(2, 4, 5), constants=(_ints(1), _ints(3), _ints(1))),
        island("Concat", out=(6, 4, 5), inputs=2, axis=1),
        island("Tile", out=(3, 8, 5), constants=(_ints(1, 1, 2, 1),)),
        island("Pad", out=(3, 6, 7), constants=(_ints(0, 0, 1, 1, 0, 0, 1, 1),)),
        island("DepthToSpace", (4, 3, 5), (1, 6, 10), blocksize=2),
        island("SpaceToDepth", (1, 6, 4), (4, 3, 2), blocksize=2),
        island(
            "Resize",
            out=(3, 8, 10),
            constants=(np.zeros(0, np.float32), np.array([1, 1, 2, 2], np.float32)),
            mode="linear",
        ),
    ]


def _layers() -> list[ir.Graph]:
    square = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    pool = {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1, 1, 1, 0]}
    found = [island(name, axis=axis) for name in ("Softmax", "LogSoftmax", "Hardmax") for axis in (1, -1)]
    for name in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceSum", "ReduceL2"):
        found += [island(name, out=(3, 1, 1), constants=(_ints(2, 3),), keepdims=1)]
    return [
        *found,
        island("ReduceMean", out=(3,), constants=(_ints(2, 3),), keepdims=0),
        island("MatMul", (4, 5), (4, 7), (_f32(5, 7),)),
        island("MatMul", (5,), (7,), (_f32(5, 7),)),
        island("MatMul", (4, 4), inputs=2),
        island("Einsum", (4, 5), (4, 7), (_f32(5, 7),), equation="nij,jk->nik"),
        island("Gemm", (5,), (7,), (_f32(7, 5), _f32(7)), transB=1),
        island("Conv", out=(2, 4, 5), constants=(_f32(2, 3, 3, 3), _f32(2)), **square),
        island("Conv", out=(3, 2, 3), constants=(_f32(3, 1, 3, 3),), group=3, strides=[2, 2], **square),
        island("Conv", (3, 8), (2, 8), (_f32(2, 3, 3),), kernel_shape=[3], pads=[1, 1]),
        island("ConvTranspose", out=(2, 8, 10), constants=(_f32(3, 2, 2, 2),), strides=[2, 2]),
        island("BatchNormalization", constants=tuple(_f32(3) for _ in range(4))),
        island("InstanceNormalization", constants=(_f32(3), _f32(3))),
        island("LayerNormalization", constants=(_f32(5), _f32(5)), axis=-1),
        island("LRN", size=3),
        island("AveragePool", out=(3, 3, 3), **pool),
        island("MaxPool", out=(3, 3, 3), **pool),
        island("GlobalAveragePool", out=(3, 1, 1)),
        island("GlobalMaxPool", out=(3, 1, 1)),
    ]


def _quantized_weight() -> ir.Graph:
    """x * DequantizeLinear(w), the form in which a refused layer keeps its int8 weights."""
    weight = numpy_helper.from_array(np.random.default_rng(1).integers(-127, 128, IMAGE).astype(np.int8), "w")
    scale = numpy_helper.from_array(_f32(3), "s")
    value = helper.make_tensor_value_info
    three = helper.make_node("Constant", [], ["three"], value=numpy_helper.from_array(np.float32(3)))
    body = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["w", "s"], ["d"], axis=0),
            helper.make_node("Mul", ["x0", "d"], ["m"]),
            three,
            helper.make_node("Div", ["m", "three"], ["y"]),
        ],
        "island",
        [value("x0", onnx.TensorProto.FLOAT, ["n", *IMAGE])],
        [value("y", onnx.TensorProto.FLOAT, ["n", *IMAGE])],
        [weight, scale],
    )
    model = helper.make_model(body, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    op = ir.Island(name="op", inputs=("x0",), output="y", model=model.SerializeToString(), reason="test")
    tensors = {name: ir.Tensor(name, IMAGE) for name in ("x0", "y")}
    return ir.Graph("DequantizeLinear", ("x0",), ("y",), tensors, (op,))


def every_island(batch: int) -> list[Case]:
    """Every case with random inputs, positive where the function asks for it; onnxruntime computes the values."""
    rng = np.random.default_rng(7)
    cases = []
    for graph in [*_elementwise(), *_movement(), *_layers(), _quantized_weight()]:
        low = 0.2 if graph.name in (*POSITIVE.split(), "Div", "Pow") else -2.0
        feeds = {
            name: rng.uniform(low, 2, (batch, *graph.tensors[name].shape)).astype(np.float32) for name in graph.inputs
        }
        cases.append(evaluated(graph, feeds))
    return cases


def common_islands(batch: int) -> list[Case]:
    """The first case of the operators that real models leave in floating point most often."""
    wanted = ["Softmax", "LogSoftmax", "Sigmoid", "Clip", "Transpose", "Reshape", "MatMul", "Cast", "DequantizeLinear"]
    first = {case.graph.name: case for case in reversed(every_island(batch))}
    return [first[name] for name in wanted]
