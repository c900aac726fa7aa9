"""Quantized weights that learn (quantization-aware training; Jacob et al., 2018).

An integer initializer that only DequantizeLinear reads is kept, while training, as the real numbers that it stands for.
Every forward pass rounds them to the integers' grid, straight through; writing back rounds for good. Scales stay.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from ..model.edit import weight
from ..model.match import is_op, operand
from .rules.call import Tensor
from .rules.quantization import round_through

Array = npt.NDArray[Any]
_KINDS = (ir.DataType.INT4, ir.DataType.INT8, ir.DataType.INT16, ir.DataType.INT32)
_LARGEST_BIAS = 1 << 30  # what quantization leaves room for in an int32 sum


def is_code(value: ir.Value) -> bool:
    """Whether an initializer is a quantized weight: integers with zero point 0 and constant scales."""
    uses = list(value.uses())
    if value.dtype not in _KINDS or weight(value) is None or not uses:
        return False
    return len(uses) == 1 and uses[0].idx == 0 and is_op(uses[0].node, "DequantizeLinear") and _is_plain(uses[0].node)


def _is_plain(node: ir.Node) -> bool:
    """Constant scales, zero point 0, no blocks."""
    if weight(node.inputs[1]) is None or node.attributes.get_int("block_size"):
        return False
    zero = operand(node, 2)
    data = weight(zero)
    return zero is None or (data is not None and not data.any())


@dataclass(frozen=True, eq=False)
class Codes:
    """The grid of one quantized weight: scales shaped to broadcast, and the largest integer either way."""

    scale: Tensor
    largest: int

    @staticmethod
    def of(value: ir.Value, real: torch.dtype, device: torch.device) -> Codes:
        """Narrow weights keep their width: the largest is that of the fewest bits that hold the present integers."""
        data, (use,) = weight(value), value.uses()
        scale = weight(use.node.inputs[1])
        assert data is not None  # a code has both
        assert scale is not None
        axis = use.node.attributes.get_int("axis", 1)
        if scale.size > 1:
            scale = scale.reshape([-1 if index == axis % data.ndim else 1 for index in range(data.ndim)])
        peak = int(np.abs(data.astype(np.int64)).max(initial=1))
        largest = (1 << peak.bit_length()) - 1 if value.dtype != ir.DataType.INT32 else _LARGEST_BIAS
        return Codes(torch.tensor(scale.astype(np.float64), dtype=real, device=device), largest)

    def real(self, integers: Array) -> Tensor:
        return torch.tensor(integers.astype(np.float64), dtype=self.scale.dtype, device=self.scale.device) * self.scale

    def integers(self, real: Tensor) -> Tensor:
        """In floating point, for the forward pass."""
        return torch.clamp(round_through(real / self.scale), -self.largest, self.largest)

    def written(self, real: Tensor, old: Array) -> Array:
        """The integers to store; what did not move keeps its own, which float32 may not hold exactly."""
        new = self.integers(real.detach()).cpu().double().numpy()
        still = (real.detach() == self.real(old)).cpu().numpy()
        stored: Array = np.where(still, old.astype(np.float64), new).astype(old.dtype)
        return stored
