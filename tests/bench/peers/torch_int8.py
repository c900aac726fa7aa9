"""PyTorch's quantized operators in eager mode, the channels last, on its oneDNN backend."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from harness.problem import SCALE, Problem

from .base import Missing, Prepared

ENGINE = "onednn"


def _module() -> Any:
    try:
        import torch
    except ImportError as error:
        raise Missing("PyTorch is not installed: pip install torch") from error
    if ENGINE not in torch.backends.quantized.supported_engines:
        raise Missing(f"this PyTorch has no quantized backend {ENGINE}")
    return torch


def version() -> str:
    return str(_module().__version__)


def prepare(problem: Problem, alone: bool = False) -> Prepared:
    """`alone`: NCHW in memory on both sides; the operator itself makes copies with the channels last."""
    torch = _module()
    torch.set_num_threads(1)
    torch.backends.quantized.engine = ENGINE
    layer, scale = problem.layer, float(SCALE)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*quantized tensor creation functions.*")  # deprecated, not replaced
        weight = torch._make_per_channel_quantized_tensor(
            torch.from_numpy(problem.weight),
            torch.from_numpy(problem.weight_scale.astype(np.float64)),
            torch.zeros(layer.out_c, dtype=torch.int64),
            0,
        )
        x = torch._make_per_tensor_quantized_tensor(torch.from_numpy(problem.x), scale, 0)
    bias = torch.from_numpy((problem.bias * (SCALE * problem.weight_scale)).astype(np.float32))
    if layer.kind == "gemm":
        packed = torch.ops.quantized.linear_prepack(weight, bias)
        run = torch.ops.quantized.linear_relu
    else:
        top, left, bottom, right = layer.pads
        if (top, left) != (bottom, right):
            raise RuntimeError("PyTorch's quantized convolution takes no unequal padding")
        group = layer.in_c if layer.kind == "depthwise" else 1
        packed = torch.ops.quantized.conv2d_prepack(weight, bias, [layer.stride] * 2, [top, left], [1, 1], group)
        run = torch.ops.quantized.conv2d_relu
        x = x if alone else x.contiguous(memory_format=torch.channels_last)

    def call() -> Any:
        y = run(x, packed, scale, 0)
        return y.contiguous() if alone else y

    return Prepared(call, lambda: call().int_repr().numpy(), f"quantized, {ENGINE}")


def empty_call() -> Callable[[], object]:
    """The cheapest operator: what Python and the dispatcher add."""
    x = _module().zeros(1)
    return lambda: x.add_(0)
