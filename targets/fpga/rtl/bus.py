"""How integers travel: packed into a bus or into bytes, the first element in the lowest bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ....compiler.integer import graph as ir

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Field:
    """One tensor on a bus: `size` integers of `bits` bits each."""

    tensor: str
    size: int
    bits: int
    signed: bool


@dataclass(frozen=True)
class Bus:
    """Tensors after one another."""

    fields: tuple[Field, ...]

    @classmethod
    def of(cls, graph: ir.Graph, names: tuple[str, ...]) -> Bus:
        """The bus of some integer tensors of a graph."""
        types = ((name, graph.quant(name)) for name in names)
        return cls(tuple(Field(name, graph.tensors[name].size, q.bits, q.dtype == "s8") for name, q in types))

    @property
    def bits(self) -> int:
        return sum(field.size * field.bits for field in self.fields)

    @property
    def bytes(self) -> int:
        return (self.bits + 7) // 8

    @property
    def elements(self) -> tuple[tuple[int, bool], ...]:
        """(bits, signed) of every element, in order."""
        return tuple((field.bits, field.signed) for field in self.fields for _ in range(field.size))

    def pack(self, values: dict[str, Array]) -> npt.NDArray[np.uint8]:
        """[samples, bytes] of integer tensors [samples, ...]."""
        bits = []
        for field in self.fields:
            numbers = values[field.tensor].reshape(len(values[field.tensor]), -1).astype(np.int64)
            bits.append(((numbers[..., None] >> np.arange(field.bits)) & 1).reshape(len(numbers), -1))
        return np.packbits(np.concatenate(bits, axis=1).astype(np.uint8), axis=1, bitorder="little")

    def unpack(self, data: npt.NDArray[np.uint8]) -> dict[str, Array]:
        """Flat integer tensors [samples, size] of bytes [samples, bytes]."""
        bits = np.unpackbits(data, axis=1, bitorder="little").astype(np.int64)
        found, start = {}, 0
        for field in self.fields:
            part = bits[:, start : start + field.size * field.bits].reshape(len(data), field.size, field.bits)
            weights = 1 << np.arange(field.bits)
            if field.signed:
                weights[-1] = -weights[-1]
            found[field.tensor] = part @ weights
            start += field.size * field.bits
        return found
