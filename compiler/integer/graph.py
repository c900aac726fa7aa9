"""The integer graph: a small typed graph of fused integer operators, which every target lowers.

Conventions
-----------
* Tensors have ONNX's logical order (NCHW). `Tensor.shape` leaves out the batch, which is dimension 0 of every tensor.
* An activation is `u8` or `s8`, affine: real = (q - zero_point) * scale. A tensor without `quant` is float.
* Weights are `s8` in [-127, 127] with zero point 0. Biases are int32 at scale s_x * s_w.
* Every name is a plain identifier; the user's own names live in `Model.names` only.
* Operators are immutable; arrays in them are read-only.

What each operator computes is defined by `ops.py` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

Scheme = Literal["f32", "fixed", "pow2"]
IntType = Literal["u8", "s8"]
IntArray = npt.NDArray[np.integer]

NUMPY_TYPE: Mapping[str, type[np.uint8] | type[np.int8]] = {"u8": np.uint8, "s8": np.int8}


@dataclass(frozen=True)
class QType:
    """The quantization of one activation tensor: real = (q - zero_point) * scale.

    `bits` below 8 narrows the range of the stored integers: u4 holds 0..15, s4 holds -8..7.
    """

    dtype: IntType
    scale: float
    zero_point: int = 0
    bits: int = 8

    @property
    def qmin(self) -> int:
        return 0 if self.dtype == "u8" else -(1 << (self.bits - 1))

    @property
    def qmax(self) -> int:
        return (1 << self.bits) - 1 if self.dtype == "u8" else (1 << (self.bits - 1)) - 1

    @property
    def max_abs(self) -> int:
        """The largest |q - zero_point| that the type can hold."""
        return max(self.qmax - self.zero_point, self.zero_point - self.qmin)


@dataclass(frozen=True)
class Tensor:
    """A value of the graph. `shape` is that of one sample; the batch dimension comes before it."""

    name: str
    shape: tuple[int, ...]
    quant: QType | None = None
    dtype: str = "float32"  # numpy name of the element type when `quant` is None

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Requant:
    """How an int32 accumulator becomes an 8-bit value: round_half_even(acc * m), m > 0.

    `f32`: m = `multiplier` (float32). `fixed`: m = `multiplier` * 2^-`shift` with integer multipliers of `bits` bits.
    `pow2`: m = 2^-`shift`, negative shifts being left shifts. All arrays have one entry, or one per output channel
    (per distinct count for average pooling, per input for addition and concatenation).
    """

    scheme: Scheme
    multiplier: npt.NDArray[np.float32] | npt.NDArray[np.int64]
    shift: npt.NDArray[np.int32]
    bits: int = 31

    @property
    def size(self) -> int:
        return int(self.multiplier.size)

    def real(self) -> npt.NDArray[np.float64]:
        """The multiplier as a real number, one per entry."""
        return self.multiplier.astype(np.float64) * np.exp2(-self.shift.astype(np.float64))


@dataclass(frozen=True, eq=False, kw_only=True)
class Op:
    """One operator: named tensors in, one named tensor out."""

    kind: ClassVar[str] = "op"
    name: str
    inputs: tuple[str, ...]
    output: str
    origin: tuple[str, ...] = ()  # plain names of the ONNX nodes that were fused into it

    @property
    def outputs(self) -> tuple[str, ...]:
        return (self.output,)

    def arrays(self) -> dict[str, np.ndarray]:
        """The operator's constant arrays by field name (requantization flattened as `requant.multiplier`, …)."""
        found: dict[str, np.ndarray] = {}
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, np.ndarray):
                found[f.name] = value
            elif isinstance(value, Requant):
                found[f"{f.name}.multiplier"] = value.multiplier
                found[f"{f.name}.shift"] = value.shift
        return found


@dataclass(frozen=True, eq=False, kw_only=True)
class Fused(Op):
    """An operator that ends in a requantization to [qmin, qmax]; a fused Relu or Clip only narrows that range."""

    requant: Requant
    qmin: int
    qmax: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Linear(Fused):
    """A multiply-accumulate operator with constant weights: acc = bias + sum((x - z_x) * weight)."""

    weight: npt.NDArray[np.int8]
    bias: npt.NDArray[np.int32]
    weight_scale: npt.NDArray[
        np.float32
    ]  # one entry or one per output channel; for reports and for real-valued targets
    weight_bits: int = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class Window:
    """Geometry of a sliding window over [height, width]; padding contributes nothing (x = z_x)."""

    kernel: tuple[int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)  # top, left, bottom, right
    dilations: tuple[int, int] = (1, 1)

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        top, left, bottom, right = self.pads
        return tuple(  # type: ignore[return-value]
            (size + pad - dilation * (kernel - 1) - 1) // stride + 1
            for size, pad, kernel, stride, dilation in zip(
                (height, width), (top + bottom, left + right), self.kernel, self.strides, self.dilations, strict=True
            )
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class QConv(Linear):
    """2-D convolution. weight: [out, in / group, kh, kw]. 1-D convolutions are lifted to height 1 by reshapes."""

    kind: ClassVar[str] = "conv"
    window: Window
    group: int = 1


@dataclass(frozen=True, eq=False, kw_only=True)
class QDepthwise(Linear):
    """Depthwise 2-D convolution. weight: [channels * multiplier, 1, kh, kw].

    Output channel o reads input channel o // multiplier.
    """

    kind: ClassVar[str] = "depthwise"
    window: Window


@dataclass(frozen=True, eq=False, kw_only=True)
class QGemm(Linear):
    """Fully connected layer over the last dimension. weight: [out, in]; x: [..., in] -> [..., out]."""

    kind: ClassVar[str] = "gemm"


@dataclass(frozen=True, eq=False, kw_only=True)
class QAdd(Fused):
    """Addition with numpy broadcasting; `requant` has one entry per input (`fixed`: one common shift)."""

    kind: ClassVar[str] = "add"


@dataclass(frozen=True, eq=False, kw_only=True)
class QMul(Fused):
    """Elementwise product with numpy broadcasting: acc = (a - z_a) * (b - z_b)."""

    kind: ClassVar[str] = "mul"


@dataclass(frozen=True, eq=False, kw_only=True)
class QConcat(Fused):
    """Concatenation along `axis` (of the sample, batch excluded). Inputs of the output's own type are copied,
    others requantized with their entry of `requant`."""

    kind: ClassVar[str] = "concat"
    axis: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class QMaxPool(Op):
    """Max pooling; input and output share scale and zero point; padding is the type's qmin."""

    kind: ClassVar[str] = "maxpool"
    window: Window


@dataclass(frozen=True, eq=False, kw_only=True)
class QAvgPool(Fused):
    """Average pooling: acc = sum(x - z_x) over the window; `requant` has one entry per distinct count of the divisor,
    `count_index` [out_h, out_w] says which. Global pooling is a window as large as the input."""

    kind: ClassVar[str] = "avgpool"
    window: Window
    count_index: npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False, kw_only=True)
