"""Pooling over windows and over whole feature maps."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from .call import Call, Result, Tensor
from .windows import Windows, padded, windows

_MAX = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
_MEAN = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


def _windows(call: Call) -> Windows:
    x = call.x()
    if x.ndim - 2 not in _MAX:
        raise call.unsupported(f"It has {x.ndim - 2} spatial dimensions; torch pools over one to three.")
    return windows(call, x, call.integers("kernel_shape") or [])


def max_pool(call: Call) -> Result:
    x, view = call.x(), _windows(call)
    source = x if x.is_floating_point() else x.to(call.real)
    arguments = (padded(source, view, -math.inf), view.kernel, view.strides, 0, view.dilations)
    if call.outputs == 1:
        return _MAX[view.rank](*arguments).to(x.dtype)
    if call.integer("storage_order", 0):
        raise call.unsupported("Its indices are in column-major order.")
    y, where = _MAX[view.rank](*arguments, return_indices=True)
    return y.to(x.dtype), _flat_indices(where, arguments[0].shape[2:], view)


def _flat_indices(where: Tensor, sizes: torch.Size, view: Windows) -> Tensor:
    """Positions in the padded feature map -> positions in the whole unpadded tensor."""
    flat, unit = torch.zeros_like(where), 1
    for axis in reversed(range(view.rank)):
        flat = flat + (where % sizes[axis] - view.pads[axis]) * unit
        where, unit = where // sizes[axis], unit * view.sizes[axis]
    maps = torch.arange(flat.shape[0] * flat.shape[1], device=flat.device) * unit
    return flat + maps.reshape(flat.shape[0], flat.shape[1], *[1] * view.rank)


def max_unpool(call: Call) -> Result:
    x, where, kernel = call.x(0), call.x(1), call.integers("kernel_shape") or []
    rank = len(kernel)
    strides, pads = call.integers("strides") or [1] * rank, call.integers("pads") or [0] * (2 * rank)
    natural = [
        (x.shape[axis + 2] - 1) * strides[axis] + kernel[axis] - pads[axis] - pads[axis + rank] for axis in range(rank)
    ]
    natural = [*x.shape[:2], *natural]
    sizes = call.numbers(2) or natural
    if sizes != natural:
        raise call.unsupported("Its output_shape is not the one that its kernel and strides give.")
    flat = torch.zeros(math.prod(sizes), dtype=x.dtype, device=x.device)
    return flat.scatter(0, where.reshape(-1), x.reshape(-1)).reshape(sizes)


def _sums(x: Tensor, view: Windows) -> Tensor:
    """The sum over every window of an input that has its padding."""
    if set(view.dilations) == {1}:
        return _MEAN[view.rank](x, view.kernel, view.strides) * math.prod(view.kernel)
    channels = x.shape[1]
    ones = torch.ones(channels, 1, *view.kernel, dtype=x.dtype, device=x.device)
    return _CONV[view.rank](x, ones, None, view.strides, 0, view.dilations, channels)


def average_pool(call: Call) -> Result:
    """The sum over each window, divided by how many elements it covers (with `count_include_pad`: padding too)."""
    x, view = call.x(), _windows(call)
    inside = torch.ones(1, 1, *view.sizes, dtype=x.dtype, device=x.device)
    if call.integer("count_include_pad", 0):
        pads: list[int] = []
        for axis in reversed(range(view.rank)):
            pads += [view.pads[axis], view.pads[axis + view.rank]]
        inside = F.pad(inside, pads, value=1.0)
        missing = padded(x[:1, :1], view).shape[2:]
        rest: list[int] = []
        for axis in reversed(range(view.rank)):
            rest += [0, missing[axis] - inside.shape[axis + 2]]
        inside = F.pad(inside, rest)
    else:
        inside = padded(inside, view)
    return _sums(padded(x, view), view) / _sums(inside, view)


def lp_pool(call: Call) -> Result:
    x, view, p = call.x(), _windows(call), call.integer("p", 2)
    return _sums(padded(x.abs() ** p, view), view) ** (1 / p)


def global_average_pool(call: Call) -> Result:
    x = call.x()
    return x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)


def global_max_pool(call: Call) -> Result:
    x = call.x()
    return x.amax(dim=tuple(range(2, x.ndim)), keepdim=True)


def global_lp_pool(call: Call) -> Result:
    x, p = call.x(), call.integer("p", 2)
    return (x.abs() ** p).sum(dim=tuple(range(2, x.ndim)), keepdim=True) ** (1 / p)
