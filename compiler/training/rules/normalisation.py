"""Normalisations: over the batch, the channels, the features, and across neighbouring channels."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from .call import Call, Result, Tensor, along


def batch_normalization(call: Call) -> Result:
    """With the stored statistics; while learning with those of the batch, and the stored ones follow slowly."""
    x, scale, bias, mean, variance = (call.x(index) for index in range(5))
    if call.integer("training_mode", 0):
        raise call.unsupported("It was exported in training mode.")
    epsilon, momentum = call.number("epsilon", 1e-5), call.number("momentum", 0.9)
    if mean.requires_grad or variance.requires_grad:  # computed, not stored
        mean, variance, scale, bias = (along(each, 1, x.ndim) for each in (mean, variance, scale, bias))
        return (x - mean) * torch.rsqrt(variance + epsilon) * scale + bias
    return F.batch_norm(x, mean, variance, scale, bias, call.learning, 1 - momentum, epsilon)


def _standardised(x: Tensor, dims: Sequence[int], epsilon: float) -> tuple[Tensor, Tensor, Tensor]:
    """((x - mean) / sqrt(variance + epsilon), mean, the factor), over `dims`."""
    mean = x.mean(dim=tuple(dims), keepdim=True)
    centred = x - mean
    factor = torch.rsqrt((centred * centred).mean(dim=tuple(dims), keepdim=True) + epsilon)
    return centred * factor, mean, factor


def instance_normalization(call: Call) -> Result:
    x = call.x()
    y, _, _ = _standardised(x, range(2, x.ndim), call.number("epsilon", 1e-5))
    return y * along(call.x(1), 1, x.ndim) + along(call.x(2), 1, x.ndim)


def group_normalization(call: Call) -> Result:
    """Scale and bias per channel (opset 21) or per group (opset 18)."""
    x, groups = call.x(), call.integer("num_groups", 1)
    y, _, _ = _standardised(x.reshape(x.shape[0], groups, -1), (2,), call.number("epsilon", 1e-5))
    scale, bias = (
        value if value.numel() == x.shape[1] else value.repeat_interleave(x.shape[1] // groups)
        for value in (call.x(1), call.x(2))
    )
    return y.reshape(x.shape) * along(scale, 1, x.ndim) + along(bias, 1, x.ndim)


def layer_normalization(call: Call) -> Result:
    x, bias = call.x(), call.optional(2)
    axis = call.integer("axis", -1) % x.ndim
    y, mean, factor = _standardised(x, range(axis, x.ndim), call.number("epsilon", 1e-5))
    y = y * call.x(1)
    y = y if bias is None else y + bias
    return (y, mean, factor)[: call.outputs] if call.outputs > 1 else y


def mean_variance_normalization(call: Call) -> Result:
    x = call.x()
    axes = call.integers("axes", (0, 2, 3)) or []
    centred = x - x.mean(dim=axes, keepdim=True)
    return centred / ((centred * centred).mean(dim=axes, keepdim=True).sqrt() + 1e-9)


def lp_normalization(call: Call) -> Result:
    x, axis, p = call.x(), call.integer("axis", -1), call.integer("p", 2)
    norm = torch.linalg.vector_norm(x, ord=p, dim=axis, keepdim=True)
    return x / torch.where(norm == 0, torch.ones_like(norm), norm)


def lrn(call: Call) -> Result:
    """x / (bias + alpha / size · Σ x² over `size` neighbouring channels) ** beta."""
    x, size = call.x(), call.integer("size", 1)
    before, after = (size - 1) // 2, size // 2
    squares = (x * x).reshape(x.shape[0], 1, x.shape[1], -1)
    squares = F.pad(squares, (0, 0, before, after))
    mean = F.avg_pool2d(squares, (size, 1), (1, 1)).reshape(x.shape)
    return x / (call.number("bias", 1.0) + call.number("alpha", 1e-4) * mean) ** call.number("beta", 0.75)
