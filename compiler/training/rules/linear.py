"""Matrix products."""

from __future__ import annotations

import torch

from .call import Call, Result


def gemm(call: Call) -> Result:
    """alpha · A' · B' + beta · C, A' and B' transposed where asked."""
    a, b, c = call.x(0), call.x(1), call.optional(2)
    a = a.T if call.integer("transA", 0) else a
    b = b.T if call.integer("transB", 0) else b
    alpha, beta = call.number("alpha", 1.0), call.number("beta", 1.0)
    y = a @ b
    y = y if alpha == 1 else y * alpha
    if c is None:
        return y
    return y + (c if beta == 1 else c * beta)


def matmul(call: Call) -> Result:
    return torch.matmul(call.x(0), call.x(1))


def einsum(call: Call) -> Result:
    operands = [call.x(index) for index in range(len(call.inputs))]
    return torch.einsum(call.text("equation", "").replace(" ", ""), *operands)


def det(call: Call) -> Result:
    return torch.linalg.det(call.x())
