"""Which function reads which ONNX operator."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import onnx_ir as onnx

from . import combine, functions, linear, movement, pooling
from .reader import Reader
from .values import NotIntegerError, Value

ReadFunction = Callable[[Reader, onnx.Node], Value]


def _transposed_conv(reader: Reader, node: onnx.Node) -> Value:
    raise NotIntegerError("conv-transpose")


READERS: Mapping[str, ReadFunction] = {
    "Conv": linear.conv,
    "ConvTranspose": _transposed_conv,
    "Gemm": linear.gemm,
    "MatMul": linear.matmul,
    "Add": combine.add,
    "Sum": combine.add,
    "Mul": combine.mul,
    "Concat": combine.concat,
    "Softmax": combine.softmax,
    "LogSoftmax": combine.softmax,
    "Relu": functions.clip,
    "Clip": functions.clip,
    **dict.fromkeys(functions.UNARY, functions.unary),
    **dict.fromkeys(("Sub", "Div", "Pow", "Min", "Max", "PRelu"), functions.elementwise),
    "MaxPool": pooling.max_pool,
    "GlobalMaxPool": pooling.max_pool,
    "AveragePool": pooling.average_pool,
    "GlobalAveragePool": pooling.global_average_pool,
    "ReduceMean": pooling.reduce_mean,
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), movement.same_elements),
    **dict.fromkeys(("Identity", "Dropout"), movement.identity),
    "Cast": movement.cast,
    "Transpose": movement.transposed,
    "Slice": movement.sliced,
    "Gather": movement.gather,
    "Pad": movement.padded,
    "DepthToSpace": movement.depth_to_space,
    "SpaceToDepth": movement.space_to_depth,
    **dict.fromkeys(("Tile", "Expand"), movement.repeated),
    "Resize": movement.resize,
}

# Operators with several outputs.
SPLITTERS: Mapping[str, Callable[[Reader, onnx.Node], list[Value]]] = {"Split": movement.split}
