"""Which elements go where: joining, cutting, picking, placing, padding."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F

from .call import Call, Result, Tensor, axes_of

_REDUCE: Mapping[str, str] = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}
_PAD_MODES: Mapping[str, str] = {"reflect": "reflect", "edge": "edge", "wrap": "wrap"}


def concat(call: Call) -> Result:
    return torch.cat([call.x(index) for index in range(len(call.inputs))], dim=call.integer("axis", 0))


def split(call: Call) -> Result:
    x, axis, sizes = call.x(0), call.integer("axis", 0), call.numbers(1)
    if sizes is None:
        whole = x.shape[axis]
        each = -(-whole // call.outputs)
        sizes = [min(each, whole - start) for start in range(0, whole, each)]
    return tuple(x.split(sizes, dim=axis))


def slice_(call: Call) -> Result:
    x = call.x(0)
    starts, ends = call.numbers(1) or [], call.numbers(2) or []
    axes, steps = call.numbers(3) or list(range(len(starts))), call.numbers(4) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        chosen = range(*slice(start, end, step).indices(x.shape[axis]))
        if step > 0:
            x = x[(slice(None),) * (axis % x.ndim) + (slice(chosen.start, chosen.stop, step),)]
        else:
            x = x.index_select(axis, torch.tensor(list(chosen), dtype=torch.int64, device=x.device))
    return x


def _from_front(indices: Tensor, size: int) -> Tensor:
    indices = indices.long()
    return torch.where(indices < 0, indices + size, indices)


def gather(call: Call) -> Result:
    x, indices = call.x(0), call.x(1)
    axis = call.integer("axis", 0) % x.ndim
    picked = x.index_select(axis, _from_front(indices, x.shape[axis]).reshape(-1))
    return picked.reshape((*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :]))


def gather_elements(call: Call) -> Result:
    x, axis = call.x(0), call.integer("axis", 0)
    return torch.gather(x, axis, _from_front(call.x(1), x.shape[axis]))


def scatter_elements(call: Call) -> Result:
    x, axis, how = call.x(0), call.integer("axis", 0), call.text("reduction", "none")
    indices = _from_front(call.x(1), x.shape[axis])
    if how == "none":
        return x.scatter(axis, indices, call.x(2))
    return x.scatter_reduce(axis, indices, call.x(2), _REDUCE[how])


def _rows(indices: Tensor, sizes: torch.Size) -> Tensor:
    """Index tuples [..., k] -> positions among the rows that the first k dimensions span, [...]."""
    rows = torch.zeros(indices.shape[:-1], dtype=torch.int64, device=indices.device)
    for place, size in enumerate(sizes):
        rows = rows * size + _from_front(indices[..., place], size)
    return rows


def gather_nd(call: Call) -> Result:
    x, indices, batch = call.x(0), call.x(1), call.integer("batch_dims", 0)
    depth = batch + indices.shape[-1]
    rows = _rows(indices, x.shape[batch:depth])
    if batch:
        count = math.prod(x.shape[:batch])
        starts = torch.arange(count, device=x.device) * math.prod(x.shape[batch:depth])
        rows = rows + starts.reshape(*x.shape[:batch], *[1] * (rows.ndim - batch))
    table = x.reshape(math.prod(x.shape[:depth]), -1)
    return table.index_select(0, rows.reshape(-1)).reshape(*rows.shape, *x.shape[depth:])


def scatter_nd(call: Call) -> Result:
    x, indices, updates, how = call.x(0), call.x(1), call.x(2), call.text("reduction", "none")
    depth = indices.shape[-1]
    rows = _rows(indices, x.shape[:depth]).reshape(-1, 1)
    table = x.reshape(math.prod(x.shape[:depth]), -1)
    rows, updates = rows.expand(-1, table.shape[1]), updates.reshape(rows.shape[0], -1)
    if how == "none":
        return table.scatter(0, rows, updates).reshape(x.shape)
    return table.scatter_reduce(0, rows, updates, _REDUCE[how]).reshape(x.shape)


def one_hot(call: Call) -> Result:
    indices, values = call.x(0), call.x(2)
    depth, axis = int(call.x(1).reshape(-1)[0].item()), call.integer("axis", -1)
    axis = axis % (indices.ndim + 1)
    places = torch.arange(depth, device=indices.device).reshape(-1, *[1] * (indices.ndim - axis))
    hot = _from_front(indices, depth).unsqueeze(axis) == places
    return torch.where(hot, values[1], values[0])


def reversed_within(x: Tensor, lengths: Tensor, time: int, batch: int) -> Tensor:
    """Every sequence backwards within its own length; what lies behind it stays."""
    steps = torch.arange(x.shape[time], device=x.device).unsqueeze(1)
    length = lengths.long().unsqueeze(0)
    order = torch.where(steps < length, length - 1 - steps, steps)  # [time, batch]
    moved = x.movedim((time, batch), (0, 1))
    order = order.reshape(*order.shape, *[1] * (moved.ndim - 2)).expand(moved.shape)
    return moved.gather(0, order).movedim((0, 1), (time, batch))


def reverse_sequence(call: Call) -> Result:
    return reversed_within(call.x(0), call.x(1), call.integer("time_axis", 0), call.integer("batch_axis", 1))


def pad(call: Call) -> Result:
    x, pads, value, mode = call.x(0), call.numbers(1) or [], call.optional(2), call.text("mode", "constant")
    axes = call.numbers(3)
    axes = axes if axes is not None else list(range(x.ndim))
    amounts = {axis % x.ndim: (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    if mode == "constant":
        flat = [amount for axis in reversed(range(x.ndim)) for amount in amounts.get(axis, (0, 0))]
        if value is None or not value.requires_grad:
            return F.pad(x, flat, value=0 if value is None else value.item())
        return F.pad(x, flat) + value * (1 - F.pad(torch.ones_like(x), flat))
    if mode not in _PAD_MODES:
        raise call.unsupported(f"Its mode is {mode}.")
    for axis, (start, end) in sorted(amounts.items()):
        if start or end:
            x = x.index_select(axis, _padded_positions(x.shape[axis], start, end, mode).to(x.device))
    return x


def _padded_positions(size: int, start: int, end: int, mode: str) -> Tensor:
    """Where each element along an axis comes from; negative pads cut."""
    places = np.arange(size)[max(-start, 0) : size - max(-end, 0)]
    wide = np.pad(places, (max(start, 0), max(end, 0)), mode=_PAD_MODES[mode])  # type: ignore[call-overload]
    return torch.from_numpy(np.ascontiguousarray(wide))


def center_crop_pad(call: Call) -> Result:
    x, wanted = call.x(0), call.numbers(1) or []
    for axis, size in zip(axes_of(call.integers("axes"), x.ndim), wanted, strict=True):
        more = size - x.shape[axis]
        before = more // 2 if more > 0 else -(-more // 2)
        flat = [0, 0] * (x.ndim - 1 - axis) + [before, more - before]
        x = F.pad(x, flat)
    return x


def col_to_im(call: Call) -> Result:
    sizes, kernel = call.numbers(1) or [], call.numbers(2) or []
    pads = call.integers("pads") or [0] * (2 * len(sizes))
    rank = len(sizes)
    if rank != 2 or pads[:2] != pads[2:]:
        raise call.unsupported("torch folds images with equal pads on both sides.")
    dilations, strides = call.integers("dilations") or [1, 1], call.integers("strides") or [1, 1]
    return F.fold(call.x(0), sizes, kernel, dilations, pads[:2], strides)
