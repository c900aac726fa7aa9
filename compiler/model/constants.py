"""Constants that an operator cannot make sense of: scales that are zero, steps that lead nowhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ..errors import InvalidModelError
from .inference import Inference
from .rename import Plain
from .tensors import type_name
from .untrusted import shown

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


def check_constants(plain: Plain, inference: Inference) -> None:
    """Checks the constant inputs of operators for which some numbers have no meaning, and zero points' types.

    Raises:
        InvalidModelError: codes `constant-range`, `zero-point-type`.
    """
    for node in plain.graph.node:
        if node.op_type in _RULES:
            _check_range(node, *_RULES[node.op_type], plain)
        if node.op_type == "Resize":
            _check_range(node, len(node.input) - 1 if len(node.input) < 3 else 2, "scale", "positive", plain)
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            _check_zero_point(node, plain, inference)


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
            where=shown(plain.names.get(node.name) or plain.names.get(node.output[0], "")),
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
            where=shown(plain.names.get(node.name) or plain.names.get(node.output[0], "")),
            why=f"It is {type_name(kind)}{list(dims)}; the values are {type_name(wanted)}, "
            f"the scale has shape {list(scale_dims)}.",
            hint="Give the zero point the type of the quantized values and the shape of the scale.",
        )
