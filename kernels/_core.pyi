"""
Integer kernels on numpy arrays; releases the interpreter lock while they compute.
"""

from collections.abc import Callable, Sequence
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

class Pool:
    """
    Threads to run networks with, the caller's included; one run at a time.
    """

    def __init__(self, threads: int) -> None: ...

    @property
    def threads(self) -> int: ...

class Network:
    """
    Operators planned together: defined one by one (or loaded), planned once, run any number of times.

    Operators take ids of tensors and return the id of their result; arguments are those of the functions of the
    same name, and so are the results, bit for bit. Runs release the interpreter lock and may overlap.
    """

    def __init__(self) -> None: ...

    @staticmethod
    def load(packed: bytes) -> Network:
        """A network from the bytes that `save` wrote."""

    def save(self) -> bytes:
        """The definition as bytes, the same on every machine; see FORMAT.md."""

    def input(self, dtype: str, shape: Sequence[int]) -> int:
        """
        A new input, 'u8', 's8' or 'f32', with its shape, the batch first. Returns its id.
        """

    def output(self, id: int) -> None:
        """Makes a tensor an output of the network."""

    def conv2d(self, x: int, w: numpy.typing.NDArray[Any], bias: numpy.typing.NDArray[Any], requant: Requant, output: Output, *, x_zero_point: int = 0, strides: Sequence[int] = [1, 1], pads: Sequence[int] = [0, 0, 0, 0], dilations: Sequence[int] = [1, 1], group: int = 1) -> int:
        """x [n, c, h, w] (*) w [out, c / group, kh, kw] -> [n, out, oh, ow]."""

    def depthwise2d(self, x: int, w: numpy.typing.NDArray[Any], bias: numpy.typing.NDArray[Any], requant: Requant, output: Output, *, x_zero_point: int = 0, strides: Sequence[int] = [1, 1], pads: Sequence[int] = [0, 0, 0, 0], dilations: Sequence[int] = [1, 1]) -> int:
        """x [n, c, h, w] (*) w [c * multiplier, 1, kh, kw]."""

    def gemm(self, x: int, w: numpy.typing.NDArray[Any], bias: numpy.typing.NDArray[Any], requant: Requant, output: Output, *, x_zero_point: int = 0) -> int:
        """x [..., in] @ w[out, in].T -> [..., out]."""

    def add(self, a: int, b: int, requant: Requant, output: Output, *, a_zero_point: int = 0, b_zero_point: int = 0) -> int:
        """a * m[0] + b * m[1] with numpy broadcasting and one rounding."""

    def mul(self, a: int, b: int, requant: Requant, output: Output, *, a_zero_point: int = 0, b_zero_point: int = 0) -> int:
        """a * b * m[0] with numpy broadcasting."""

    def requantize(self, x: int, requant: Requant, output: Output, *, x_zero_point: int = 0) -> int:
        """x * m[0]."""

    def concat(self, xs: Sequence[int], requant: Requant, output: Output, *, axis: int, zero_points: Sequence[int], copy: Sequence[bool]) -> int:
        """
        Concatenation along `axis`; input i is copied where copy[i], else scaled by m[i].
        """

    def lut(self, x: int, table: numpy.typing.NDArray[Any]) -> int:
        """table[x] (uint8) or table[x + 128] (int8); 256 entries."""

    def softmax(self, x: int, table: numpy.typing.NDArray[Any], reciprocal: int, output: Output, *, axis: int = -1) -> int:
        """
        Integer softmax with a table of 256 uint32 in Q20; reciprocal = 1 / scale of the output.
        """

    def quantize(self, x: int, scale: float, output: Output) -> int:
        """Float input to 8 bits."""

    def dequantize(self, x: int, scale: float, *, x_zero_point: int = 0) -> int:
        """8 bits to a float output."""

    def maxpool2d(self, x: int, kernel: Sequence[int], *, strides: Sequence[int] = [1, 1], pads: Sequence[int] = [0, 0, 0, 0], dilations: Sequence[int] = [1, 1], fill: int | None = None) -> int:
        """Padding counts as `fill`, by default the type's lowest value."""

    def avgpool2d(self, x: int, count_index: numpy.typing.NDArray[Any], requant: Requant, output: Output, kernel: Sequence[int], *, x_zero_point: int = 0, strides: Sequence[int] = [1, 1], pads: Sequence[int] = [0, 0, 0, 0], dilations: Sequence[int] = [1, 1]) -> int:
        """Sums over windows times m[count_index]; count_index is int32 [oh, ow]."""

    def slice(self, x: int, start: Sequence[int], step: Sequence[int], shape: Sequence[int], *, fill: int = 0) -> int:
        """
        y[i] = x[start + i * step], or `fill` outside of x; one entry per dimension, the batch included.
        """

    def transpose(self, x: int, perm: Sequence[int]) -> int:
        """Dimension perm[i] of x becomes dimension i."""

    def resize_nearest(self, x: int, rows: numpy.typing.NDArray[Any], columns: numpy.typing.NDArray[Any]) -> int:
        """y[n, c, i, j] = x[n, c, rows[i], columns[j]]; indices are int32."""

    def reshape(self, x: int, shape: Sequence[int]) -> int:
        """The same elements with other dimensions."""

    def plan(self, *, isa: str | None = None, kernel: str | None = None, timed: int = 0, cache: str | None = None, batch: int = 0) -> None:
        """
        Chooses kernels, layouts and memory for this machine; nothing can be defined afterwards.

        isa: instruction sets to choose from, comma-separated, all by default. kernel: the one kernel that every layer
        of its family must use. timed: 0 trusts the limit model, n runs the n best candidates of each layer. cache: a
        file that keeps what was timed. batch: replaces the first dimension (defined as 1) of all tensors.
        """

    def run(self, inputs: Sequence[numpy.typing.NDArray[Any]], *, pool: Pool | None = None) -> list[numpy.typing.NDArray[Any]]:
        """
        Runs the plan on arrays of the defined types and shapes; new arrays, one per output, in order.
        """

    def run_into(self, inputs: Sequence[numpy.typing.NDArray[Any]], outputs: Sequence[numpy.typing.NDArray[Any]], *, pool: Pool | None = None) -> None:
        """
        As `run`, into arrays of the caller (C order, writable, overlapping nothing).
        """

    def profile(self, inputs: Sequence[numpy.typing.NDArray[Any]], *, pool: Pool | None = None) -> list[float]:
        """
        Runs once; seconds of each step of the plan, in the order of `describe`.
        """

    def describe(self) -> dict[str, Any]:
        """
        The plan: operator, kernel, layout, density, predicted and timed seconds of every step, and the arena.
        """

    @property
    def workspace_bytes(self) -> int:
        """Scratch memory of one run, in bytes; after `plan`."""

    @property
    def inputs(self) -> list[tuple[str, list[int]]]:
        """Element type and shape of each input."""

    @property
    def outputs(self) -> list[tuple[str, list[int]]]:
        """Element type and shape of each output."""

