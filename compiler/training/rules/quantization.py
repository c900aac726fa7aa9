"""Quantization as training sees it (straight-through estimator; Bengio, Léonard and Courville, 2013).

Quantized values stay in floating point, so that gradients pass from DequantizeLinear to what was quantized: rounding
counts as the identity, and clipping stops the gradient of what lies outside the range (Jacob et al., 2018).
"""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir
import torch

from .call import Call, Result, Tensor, along

RANGES: Mapping[ir.DataType, tuple[int, int]] = {
    ir.DataType.UINT8: (0, 255),
    ir.DataType.INT8: (-128, 127),
    ir.DataType.UINT16: (0, 65535),
    ir.DataType.INT16: (-32768, 32767),
    ir.DataType.UINT4: (0, 15),
    ir.DataType.INT4: (-8, 7),
    ir.DataType.INT32: (-(1 << 31), (1 << 31) - 1),
}


def round_through(x: Tensor) -> Tensor:
    """Rounds half to even; its gradient is that of the identity."""
    return x + (torch.round(x) - x).detach()


def quantize_linear(call: Call) -> Result:
    x = call.x(0)
    scale, zero = _parameters(call, x)
    low, high = _range(call)
    # the gradient of the scale also sees what is clipped: there the result is a constant of the range
    return torch.clamp(round_through(x / scale) + zero, low, high)


def dequantize_linear(call: Call) -> Result:
    x = call.x(0)
    scale, zero = _parameters(call, x)
    return (x.to(scale.dtype) - zero) * scale


def dynamic_quantize_linear(call: Call) -> Result:
    """u8, from the range of this very input, which includes zero."""
    x = call.x(0)
    low, high = x.min().clamp(max=0), x.max().clamp(min=0)
    scale = (high - low) / 255
    zero = torch.round((-low / scale).clamp(0, 255)).detach()
    return torch.clamp(round_through(x / scale) + zero, 0, 255), scale, zero.to(torch.uint8)


def _range(call: Call) -> tuple[int, int]:
    asked = call.integer("output_dtype", 0)
    kind = ir.DataType(asked) if asked else call.input_types[2] if len(call.input_types) > 2 else None
    kind = kind or ir.DataType.UINT8
    if kind not in RANGES:
        raise call.unsupported(f"It quantizes to {kind.name}.")
    return RANGES[kind]


def _parameters(call: Call, x: Tensor) -> tuple[Tensor, Tensor]:
    """Scale and zero point shaped to broadcast: per tensor, per channel, or in blocks along an axis."""
    scale, zero = call.x(1), call.optional(2)
    zero = torch.zeros_like(scale) if zero is None else zero.to(scale.dtype)
    axis, block = call.integer("axis", 1), call.integer("block_size", 0)
    if block:
        size = x.shape[axis]
        return tuple(each.repeat_interleave(block, dim=axis).narrow(axis, 0, size) for each in (scale, zero))
    if scale.numel() == 1:
        return scale.reshape(()), zero.reshape(())
    return along(scale, axis, x.ndim), along(zero, axis, x.ndim)
