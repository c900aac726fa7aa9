"""Convolutions over one to three spatial dimensions, grouped, dilated, transposed."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .call import Call, Result, Tensor, along
from .windows import padded, same_pads, windows

_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
_TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def conv(call: Call) -> Result:
    x, weight, bias = call.x(0), call.x(1), call.optional(2)
    if x.ndim - 2 not in _CONV:
        raise call.unsupported(f"It has {x.ndim - 2} spatial dimensions; torch convolves over one to three.")
    if x.ndim == 4:  # half the time on a CPU, and whatever follows keeps the order
        x = x.contiguous(memory_format=torch.channels_last)
    view = windows(call, x, weight.shape[2:])
    starts, ends = view.pads[: view.rank], view.pads[view.rank :]
    symmetric = starts == ends
    x = x if symmetric else padded(x, view)
    pads = starts if symmetric else 0
    return _CONV[view.rank](x, weight, bias, view.strides, pads, view.dilations, call.integer("group", 1))


def conv_transpose(call: Call) -> Result:
    """The full transposed convolution, cropped by the pads and widened by `output_padding`; then the bias."""
    x, weight, bias = call.x(0), call.x(1), call.optional(2)
    rank = x.ndim - 2
    if rank not in _TRANSPOSED:
        raise call.unsupported(f"It has {rank} spatial dimensions; torch convolves over one to three.")
    strides = call.integers("strides") or [1] * rank
    dilations = call.integers("dilations") or [1] * rank
    extra = call.integers("output_padding") or [0] * rank
    full = _TRANSPOSED[rank](x, weight, None, strides, 0, 0, call.integer("group", 1), dilations)
    starts, ends = _transposed_pads(call, x, full, strides, extra)
    crop: list[int] = []
    for axis in reversed(range(rank)):
        crop += [-starts[axis], extra[axis] - ends[axis]]
    y = F.pad(full, crop) if any(crop) else full
    return y if bias is None else y + along(bias, 1, y.ndim)


def _transposed_pads(
    call: Call, x: Tensor, full: Tensor, strides: list[int], extra: list[int]
) -> tuple[list[int], list[int]]:
    rank, auto = x.ndim - 2, call.text("auto_pad", "NOTSET")
    wanted = call.integers("output_shape")
    if wanted is None and auto in ("NOTSET", "VALID"):
        pads = call.integers("pads") or [0] * (2 * rank)
        return (pads[:rank], pads[rank:]) if auto == "NOTSET" else ([0] * rank, [0] * rank)
    if wanted is None:
        wanted = [size * stride for size, stride in zip(x.shape[2:], strides, strict=True)]
    totals = [full.shape[axis + 2] + extra[axis] - wanted[-rank:][axis] for axis in range(rank)]
    pairs = [same_pads(total, auto) for total in totals]
    return [start for start, _ in pairs], [end for _, end in pairs]
