"""Element by element: unary functions, arithmetic with broadcasting, logic and bits, changes of type."""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce

import torch

from .call import Call, Result, Rule, Tensor


def unary(function: Callable[[Tensor], Tensor]) -> Rule:
    """The rule of a function of one tensor."""

    def rule(call: Call) -> Result:
        return function(call.x())

    return rule


def binary(function: Callable[[Tensor, Tensor], Tensor]) -> Rule:
    """The rule of a function of two tensors that broadcast."""

    def rule(call: Call) -> Result:
        return function(call.x(0), call.x(1))

    return rule


def variadic(function: Callable[[Tensor, Tensor], Tensor]) -> Rule:
    """The rule of an associative function of any number of tensors that broadcast."""

    def rule(call: Call) -> Result:
        return reduce(function, (call.x(index) for index in range(len(call.inputs))))

    return rule


def mean(call: Call) -> Result:
    total = call.x(0)
    for index in range(1, len(call.inputs)):
        total = total + call.x(index)
    return total / len(call.inputs)


def divide(call: Call) -> Result:
    """Integers are divided towards zero."""
    a, b = call.x(0), call.x(1)
    return a / b if a.is_floating_point() or b.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


def modulo(call: Call) -> Result:
    """The result has the sign of the divisor, with `fmod` that of the dividend."""
    function = torch.fmod if call.integer("fmod", 0) else torch.remainder
    return function(call.x(0), call.x(1))


def power(call: Call) -> Result:
    base, exponent = call.x(0), call.x(1)
    return torch.pow(base, exponent).to(base.dtype)


def cast(call: Call) -> Result:
    return _to(call.x(), call.dtype(call.integer("to", 1)))


def cast_like(call: Call) -> Result:
    return _to(call.x(0), call.x(1).dtype)


def _to(x: Tensor, dtype: torch.dtype) -> Tensor:
    return x != 0 if dtype == torch.bool else x.to(dtype)


def bit_shift(call: Call) -> Result:
    function = torch.bitwise_left_shift if call.text("direction", "LEFT") == "LEFT" else torch.bitwise_right_shift
    return function(call.x(0), call.x(1))


def where(call: Call) -> Result:
    return torch.where(call.x(0), call.x(1), call.x(2))


def is_inf(call: Call) -> Result:
    x = call.x()
    positive, negative = call.integer("detect_positive", 1), call.integer("detect_negative", 1)
    return torch.isinf(x) & ((x > 0) & bool(positive) | (x < 0) & bool(negative))


def dropout(call: Call) -> Result:
    """The identity, as in inference: training with random masks would not be repeatable."""
    x, training = call.x(), call.optional(2)
    if training is not None and bool(training):
        raise call.unsupported("It was exported in training mode.")
    return (x, torch.ones_like(x, dtype=torch.bool)) if call.outputs > 1 else x
