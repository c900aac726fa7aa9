"""Activation functions."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .call import Call, Result


def celu(call: Call) -> Result:
    return F.celu(call.x(), call.number("alpha", 1.0))


def clip(call: Call) -> Result:
    """Bounds are optional inputs; the gradient is zero outside of them."""
    x, low, high = call.x(), call.optional(1), call.optional(2)
    x = x if low is None else torch.maximum(x, low.to(x.dtype))
    return x if high is None else torch.minimum(x, high.to(x.dtype))


def elu(call: Call) -> Result:
    return F.elu(call.x(), call.number("alpha", 1.0))


def gelu(call: Call) -> Result:
    return F.gelu(call.x(), approximate=call.text("approximate", "none"))


def hard_sigmoid(call: Call) -> Result:
    return (call.x() * call.number("alpha", 0.2) + call.number("beta", 0.5)).clamp(0, 1)


def hard_swish(call: Call) -> Result:
    x = call.x()
    return x * (x / 6 + 0.5).clamp(0, 1)


def hardmax(call: Call) -> Result:
    x, axis = call.x(), call.integer("axis", -1)
    return torch.zeros_like(x).scatter(axis, x.argmax(dim=axis, keepdim=True), 1.0)


def leaky_relu(call: Call) -> Result:
    return F.leaky_relu(call.x(), call.number("alpha", 0.01))


def log_softmax(call: Call) -> Result:
    return F.log_softmax(call.x(), dim=call.integer("axis", -1))


def mish(call: Call) -> Result:
    return F.mish(call.x())


def prelu(call: Call) -> Result:
    x, slope = call.x(0), call.x(1)
    return torch.where(x < 0, x * slope, x)


def relu(call: Call) -> Result:
    return torch.relu(call.x())


def selu(call: Call) -> Result:
    x = call.x()
    alpha, gamma = call.number("alpha", 1.6732631921768188), call.number("gamma", 1.0507010221481323)
    return gamma * torch.where(x > 0, x, alpha * torch.expm1(x.clamp(max=0)))


def shrink(call: Call) -> Result:
    x, edge, bias = call.x(), call.number("lambd", 0.5), call.number("bias", 0.0)
    return torch.where(x < -edge, x + bias, torch.where(x > edge, x - bias, torch.zeros_like(x)))


def sigmoid(call: Call) -> Result:
    return torch.sigmoid(call.x())


def softmax(call: Call) -> Result:
    return F.softmax(call.x(), dim=call.integer("axis", -1))


def softplus(call: Call) -> Result:
    x = call.x()
    return torch.logaddexp(x, torch.zeros_like(x))


def softsign(call: Call) -> Result:
    return F.softsign(call.x())


def tanh(call: Call) -> Result:
    return torch.tanh(call.x())


def thresholded_relu(call: Call) -> Result:
    x = call.x()
    return torch.where(x > call.number("alpha", 1.0), x, torch.zeros_like(x))
