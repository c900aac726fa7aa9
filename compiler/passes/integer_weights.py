"""Weights that are integers behind a DequantizeLinear, seen and scaled as real ones.

    (q * s) * f  =  (q * sign(f)) * (s |f|)

per output channel: a factor goes into the scale and its sign into the integers, so nothing is rounded anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..model.edit import replace_initializer, weight
from ..model.match import Array, is_op, operand, sole_use
from ..model.rewrite import graph_of, set_attribute


@dataclass(frozen=True, eq=False)
class IntegerWeight:
    """The weight of `node`: symmetric int8 numbers with their scale, behind a DequantizeLinear of their own.

    `axis` is the dimension of the output channels; `real` what the numbers stand for.
    """

    dequantizer: ir.Node
    codes: Array
    scale: Array  # float32, one per output channel
    axis: int

    @property
    def real(self) -> Array:
        return np.asarray(self.codes * self._spread(self.scale), np.float32)

    def _spread(self, numbers: Array) -> Array:
        shape = [1] * self.codes.ndim
        shape[self.axis] = -1
        return numbers.reshape(shape)

    def multiply(self, factors: Array) -> None:
        """Multiplies every output channel by its factor, in place. A factor of 0 makes zeros and keeps the scale."""
        graph = graph_of(self.dequantizer)
        signs = self._spread(np.sign(factors).astype(np.int8))
        scale = (self.scale.astype(np.float64) * np.where(factors == 0, 1.0, np.abs(factors))).astype(np.float32)
        replace_initializer(graph, self.dequantizer, 0, (self.codes * signs).astype(np.int8))
        replace_initializer(graph, self.dequantizer, 1, scale)
        self.dequantizer.resize_inputs(3)
        replace_initializer(graph, self.dequantizer, 2, np.zeros(scale.shape, np.int8))
        set_attribute(self.dequantizer, "axis", self.axis)


def integer_weight(node: ir.Node) -> IntegerWeight | None:
    """The integer weight of a Conv, Gemm (transB) or MatMul, or None where it is something else."""
    value = operand(node, 1)
    dequantizer = None if value is None else value.producer()
    if value is None or dequantizer is None or not is_op(dequantizer, "DequantizeLinear") or sole_use(value) is None:
        return None
    codes, scale, zero = (weight(operand(dequantizer, index)) for index in range(3))
    if codes is None or scale is None or codes.dtype != np.int8 or (codes == -128).any():
        return None
    if zero is not None and zero.any():
        return None
    axis = codes.ndim - 1 if node.op_type == "MatMul" else 0
    channels = codes.shape[axis]
    if scale.size > 1 and (
        scale.shape != (channels,) or dequantizer.attributes.get_int("axis", 1) % codes.ndim != axis
    ):
        return None
    return IntegerWeight(dequantizer, codes, np.broadcast_to(scale.ravel(), (channels,)), axis)