def weight_forms() -> list[str]:
    """Names of the lossless forms of weights in packed files."""

def smallest_weight_form(w: numpy.typing.NDArray[Any]) -> str:
    """The form that a packed file would choose."""

def encode_weights(w: numpy.typing.NDArray[Any], form: str) -> numpy.typing.NDArray[Any]:
    """int8 [out, in, ...] as the bytes of a form."""

def decode_weights(data: numpy.typing.NDArray[Any], form: str, shape: Sequence[int]) -> numpy.typing.NDArray[Any]:
    """The inverse of `encode_weights`."""

def isas() -> list[str]:
    """Instruction sets that are used here, the preferred first."""

def cpu_description() -> str:
    """Processor and its instruction sets."""

def kernel_rows() -> list[tuple[str, str, str, int, int, bool]]:
    """
    Family, name, instruction set, block rows, block columns, usable: every kernel.
    """

def rank_layer(x_shape: Sequence[int], w_shape: Sequence[int], strides: Sequence[int], pads: Sequence[int], dilations: Sequence[int], group: int, density: float, block: Sequence[int], kernel: str) -> tuple[list[tuple[str, float]], float]:
    """
    Kernels with predicted seconds, fastest first, and the best dense time.
    """

def measure_kernels(budget_seconds: float) -> str:
    """
    Fits the limit model to this machine; the cache file, or '' where none can be written.
    """

def kernel_costs() -> dict[str, list[float]]:
    """
    Constants of the limit model: MAC/s, seconds per block, per output and per call of every kernel.
    """

def cost_source() -> str:
    """Where the limit model's constants come from."""

def reload_costs() -> None:
    """Reads the cache file again."""

def unpack_model(packed: bytes, zstd: Callable[[bytes, int], bytes] | None = None, *, limit_bytes: int = 2147483648) -> bytes:
    """
    The ONNX file in a packed model (model.prz), byte for byte.

    zstd(frame, size) decompresses one frame to `size` bytes, for example
    `lambda frame, size: zstandard.decompress(frame)`; without it, files with such sections are refused. What it
    raises passes through; everything else that is wrong with the file is a KernelError.
    """
