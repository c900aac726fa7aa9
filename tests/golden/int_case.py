"""Builds golden vectors of the integer contract: one small graph, its inputs, the results that `ops.py` defines.

Deterministic to the byte: numbers come from SplitMix64 keyed by the case's name, archives carry no dates and no
compression. `make_int.py` holds the cases themselves.
"""

from __future__ import annotations

import io
import math
import zipfile
import zlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops, requant, serialize

SCHEMES = {"f32": ("f32", 31), "fixed31": ("fixed", 31), "fixed18": ("fixed", 18), "pow2": ("pow2", 31)}
U8, S8 = ir.QType("u8", 0.5, 131), ir.QType("s8", 0.25, -7)
U8_POW2, S8_POW2 = ir.QType("u8", 2**-5), ir.QType("s8", 2**-4)


class Case:
    """One golden vector in the making: operators are evaluated as they are appended."""

    def __init__(self, name: str, scheme: str) -> None:
        self.name = name
        self.scheme, self.bits = SCHEMES[scheme]
        self.pow2 = scheme == "pow2"
        self.x, self.y = (U8_POW2, S8_POW2) if self.pow2 else (U8, S8)
        self.tensors: dict[str, ir.Tensor] = {}
        self.values: dict[str, np.ndarray] = {}
        self.inputs: list[str] = []
        self.ops: list[ir.Op] = []
        self.drawn = 0

    def draw(self, low: int, high: int, shape: Sequence[int]) -> np.ndarray:
        """Integers in [low, high], the next of this case's SplitMix64 stream (Steele et al., OOPSLA 2014)."""
        count = math.prod(shape)
        index = np.arange(self.drawn + 1, self.drawn + count + 1, dtype=np.uint64)
        self.drawn += count
        z = np.uint64(zlib.crc32(self.name.encode())) + index * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
        return ((z % np.uint64(high - low + 1)).astype(np.int64) + low).reshape(shape)

    def feed(self, shape: Sequence[int], quant: ir.QType | None = None, values: Any = None) -> str:
        """An integer input of shape [n, ...]: `values`, or random over the whole range of the type."""
        quant = quant or self.x
        data = self.draw(quant.qmin, quant.qmax, shape) if values is None else np.asarray(values).reshape(shape)
        return self._input(data.astype(ir.NUMPY_TYPE[quant.dtype]), quant)

    def feed_raw(self, data: np.ndarray) -> str:
        """An input that is not quantized."""
        return self._input(data, None)

    def _input(self, data: np.ndarray, quant: ir.QType | None) -> str:
        name = f"x{len(self.inputs)}"
        self.inputs.append(name)
        dtype = "float32" if quant is not None else data.dtype.name
        self.tensors[name] = ir.Tensor(name, data.shape[1:], quant, dtype)
        self.values[name] = data
        return name

    def apply(
        self, kind: type[ir.Op], *inputs: str, quant: ir.QType | None = None, shape: Sequence[int] = (), **fields: Any
    ) -> str:
        """Appends an operator; fused ones default to the whole range of their output type."""
        name = f"y{len(self.ops)}"
        if issubclass(kind, ir.Fused):
            quant = quant or self.y
            fields = {"qmin": quant.qmin, "qmax": quant.qmax} | fields
        op = kind(name=f"n{len(self.ops)}", inputs=inputs, output=name, **fields)
        self.tensors[name] = ir.Tensor(name, tuple(shape), quant)
        (value,) = ops.evaluate(self.graph(), op, tuple(self.values[i] for i in inputs))
        self.tensors[name] = ir.Tensor(name, value.shape[1:], quant)
        self.values[name] = value
        self.ops.append(op)
        return name

    def linear(self, kind: type[ir.Linear], x: str, shape: Sequence[int], **options: Any) -> str:
        """A convolution, depthwise convolution or matrix product with random weights of `shape`.

        Options: `weight`, `bias` (arrays), `weight_bits`, `requant`, and the operator's own fields.
        """
        bits = options.pop("weight_bits", 8)
        limit = (1 << (bits - 1)) - 1
        weight = options.pop("weight", None)
        weight = self.draw(-limit, limit, shape) if weight is None else weight
        bias = options.pop("bias", None)
        bias = self.draw(-3000, 3000, shape[:1]) if bias is None else bias
        spread = math.sqrt(math.prod(shape[1:])) * limit * 64  # about two standard deviations of the accumulator
        entries = [Fraction(100 * (4 + o % 5), int(spread * 6)) for o in range(shape[0])]
        fields = {"requant": self.requant(*entries)} | options
        return self.apply(
            kind,
            x,
            weight=weight.astype(np.int8),
            bias=bias.astype(np.int32),
            weight_scale=np.full(shape[0], 2**-7, np.float32),
            weight_bits=bits,
            **fields,
        )

    def requant(self, *ratios: Fraction | float) -> ir.Requant:
        """Multipliers in the case's scheme; `pow2` takes the next lower power of two."""
        exact = [Fraction(ratio) for ratio in ratios]
        if self.scheme == "f32":
            return requant.single(np.array([float(ratio) for ratio in exact], np.float32))
        if self.pow2:
            exact = [Fraction(2) ** requant.floor_log2(ratio) for ratio in exact]
        return requant.from_ratios(exact, self.scheme, self.bits)

    def graph(self) -> ir.Graph:
        """What was built so far; its output is the last tensor."""
        outputs = tuple(op.output for op in self.ops[-1:])
        return ir.Graph(self.name, tuple(self.inputs), outputs, dict(self.tensors), tuple(self.ops), self.scheme)

    def encode(self) -> bytes:
        """The case as the bytes of an .npz file."""
        graph = self.graph()
        feeds = {name: self.values[name] for name in self.inputs}
        return npz(serialize.pack_case(graph, feeds, ops.run(graph, feeds)))


def npz(arrays: dict[str, np.ndarray]) -> bytes:
    """What `numpy.savez` writes, without the time of day."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0)), member.getvalue())
    return target.getvalue()
