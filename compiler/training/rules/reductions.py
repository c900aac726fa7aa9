"""Reductions over axes, running sums, ranking, and the losses that ONNX knows."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from .call import Call, Result, Rule, Tensor, axes_of


def reduction(function: Callable[[Tensor, list[int], bool], Tensor]) -> Rule:
    """The rule of a reduction; its axes are an input, or in older operators an attribute."""

    def rule(call: Call) -> Result:
        x = call.x()
        axes = call.numbers(1) or call.integers("axes")
        if not axes and call.integer("noop_with_empty_axes", 0):
            return x
        return function(x, axes_of(axes or None, x.ndim), bool(call.integer("keepdims", 1)))

    return rule


def l1(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.abs().sum(dim=axes, keepdim=keep)


def l2(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return torch.linalg.vector_norm(x, dim=axes, keepdim=keep)


def log_sum(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.sum(dim=axes, keepdim=keep).log()


def log_sum_exp(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return torch.logsumexp(x, dim=axes, keepdim=keep)


def largest(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.amax(dim=axes, keepdim=keep)


def smallest(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.amin(dim=axes, keepdim=keep)


def mean(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.mean(dim=axes, keepdim=keep)


def product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in reversed(axes):
        x = x.prod(dim=axis, keepdim=keep, dtype=x.dtype)
    return x


def total(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.sum(dim=axes, keepdim=keep, dtype=x.dtype)


def sum_square(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return (x * x).sum(dim=axes, keepdim=keep, dtype=x.dtype)


def arg_extreme(largest_first: bool) -> Rule:
    """The rule of ArgMax and ArgMin: the first such position, or with `select_last_index` the last."""

    def rule(call: Call) -> Result:
        x, axis = call.x(), call.integer("axis", 0)
        keep, last = bool(call.integer("keepdims", 1)), bool(call.integer("select_last_index", 0))
        source = x.flip(axis) if last else x
        found = (source.argmax if largest_first else source.argmin)(dim=axis, keepdim=keep)
        return x.shape[axis] - 1 - found if last else found

    return rule


def cum_sum(call: Call) -> Result:
    x, axis = call.x(0), (call.numbers(1) or [0])[0]
    backwards = bool(call.integer("reverse", 0))
    source = x.flip(axis) if backwards else x
    sums = source.cumsum(dim=axis, dtype=x.dtype)
    if call.integer("exclusive", 0):
        sums = sums - source
    return sums.flip(axis) if backwards else sums


def top_k(call: Call) -> Result:
    """Equal values keep their order."""
    x, count, axis = call.x(0), (call.numbers(1) or [1])[0], call.integer("axis", -1)
    descending = bool(call.integer("largest", 1))
    values, where = torch.sort(x, dim=axis, descending=descending, stable=True)
    return values.narrow(axis, 0, count), where.narrow(axis, 0, count)


def softmax_cross_entropy(call: Call) -> Result:
    logarithms = F.log_softmax(call.x(0), dim=1)
    loss = _likelihood_loss(call, logarithms)
    return (loss, logarithms) if call.outputs > 1 else loss


def negative_log_likelihood(call: Call) -> Result:
    return _likelihood_loss(call, call.x(0))


def _likelihood_loss(call: Call, logarithms: Tensor) -> Tensor:
    ignored = call.integer("ignore_index", -100)
    how = call.text("reduction", "mean")
    return F.nll_loss(logarithms, call.x(1).long(), call.optional(2), ignore_index=ignored, reduction=how)
