"""A quantized model without its rounding, so that two of them can be compared closely.

Sums in another order differ in their last bits, and rounding makes a whole step of that now and then. So for a
comparison a quantization that is undone right away, QuantizeLinear and DequantizeLinear with the same parameters, is
only clipped to its range: what is left is continuous, and still depends on every scale and zero point.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..analysis.channels.trace import attribute
from ..model.edit import weight
from ..model.model import Model
from ..model.rewrite import constant, insert_before, retype, sweep

Array = npt.NDArray[Any]
_RANGES: Mapping[ir.DataType, tuple[int, int]] = {
    ir.DataType.INT4: (-8, 7),
    ir.DataType.UINT4: (0, 15),
    ir.DataType.INT8: (-128, 127),
    ir.DataType.UINT8: (0, 255),
    ir.DataType.INT16: (-32768, 32767),
    ir.DataType.UINT16: (0, 65535),
}


def without_rounding(model: Model) -> Model:
    """The model itself where it quantizes nothing that it computes, else a copy that clips in place of rounding."""
    if not any(node.op_type == "QuantizeLinear" for node in model.graph):
        return model
    result = model.clone()
    for node in list(result.graph):
        quantizer = node.inputs[0].producer() if node.op_type == "DequantizeLinear" and node.inputs[0] else None
        if quantizer is not None and quantizer.op_type == "QuantizeLinear":
            _clip(quantizer, node)
    sweep(result.graph)
    return result


def _clip(quantizer: ir.Node, dequantizer: ir.Node) -> None:
    """Lets values past both operators, as far as the integers between them reach."""
    x, codes = quantizer.inputs[0], quantizer.outputs[0]
    bounds = _RANGES.get(codes.dtype) if codes.dtype is not None else None
    there, back = (_parameters(node) for node in (quantizer, dequantizer))
    if x is None or x.shape is None or bounds is None or there is None or back is None:
        return
    axis = attribute(quantizer, "axis", 1) % max(x.shape.rank(), 1)
    alike = axis == attribute(dequantizer, "axis", 1) % max(x.shape.rank(), 1)
    scale, zero = there
    if not alike or scale.ndim > 1 or any(not np.array_equal(a, b) for a, b in zip(there, back, strict=True)):
        return
    shape = [-1, *[1] * (x.shape.rank() - 1 - axis)] if scale.size > 1 else []
    low, high = ((scale * (bound - zero)).astype(scale.dtype).reshape(shape) for bound in bounds)
    floor = insert_before(dequantizer, "Max", [x, constant(dequantizer, low)], like=x)
    retype(dequantizer, "Min", [floor, constant(dequantizer, high)])


def _parameters(node: ir.Node) -> tuple[Array, Array] | None:
    """(scale, zero point as whole numbers of the scale's type); None where one of them is computed."""
    scale = weight(node.inputs[1])
    absent = len(node.inputs) < 3 or node.inputs[2] is None
    zero = np.zeros_like(scale) if absent and scale is not None else weight(node.inputs[2])
    return None if scale is None or zero is None else (scale, zero.astype(scale.dtype))