class QRequant(Fused):
    """A change of scale, or a Relu/Clip that no other operator could absorb: acc = x - z_x."""

    kind: ClassVar[str] = "requant"


@dataclass(frozen=True, eq=False, kw_only=True)
class QLut(Op):
    """Any unary function as a table of 256 outputs, indexed by q (u8) or q + 128 (s8)."""

    kind: ClassVar[str] = "lut"
    table: IntArray


@dataclass(frozen=True, eq=False, kw_only=True)
class QSoftmax(Op):
    """Integer softmax along `axis` (of the sample): T = table[max - q] in Q20, S = sum T,
    y = clip(floor((2 T R + S) / (2 S)) + z_y) with R = 1 / s_y an integer."""

    kind: ClassVar[str] = "softmax"
    table: npt.NDArray[np.uint32]
    reciprocal: int
    axis: int = -1


@dataclass(frozen=True, eq=False, kw_only=True)
class QReshape(Op):
    """Same elements in the same order, other dimensions (the output tensor's shape)."""

    kind: ClassVar[str] = "reshape"


@dataclass(frozen=True, eq=False, kw_only=True)
class QTranspose(Op):
    """Permutes the dimensions of the sample (batch excluded)."""

    kind: ClassVar[str] = "transpose"
    perm: tuple[int, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class QSlice(Op):
    """x[starts[i] : stops[i] : steps[i]] on every dimension of the sample; steps > 0."""

    kind: ClassVar[str] = "slice"
    starts: tuple[int, ...]
    stops: tuple[int, ...]
    steps: tuple[int, ...]


@dataclass(frozen=True, eq=False, kw_only=True)
class QPad(Op):
    """Constant padding with the integer `value` on every dimension of the sample."""

    kind: ClassVar[str] = "pad"
    before: tuple[int, ...]
    after: tuple[int, ...]
    value: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class QResize(Op):
    """Nearest-neighbour resize: y[c, i, j] = x[c, rows[i], columns[j]]."""

    kind: ClassVar[str] = "resize"
    rows: npt.NDArray[np.int32]
    columns: npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False, kw_only=True)
class Quantize(Op):
    """Float to integer: clip(rint(fl(x / scale)) + zero_point, qmin, qmax); a true division in float32.

    `scale` and `zero_point` are the output type's own, except where a preprocessing (subtract a mean, divide by a
    range) was folded into them. Integer inputs are converted to float32 first.
    """

    kind: ClassVar[str] = "quantize"
    scale: float
    zero_point: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Dequantize(Op):
    """Integer to float: fl((q - z) * s)."""

    kind: ClassVar[str] = "dequantize"


@dataclass(frozen=True, eq=False, kw_only=True)
class Island(Op):
    """A float region that stays in floating point, as a self-contained ONNX model with plain names.

    Not bit-exact across backends (<= 1e-5 absolute); `reason` is the code why it is not integer.
    """

    kind: ClassVar[str] = "island"
    model: bytes
    reason: str
    hint: str = ""
    extra_outputs: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        return (self.output, *self.extra_outputs)


@dataclass(frozen=True, eq=False)
class Graph:
    """An integer graph in topological order. `inputs` and `outputs` keep the model's order and are float tensors
    (or integer ones, where the model itself takes or gives integers)."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    ops: tuple[Op, ...]
    scheme: Scheme = "f32"
    producers: Mapping[str, Op] = field(init=False, repr=False)
    consumers: Mapping[str, tuple[Op, ...]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        producers: dict[str, Op] = {}
        consumers: dict[str, list[Op]] = {}
        for op in self.ops:
            for name in op.outputs:
                producers[name] = op
            for name in dict.fromkeys(op.inputs):
                consumers.setdefault(name, []).append(op)
        object.__setattr__(self, "producers", producers)
        object.__setattr__(self, "consumers", {name: tuple(ops) for name, ops in consumers.items()})

    def quant(self, name: str) -> QType:
        """The quantization of an integer tensor. Raises KeyError when the tensor is float."""
        quant = self.tensors[name].quant
        if quant is None:
            raise KeyError(f"{name} is a float tensor")
        return quant

    def integer_tensors(self) -> tuple[str, ...]:
        """Names of all integer tensors in topological order: what a lowering must reproduce bit for bit."""
        return tuple(name for op in self.ops for name in op.outputs if self.tensors[name].quant is not None)
