"""
Integer kernels on numpy arrays; releases the interpreter lock while they compute.
"""

from collections.abc import Sequence
from typing import Any

import numpy.typing


class KernelError(ValueError):
    pass

class Requant:
    """How an accumulator is scaled: round_half_even(acc * m), m > 0."""

    @staticmethod
    def f32(multiplier: numpy.typing.NDArray[Any]) -> Requant:
        """m = multiplier (float32), one entry or one per channel."""

    @staticmethod
    def fixed(multiplier: numpy.typing.NDArray[Any], shift: numpy.typing.NDArray[Any]) -> Requant:
        """
        m = multiplier * 2^-shift (both int32, 1 <= shift <= 62), exact in 64 bits.
        """

    @staticmethod
    def pow2(shift: numpy.typing.NDArray[Any]) -> Requant:
        """m = 2^-shift (int32, -31 <= shift <= 62)."""

    @property
    def scheme(self) -> str: ...

    @property
    def size(self) -> int: ...

class Output:
    """
    Type of an output, and the range [qmin, qmax] that a fused Relu or Clip leaves.
    """

    def __init__(self, dtype: str, zero_point: int = 0, qmin: int | None = None, qmax: int | None = None) -> None:
        """dtype is 'u8' or 's8'."""

def conv2d(x: numpy.typing.NDArray[Any], w: numpy.typing.NDArray[Any], bias: numpy.typing.NDArray[Any], requant: Requant, output: Output, *, x_zero_point: int = 0, strides: Sequence[int] = [1, 1], pads: Sequence[int] = [0, 0, 0, 0], dilations: Sequence[int] = [1, 1], group: int = 1) -> numpy.typing.NDArray[Any]:
    """
    x [n, c, h, w] (*) w [out, c / group, kh, kw] -> [n, out, oh, ow]; pads are top, left, bottom, right.
    """

def depthwise2d(x: numpy.typing.NDArray[Any], w: numpy.typing.NDArray[Any], bias: numpy.typing.NDArray[Any], requant: Requant, output: Output, *, x_zero_point: int = 0, strides: Sequence[int] = [1, 1], pads: Sequence[int] = [0, 0, 0, 0], dilations: Sequence[int] = [1, 1]) -> numpy.typing.NDArray[Any]:
    """
    x [n, c, h, w] (*) w [c * multiplier, 1, kh, kw]; output channel o reads input o // multiplier.
    """

def gemm(x: numpy.typing.NDArray[Any], w: numpy.typing.NDArray[Any], bias: numpy.typing.NDArray[Any], requant: Requant, output: Output, *, x_zero_point: int = 0) -> numpy.typing.NDArray[Any]:
    """x [..., in] @ w[out, in].T -> [..., out]."""

def add(a: numpy.typing.NDArray[Any], b: numpy.typing.NDArray[Any], requant: Requant, output: Output, *, a_zero_point: int = 0, b_zero_point: int = 0) -> numpy.typing.NDArray[Any]:
    """a * m[0] + b * m[1] with numpy broadcasting and one rounding."""

def mul(a: numpy.typing.NDArray[Any], b: numpy.typing.NDArray[Any], requant: Requant, output: Output, *, a_zero_point: int = 0, b_zero_point: int = 0) -> numpy.typing.NDArray[Any]:
    """a * b * m[0] with numpy broadcasting."""

def requantize(x: numpy.typing.NDArray[Any], requant: Requant, output: Output, *, x_zero_point: int = 0, entry: int = 0, copy: bool = False) -> numpy.typing.NDArray[Any]:
    """
    x * m[entry]; with `copy`, x has the output's type already and is only clipped.
    """

def concat(xs: Sequence[numpy.typing.NDArray[Any]], requant: Requant, output: Output, *, axis: int, zero_points: Sequence[int], copy: Sequence[bool]) -> numpy.typing.NDArray[Any]:
    """
    Concatenation along `axis` (batch included); input i is copied where copy[i], else scaled by m[i].
    """

def lut(x: numpy.typing.NDArray[Any], table: numpy.typing.NDArray[Any]) -> numpy.typing.NDArray[Any]:
    """table[x] (uint8) or table[x + 128] (int8)."""

def softmax(x: numpy.typing.NDArray[Any], table: numpy.typing.NDArray[Any], reciprocal: int, output: Output, *, axis: int = -1) -> numpy.typing.NDArray[Any]:
    """
    Integer softmax: T = table[max - x], S = sum T, floor((2 T R + S) / (2 S)) with R = reciprocal = 1 / scale.
    """

def maxpool2d(x: numpy.typing.NDArray[Any], kernel: Sequence[int], *, strides: Sequence[int] = [1, 1], pads: Sequence[int] = [0, 0, 0, 0], dilations: Sequence[int] = [1, 1], fill: int | None = None) -> numpy.typing.NDArray[Any]:
    """Padding counts as `fill`, by default the lowest value of the type."""

def avgpool2d(x: numpy.typing.NDArray[Any], count_index: numpy.typing.NDArray[Any], requant: Requant, output: Output, kernel: Sequence[int], *, x_zero_point: int = 0, strides: Sequence[int] = [1, 1], pads: Sequence[int] = [0, 0, 0, 0], dilations: Sequence[int] = [1, 1]) -> numpy.typing.NDArray[Any]:
    """Sums over windows times m[count_index]; count_index is int32 [oh, ow]."""

def slice(x: numpy.typing.NDArray[Any], start: Sequence[int], step: Sequence[int], shape: Sequence[int], *, fill: int = 0) -> numpy.typing.NDArray[Any]:
    """
    y[i] = x[start + i * step], or `fill` outside of x: slices (step > 0) and pads (start < 0).
    """

def transpose(x: numpy.typing.NDArray[Any], perm: Sequence[int]) -> numpy.typing.NDArray[Any]:
    """Dimension perm[i] of x becomes dimension i."""

def resize_nearest(x: numpy.typing.NDArray[Any], rows: numpy.typing.NDArray[Any], columns: numpy.typing.NDArray[Any]) -> numpy.typing.NDArray[Any]:
    """y[n, c, i, j] = x[n, c, rows[i], columns[j]]; indices are int32."""

def quantize(x: numpy.typing.NDArray[Any], scale: float, output: Output) -> numpy.typing.NDArray[Any]:
    """clip(round_half_even(x / scale) + zero_point)."""

def dequantize(x: numpy.typing.NDArray[Any], scale: float, *, x_zero_point: int = 0) -> numpy.typing.NDArray[Any]:
    """(x - zero_point) * scale as float32."""
