"""Quantization as training sees it (straight-through estimator; Bengio, Léonard and Courville, 2013).

Quantized values stay in floating point, so that gradients pass from DequantizeLinear to what was quantized: rounding
counts as the identity, and clipping stops the gradient of what lies outside the range (Jacob et al., 2018).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import onnx_ir as ir
import torch

from .call import Call, Result, Tensor, along
from .convolution import conv

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
    low, high = _range(call, 2)
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


def matmul_integer(call: Call) -> Result:
    """Zero points per tensor, or per row of A and per column of B."""
    a, b = _centred(call, 0, 2, -2), _centred(call, 1, 3, -1)
    return a @ b


def conv_integer(call: Call) -> Result:
    return conv(replace(call, inputs=(_centred(call, 0, 2, 1), _centred(call, 1, 3, 0))))


def qlinear_matmul(call: Call) -> Result:
    a = _centred(call, 0, 2, -2) * _vector(call, 1, -2)
    b = _centred(call, 3, 5, -1) * _vector(call, 4, -1)
    return _requantized(call, a @ b)


def qlinear_conv(call: Call) -> Result:
    """The bias is in steps of both scales' product."""
    x = _centred(call, 0, 2, 1) * _vector(call, 1, 1)
    weight = _centred(call, 3, 5, 0) * _vector(call, 4, 0)
    bias = call.optional(8)
    if bias is not None:
        bias = bias.to(x.dtype) * call.x(1).reshape(()) * call.x(4)
    return _requantized(call, conv(replace(call, inputs=(x, weight, bias))))


def _centred(call: Call, index: int, zero: int, axis: int) -> Tensor:
    """Quantized values less their zero point, in floating point."""
    x = call.x(index).to(call.real)
    return x if call.optional(zero) is None else x - _vector(call, zero, axis, x.ndim).to(call.real)


def _vector(call: Call, index: int, axis: int, rank: int | None = None) -> Tensor:
    """A scale or zero point, shaped to broadcast along an axis of the value that stands before it."""
    value = call.x(index)
    rank = call.x(index - 1).ndim if rank is None else rank
    return value.reshape(()) if value.numel() == 1 else along(value, axis, rank) if value.ndim == 1 else value


def _requantized(call: Call, real: Result) -> Result:
    low, high = _range(call, 7)
    assert not isinstance(real, tuple)  # products have one output
    return torch.clamp(round_through(real / call.x(6)) + call.x(7).to(real.dtype), low, high)


def _range(call: Call, zero: int) -> tuple[int, int]:
    """The range of the type asked for, else of the zero point's type."""
    asked = call.integer("output_dtype", 0)
    kind = ir.DataType(asked) if asked else call.input_types[zero] if len(call.input_types) > zero else None
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
