"""Shapes: how elements are arranged, and tensors made from a shape alone."""

from __future__ import annotations

import math

import numpy as np
import torch

from .call import Call, Result


def reshape(call: Call) -> Result:
    x, wanted = call.x(0), call.numbers(1) or []
    if not call.integer("allowzero", 0):
        wanted = [x.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    return x.reshape(wanted)


def flatten(call: Call) -> Result:
    x = call.x()
    axis = call.integer("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(math.prod(x.shape[:axis]), -1)


def squeeze(call: Call) -> Result:
    x, axes = call.x(0), call.numbers(1)
    axes = [axis for axis, size in enumerate(x.shape) if size == 1] if axes is None else axes
    return x.squeeze(tuple(axes))


def unsqueeze(call: Call) -> Result:
    x, axes = call.x(0), call.numbers(1) or []
    for axis in sorted(axis % (x.ndim + len(axes)) for axis in axes):
        x = x.unsqueeze(axis)
    return x


def transpose(call: Call) -> Result:
    x = call.x()
    return x.permute(call.integers("perm") or list(reversed(range(x.ndim))))


def expand(call: Call) -> Result:
    x, wanted = call.x(0), call.numbers(1) or []
    return x.expand(torch.broadcast_shapes(x.shape, tuple(wanted)))


def tile(call: Call) -> Result:
    return call.x(0).repeat(call.numbers(1) or [])


def depth_to_space(call: Call) -> Result:
    x, block = call.x(), call.integer("blocksize", 1)
    n, channels, height, width = x.shape
    depth = channels // block**2
    if call.text("mode", "DCR") == "DCR":
        x = x.reshape(n, block, block, depth, height, width).permute(0, 3, 4, 1, 5, 2)
    else:
        x = x.reshape(n, depth, block, block, height, width).permute(0, 1, 4, 2, 5, 3)
    return x.reshape(n, depth, height * block, width * block)


def space_to_depth(call: Call) -> Result:
    x, block = call.x(), call.integer("blocksize", 1)
    n, channels, height, width = x.shape
    x = x.reshape(n, channels, height // block, block, width // block, block).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, channels * block**2, height // block, width // block)


def shape_of(call: Call) -> Result:
    sizes = list(call.x().shape)
    end = call.attributes.get("end")
    chosen = sizes[call.integer("start", 0) : None if end is None else int(end)]
    return torch.tensor(chosen, dtype=torch.int64, device=call.device)


def size_of(call: Call) -> Result:
    return torch.tensor(call.x().numel(), dtype=torch.int64, device=call.device)


def constant(call: Call) -> Result:
    """The forms that hold numbers."""
    for name, value in call.attributes.items():
        if name == "value":
            data = np.array(value.numpy())
            return torch.from_numpy(data).to(call.device, call.dtype(int(value.dtype)))
        if name in ("value_float", "value_floats"):
            return torch.tensor(value, dtype=call.real, device=call.device)
        if name in ("value_int", "value_ints"):
            return torch.tensor(value, dtype=torch.int64, device=call.device)
    raise call.unsupported("It does not hold numbers.")


def constant_of_shape(call: Call) -> Result:
    value = call.attributes.get("value")
    sizes = call.numbers(0) or []
    if value is None:
        return torch.zeros(sizes, dtype=call.real, device=call.device)
    filling = value.numpy().reshape(-1)[0].item()
    return torch.full(sizes, filling, dtype=call.dtype(int(value.dtype)), device=call.device)


def eye_like(call: Call) -> Result:
    x, offset = call.x(), call.integer("k", 0)
    wanted = call.attributes.get("dtype")
    ones = torch.ones(x.shape, device=x.device).tril(offset).triu(offset)
    return ones.to(x.dtype if wanted is None else call.dtype(int(wanted)))


def range_of(call: Call) -> Result:
    start, limit, step = (call.x(index) for index in range(3))
    count = max(math.ceil((limit.item() - start.item()) / step.item()), 0)
    return start + step * torch.arange(count, dtype=start.dtype, device=call.device)


def trilu(call: Call) -> Result:
    x, offset = call.x(0), (call.numbers(1) or [0])[0]
    return x.triu(offset) if call.integer("upper", 1) else x.tril(offset)
