"""What a rule sees of one node: its inputs as tensors, its attributes, and how to refuse it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import onnx_ir as ir
import torch

from ...errors import UnsupportedError

Tensor: TypeAlias = torch.Tensor
Result: TypeAlias = Tensor | tuple[Tensor | None, ...]

DTYPES: Mapping[int, torch.dtype] = {
    ir.DataType.FLOAT: torch.float32,
    ir.DataType.FLOAT16: torch.float16,
    ir.DataType.BFLOAT16: torch.bfloat16,
    ir.DataType.DOUBLE: torch.float64,
    ir.DataType.BOOL: torch.bool,
    ir.DataType.UINT8: torch.uint8,
    ir.DataType.INT8: torch.int8,
    ir.DataType.INT16: torch.int16,
    ir.DataType.INT32: torch.int32,
    ir.DataType.INT64: torch.int64,
    # torch computes little in these: a wider type holds their values
    ir.DataType.UINT16: torch.int64,
    ir.DataType.UINT32: torch.int64,
    ir.DataType.UINT64: torch.int64,
    ir.DataType.INT4: torch.int8,
    ir.DataType.UINT4: torch.uint8,
}


@dataclass(frozen=True, eq=False)
class Call:
    """One node about to be computed.

    `real` is the type that stands for float32 (float64 where gradients are checked); `learning` says that batch
    normalisation uses and tracks the statistics of the batch.
    """

    op_type: str
    where: str
    attributes: Mapping[str, Any]
    inputs: Sequence[Tensor | None]
    input_types: Sequence[ir.DataType | None]
    outputs: int
    real: torch.dtype
    device: torch.device
    learning: bool = False

    def x(self, index: int = 0) -> Tensor:
        """An input that the operator requires."""
        value = self.optional(index)
        if value is None:
            raise self.unsupported(f"Its input {index} is missing.")
        return value

    def optional(self, index: int) -> Tensor | None:
        return self.inputs[index] if index < len(self.inputs) else None

    def numbers(self, index: int) -> list[int] | None:
        """An integer input (axes, a shape) as numbers; None where it is absent."""
        value = self.optional(index)
        return None if value is None else [int(item) for item in value.reshape(-1).tolist()]

    def integer(self, name: str, default: int) -> int:
        return int(self.attributes.get(name, default))

    def number(self, name: str, default: float) -> float:
        return float(self.attributes.get(name, default))

    def text(self, name: str, default: str) -> str:
        return str(self.attributes.get(name, default))

    def integers(self, name: str, default: Sequence[int] | None = None) -> list[int] | None:
        found = self.attributes.get(name, default)
        return None if found is None else [int(item) for item in found]

    def dtype(self, onnx_type: int) -> torch.dtype:
        """The torch type for an ONNX type; float32 is the type that the whole graph is computed in."""
        if onnx_type == ir.DataType.FLOAT:
            return self.real
        if onnx_type not in DTYPES:
            raise self.unsupported(f"torch has no type for {ir.DataType(onnx_type).name}.")
        return DTYPES[onnx_type]

    def unsupported(self, why: str) -> UnsupportedError:
        return UnsupportedError(
            f"{self.op_type} cannot be trained in this form.",
            code="not-trainable",
            where=self.where,
            why=why,
            hint="Train the model where it was made, or export this part in another form.",
        )


Rule = Callable[[Call], Result]


def along(vector: Tensor, axis: int, rank: int) -> Tensor:
    """A vector [n] shaped to broadcast along one axis of a tensor of `rank` dimensions."""
    return vector.reshape([-1 if index == axis % rank else 1 for index in range(rank)])


def axes_of(axes: Sequence[int] | None, rank: int) -> list[int]:
    """Axes counted from the front, in order; all of them where none are given."""
    return list(range(rank)) if axes is None else sorted(axis % rank for axis in axes)
