"""Operands that make no sense together or at all: scales of zero, weights that do not fit their input.

onnx's checker and shape inference let all of these pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ...errors import InvalidModelError
from ..inference import Inference
from ..untrusted import shown
from .rename import Plain
from .tensors import type_name

Array = npt.NDArray[Any]

# operator -> (index of an input, what it is, what a constant there must be)
_RULES: dict[str, tuple[int, str, str]] = {
    "QuantizeLinear": (1, "scale", "positive"),
    "DequantizeLinear": (1, "scale", "positive"),
    "QLinearConv": (1, "scale", "positive"),
    "QLinearMatMul": (1, "scale", "positive"),
    "Upsample": (1, "scale", "positive"),
    "BatchNormalization": (4, "variance", "not negative"),
    "Range": (2, "step", "not zero"),
    "Slice": (4, "step", "not zero"),
}


def check_operands(plain: Plain, inference: Inference) -> None:
    """Checks constants for which some numbers have no meaning, zero points' types, and the shapes of parameters.

    Raises:
        InvalidModelError: codes `constant-range`, `zero-point-type`, `parameter-shape`.
    """
    for node in plain.graph.node:
        if node.op_type in _RULES:
            _check_range(node, *_RULES[node.op_type], plain)
        if node.op_type == "Resize":
            _check_range(node, len(node.input) - 1 if len(node.input) < 3 else 2, "scale", "positive", plain)
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            _check_zero_point(node, plain, inference)
        elif node.op_type in ("Conv", "ConvTranspose"):
            _check_convolution(node, plain, inference)
        elif node.op_type in ("BatchNormalization", "InstanceNormalization"):
            channels = inference.types[node.input[0]][1][1:2]
            _check_shapes(node, dict.fromkeys(node.input[1:], channels), plain, inference)


def _check_range(node: onnx.NodeProto, index: int, what: str, must_be: str, plain: Plain) -> None:
    array = plain.constants.get(node.input[index]) if index < len(node.input) else None
    if array is None:
        return
    numbers = np.asarray(array, dtype=np.float64)
    good = {"positive": numbers > 0, "not negative": numbers >= 0, "not zero": numbers != 0}[must_be]
    wrong = numbers[~(good & np.isfinite(numbers))]
    if wrong.size:
        raise InvalidModelError(
            f"A {node.op_type} has a {what} without meaning.",
            code="constant-range",
            where=_label(node, plain),
            why=f"It is {wrong.reshape(-1)[0]:g}; it must be finite and {must_be}.",
            hint="The export or the quantizer that wrote the file is at fault; quantize the float model again.",
        )


def _check_zero_point(node: onnx.NodeProto, plain: Plain, inference: Inference) -> None:
    if len(node.input) < 3 or not node.input[2]:
        return
    value = node.input[0] if node.op_type == "DequantizeLinear" else node.output[0]
    kind, wanted = inference.types[node.input[2]][0], inference.types[value][0]
    dims, scale_dims = inference.types[node.input[2]][1], inference.types[node.input[1]][1]
    if kind != wanted or np.prod(dims) != np.prod(scale_dims):
        raise InvalidModelError(
            f"The zero point of a {node.op_type} does not fit.",
            code="zero-point-type",
            where=_label(node, plain),
            why=f"It is {type_name(kind)}{list(dims)}; the values are {type_name(wanted)}, "
            f"the scale has shape {list(scale_dims)}.",
            hint="Give the zero point the type of the quantized values and the shape of the scale.",
        )


def _check_convolution(node: onnx.NodeProto, plain: Plain, inference: Inference) -> None:
    """Weights are [out, in / group, *kernel] (transposed: [in, out / group, *kernel]), the bias is [out]."""
    data, weight = inference.types[node.input[0]][1], inference.types[node.input[1]][1]
    attributes = {attribute.name: attribute for attribute in node.attribute}
    group = attributes["group"].i if "group" in attributes else 1
    kernel = tuple(attributes["kernel_shape"].ints) if "kernel_shape" in attributes else weight[2:]
    if node.op_type == "Conv":
        wanted, out = (weight[0], data[1] // group, *kernel), weight[0]
    else:
        wanted, out = (data[1], weight[1], *kernel), weight[1] * group
    if data[1] % group or out % group:
        wanted = ()
    shapes = {node.input[1]: wanted} | {name: (out,) for name in node.input[2:] if name}
    _check_shapes(node, shapes, plain, inference)


def _check_shapes(node: onnx.NodeProto, wanted: dict[str, tuple[int, ...]], plain: Plain, inference: Inference) -> None:
    for name, dims in wanted.items():
        found = inference.types[name][1]
        if found != dims:
            raise InvalidModelError(
                f"A parameter of a {node.op_type} does not fit.",
                code="parameter-shape",
                where=_label(node, plain),
                why=f"{shown(plain.names.get(name, name))} has shape {list(found)}"
                + (f", needed is {list(dims)}." if dims else ", which the groups do not divide."),
                hint="Correct it where the model is made, and export it again.",
            )


def _label(node: onnx.NodeProto, plain: Plain) -> str:
    return shown(plain.names.get(node.name) or plain.names.get(node.output[0], ""))
