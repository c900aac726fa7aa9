"""What the golden vectors hold: one function per case, named after the operator and what is special about it."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
from int_case import S8, Case

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import requant

INT32_MAX = 2**31 - 1
U4, S4, S4_POW2 = ir.QType("u8", 0.5, 5, bits=4), ir.QType("s8", 0.5, -1, bits=4), ir.QType("s8", 2**-3, bits=4)
Window = ir.Window


def half(case: Case) -> ir.Requant:
    """A multiplier of exactly 1/2."""
    return case.requant(Fraction(1, 2))


def every_value(quant: ir.QType) -> np.ndarray:
    """All values of a type: halved, every second one is an exact tie, of either sign."""
    return np.arange(quant.qmin, quant.qmax + 1)


# -- multiply-accumulate ------------------------------------------------------------------------------------------


def conv(case: Case) -> None:
    case.linear(ir.QConv, case.feed((2, 3, 7, 6)), (5, 3, 3, 3), window=Window(kernel=(3, 3), pads=(1, 1, 1, 1)))


def conv_asymmetric(case: Case) -> None:
    geometry = Window(kernel=(3, 2), strides=(2, 1), pads=(0, 1, 2, 0))
    case.linear(ir.QConv, case.feed((1, 2, 8, 5)), (4, 2, 3, 2), window=geometry)


def conv_dilated(case: Case) -> None:
    geometry = Window(kernel=(3, 3), dilations=(2, 3), pads=(2, 3, 2, 3), strides=(1, 2))
    case.linear(ir.QConv, case.feed((1, 2, 7, 9)), (3, 2, 3, 3), window=geometry)


def conv_grouped(case: Case) -> None:
    x = case.feed((1, 6, 4, 5))
    case.linear(ir.QConv, x, (9, 2, 2, 3), group=3, window=Window(kernel=(2, 3), pads=(1, 0, 0, 1)))


def conv_pointwise(case: Case) -> None:
    """More output channels than a kernel's tile holds, and a single pixel left over."""
    case.linear(ir.QConv, case.feed((1, 4, 3, 3)), (133, 4, 1, 1), window=Window(kernel=(1, 1)))


def conv_deep(case: Case) -> None:
    """More products per output than a kernel's tile holds."""
    case.linear(ir.QConv, case.feed((1, 62, 4, 3)), (2, 62, 3, 3), window=Window(kernel=(3, 3), pads=(1, 1, 1, 1)))


def conv_large_window(case: Case) -> None:
    x = case.feed((1, 1, 25, 24))
    case.linear(ir.QConv, x, (2, 1, 24, 24), window=Window(kernel=(24, 24), pads=(0, 0, 1, 1)))


def conv_one_dimensional(case: Case) -> None:
    geometry = Window(kernel=(1, 5), strides=(1, 2), pads=(0, 2, 0, 2))
    case.linear(ir.QConv, case.feed((2, 3, 1, 20)), (4, 3, 1, 5), window=geometry)


def conv_weights(bits: int) -> Callable[[Case], None]:
    def recipe(case: Case) -> None:
        x = case.feed((1, 4, 5, 5), case.x if case.pow2 else U4)
        case.linear(ir.QConv, x, (4, 4, 3, 3), weight_bits=bits, window=Window(kernel=(3, 3)))

    return recipe


def conv_narrow(case: Case) -> None:
    """Activations of four bits on both sides."""
    out = S4_POW2 if case.pow2 else S4
    geometry = Window(kernel=(3, 3), pads=(1, 1, 1, 1))
    case.linear(ir.QConv, case.feed((1, 3, 5, 5), out), (4, 3, 3, 3), quant=out, window=geometry)


def conv_zero_rows(case: Case) -> None:
    """Pruned channels: rows of zeros, one of them with a bias."""
    weight = case.draw(-127, 127, (6, 3, 2, 2))
    weight[[1, 4]] = 0
    bias = case.draw(-3000, 3000, (6,))
    bias[1] = 0
    case.linear(ir.QConv, case.feed((1, 3, 4, 4)), weight.shape, weight=weight, bias=bias, window=Window(kernel=(2, 2)))


def conv_relu(case: Case) -> None:
    quant = ir.QType("u8", 0.25, 9)
    x = case.feed((1, 3, 4, 4))
    case.linear(ir.QConv, x, (4, 3, 3, 3), quant=quant, qmin=9, qmax=201, window=Window(kernel=(3, 3)))


def conv_per_tensor(case: Case) -> None:
    x, one = case.feed((1, 3, 4, 4)), case.requant(Fraction(1, 173))
    case.linear(ir.QConv, x, (4, 3, 3, 3), requant=one, window=Window(kernel=(3, 3)))


def conv_extreme(case: Case) -> None:
    """Accumulators as close to +-(2^31 - 1) as the bound allows, in the centred and in the folded form."""
    quant = ir.QType("u8", 0.5, 0)
    x = case.feed((1, 4, 1, 4), quant, np.where(np.arange(16) % 4 == 0, 0, 255) - (np.arange(16) % 4 == 3))
    weight = np.array([127, -127, 127, -127]).reshape(4, 1, 1, 1) * np.ones((4, 4, 1, 1), np.int64)
    room = INT32_MAX - 4 * 127 * 255
    ratios = [Fraction(odd, 2**32) for odd in (195, 131, 191, 203)]  # 2^31 of them would be a tie, 2^31 - 1 are not
    case.linear(
        ir.QConv,
        x,
        weight.shape,
        weight=weight,
        bias=np.array([room, -room, -room, room]),
        requant=case.requant(*ratios),
        window=Window(kernel=(1, 1)),
    )


def depthwise(case: Case) -> None:
    case.linear(ir.QDepthwise, case.feed((2, 4, 6, 7)), (4, 1, 3, 3), window=Window(kernel=(3, 3), pads=(1, 1, 1, 1)))


def depthwise_multiplier(case: Case) -> None:
    geometry = Window(kernel=(3, 3), pads=(1, 1, 1, 1), strides=(2, 2))
    case.linear(ir.QDepthwise, case.feed((1, 3, 6, 7)), (6, 1, 3, 3), window=geometry)


def depthwise_dilated(case: Case) -> None:
    geometry = Window(kernel=(2, 3), dilations=(3, 2), pads=(0, 3, 2, 1), strides=(1, 2))
    case.linear(ir.QDepthwise, case.feed((1, 2, 6, 9)), (2, 1, 2, 3), window=geometry)


def depthwise_wide(case: Case) -> None:
    """Rows longer than a kernel's tile."""
    x = case.feed((1, 2, 3, 70))
    case.linear(ir.QDepthwise, x, (2, 1, 3, 5), window=Window(kernel=(3, 5), pads=(1, 2, 1, 2)))


def gemm(case: Case) -> None:
    case.linear(ir.QGemm, case.feed((3, 19)), (7, 19))


def gemm_batched(case: Case) -> None:
    case.linear(ir.QGemm, case.feed((2, 5, 12)), (6, 12))


def gemm_deep(case: Case) -> None:
    case.linear(ir.QGemm, case.feed((2, 1100)), (3, 1100))


def gemm_ties(case: Case) -> None:
    values = every_value(case.x)
    case.linear(
        ir.QGemm, case.feed((256, 1), values=values), (2, 1), weight=np.array([[1], [-1]]), bias=np.array([0, 1]),
        requant=half(case),
    )  # fmt: skip


def gemm_left_shift(case: Case) -> None:
    x = case.feed((4, 3), values=case.draw(0, 3, (4, 3)))
    left = case.requant(8, 4, 1, 2)
    case.linear(ir.QGemm, x, (4, 3), weight=case.draw(-2, 2, (4, 3)), bias=np.array([1, -1, 0, 2]), requant=left)


# -- elementwise --------------------------------------------------------------------------------------------------


def sum_requant(case: Case, a: Fraction, b: Fraction) -> ir.Requant:
    """Two multipliers; `fixed` ones share a shift."""
    if case.scheme == "fixed":
        return requant.inputs_of_sum([float(a), float(b)], 1.0, "fixed", case.bits)
    return case.requant(a, b)


def add(case: Case) -> None:
    other = ir.QType("s8", 2**-7) if case.pow2 else S8
    a, b = case.feed((2, 3, 5, 4)), case.feed((2, 3, 5, 4), other)
    case.apply(ir.QAdd, a, b, requant=sum_requant(case, Fraction(31, 53), Fraction(19, 41)))


def add_broadcast(case: Case) -> None:
    a, b = case.feed((2, 3, 5, 4)), case.feed((2, 3, 1, 1))
    case.apply(ir.QAdd, a, b, requant=sum_requant(case, Fraction(31, 53), Fraction(19, 41)))


def add_both_broadcast(case: Case) -> None:
    a, b = case.feed((2, 1, 5)), case.feed((2, 4, 1))
    case.apply(ir.QAdd, a, b, requant=sum_requant(case, Fraction(31, 53), Fraction(19, 41)))


def add_ties(case: Case) -> None:
    """Quarters: exact ties, and sums that a rounding of each addend would miss."""
    a, b = case.feed((1, 256), values=every_value(case.x)), case.feed((1, 256))
    case.apply(ir.QAdd, a, b, requant=sum_requant(case, Fraction(1, 4), Fraction(1, 2)))


def add_left_shift(case: Case) -> None:
    a, b = case.feed((1, 40), values=case.draw(0, 9, (1, 40))), case.feed((1, 40), values=case.draw(0, 5, (1, 40)))
    case.apply(ir.QAdd, a, b, requant=case.requant(2, 8))


def mul(case: Case) -> None:
    a, b = case.feed((2, 3, 4, 4)), case.feed((2, 3, 4, 4))
    case.apply(ir.QMul, a, b, requant=case.requant(Fraction(1, 151)))


def mul_broadcast(case: Case) -> None:
    a, b = case.feed((2, 4, 3, 3)), case.feed((2, 4, 1, 1), S8 if not case.pow2 else case.y)
    case.apply(ir.QMul, a, b, requant=case.requant(Fraction(1, 151)))


def change(case: Case) -> None:
    case.apply(ir.QRequant, case.feed((1, 256), values=every_value(case.x)), requant=case.requant(Fraction(97, 113)))


def change_ties(case: Case) -> None:
    case.apply(ir.QRequant, case.feed((1, 256), values=every_value(case.x)), requant=half(case))


def change_left_shift(case: Case) -> None:
    case.apply(ir.QRequant, case.feed((1, 256), case.y, every_value(case.y)), requant=case.requant(4))


def change_clip(case: Case) -> None:
    values = every_value(case.y)
    case.apply(ir.QRequant, case.feed((1, 256), case.y, values), requant=case.requant(1), qmin=-20, qmax=33)


def concat(case: Case) -> None:
    """The first input has the output's own type and is copied, the second is scaled."""
    a, b = case.feed((2, 2, 3, 3), case.y), case.feed((2, 4, 3, 3))
    case.apply(ir.QConcat, a, b, axis=0, requant=case.requant(1, Fraction(5, 7)))


def concat_last(case: Case) -> None:
    a, b, c = case.feed((2, 3, 2)), case.feed((2, 3, 5)), case.feed((2, 3, 1), S4)
    ratios = (Fraction(1, 3), Fraction(2, 3), Fraction(9, 4))
    case.apply(ir.QConcat, a, b, c, axis=1, requant=case.requant(*ratios), qmin=-100, qmax=100)


def lut(source: ir.QType, target: ir.QType) -> Callable[[Case], None]:
    def recipe(case: Case) -> None:
        x = case.feed((1, source.qmax - source.qmin + 1), source, every_value(source))
        table = case.draw(target.qmin, target.qmax, (256,)).astype(ir.NUMPY_TYPE[target.dtype])
        case.apply(ir.QLut, x, quant=target, table=table)

    return recipe


def softmax(case: Case, shape: tuple[int, ...], axis: int, quant: ir.QType) -> None:
    table = np.array([round(math.exp(-i / 16) * 2**20) for i in range(256)], np.uint32)
    out = ir.QType("u8", 2**-8) if quant.dtype == "u8" else ir.QType("s8", 2**-8, -128)
    case.apply(ir.QSoftmax, case.feed(shape, quant), quant=out, table=table, reciprocal=256, axis=axis)


def softmax_uniform(case: Case) -> None:
    """512 equal inputs: 256 / 512 is a half, which this rounding, unlike all others, takes up."""
    x = case.feed((1, 512), values=np.full(512, 7))
    table = np.full(256, 2**20, np.uint32)
    case.apply(ir.QSoftmax, x, quant=ir.QType("u8", 2**-8), table=table, reciprocal=256, axis=0)


# -- pooling and data movement ------------------------------------------------------------------------------------


def maxpool(case: Case) -> None:
    case.apply(ir.QMaxPool, case.feed((2, 3, 6, 7)), quant=case.x, window=Window(kernel=(2, 2), strides=(2, 2)))


def maxpool_padded(quant: ir.QType) -> Callable[[Case], None]:
    def recipe(case: Case) -> None:
        geometry = Window(kernel=(3, 2), strides=(1, 2), pads=(2, 1, 1, 0), dilations=(2, 1))
        case.apply(ir.QMaxPool, case.feed((1, 3, 6, 5), quant), quant=quant, window=geometry)

    return recipe


def average(case: Case, x: str, geometry: ir.Window, count_index: np.ndarray, counts: list[int]) -> None:
    """`counts` are the distinct divisors; `pow2` targets divide by fixed(16) multipliers."""
    m = requant.average(1.0, 2.0 if case.pow2 else 1.3, counts, case.scheme, case.bits)
    case.apply(ir.QAvgPool, x, window=geometry, requant=m, count_index=count_index.astype(np.int32))


def avgpool(case: Case) -> None:
    x = case.feed((2, 3, 6, 4))
    average(case, x, Window(kernel=(2, 3), strides=(2, 1)), np.zeros((3, 2)), [6])


def avgpool_counts(case: Case) -> None:
    """Borders count fewer elements: 4 in the corners, 6 along the edges, 9 inside."""
    edge = np.array([1, 0, 0, 0, 1])
    index = 2 - (edge[:, None] + edge[None, :])
    average(case, case.feed((1, 2, 5, 5)), Window(kernel=(3, 3), pads=(1, 1, 1, 1)), index, [4, 6, 9])


def avgpool_global(case: Case) -> None:
    average(case, case.feed((2, 5, 7, 7)), Window(kernel=(7, 7)), np.zeros((1, 1)), [49])


def reshape(case: Case) -> None:
    case.apply(ir.QReshape, case.feed((2, 3, 4, 5)), quant=case.x, shape=(12, 5))


def transpose(case: Case) -> None:
    case.apply(ir.QTranspose, case.feed((2, 3, 4, 5)), quant=case.x, perm=(1, 2, 0))


def cut(case: Case) -> None:
    fields = {"starts": (1, 0, 2), "stops": (3, 4, 9), "steps": (1, 2, 3)}
    case.apply(ir.QSlice, case.feed((2, 3, 4, 9)), quant=case.x, **fields)


def pad(case: Case) -> None:
    fields = {"before": (0, 1, 2), "after": (1, 0, 3), "value": case.y.zero_point}
    case.apply(ir.QPad, case.feed((2, 2, 3, 4), case.y), quant=case.y, **fields)


def resize(case: Case) -> None:
    fields = {"rows": np.array([0, 0, 1, 1, 2, 2], np.int32), "columns": np.array([0, 0, 1, 2, 3], np.int32)}
    case.apply(ir.QResize, case.feed((1, 2, 3, 4)), quant=case.x, **fields)


# -- the borders and a network ------------------------------------------------------------------------------------


def quantize(quant: ir.QType) -> Callable[[Case], None]:
    def recipe(case: Case) -> None:
        ties = np.arange(-300, 300) * (quant.scale / 2)
        extremes = [np.inf, -np.inf, 1e30, -1e30, 3e9, -3e9, 0.0, -0.0, np.finfo(np.float32).tiny, 2.0**23 + 1]
        other = case.draw(-(2**20), 2**20, (100,)) / 2**13
        x = case.feed_raw(np.concatenate([ties, extremes, other]).astype(np.float32)[None])
        case.apply(ir.Quantize, x, quant=quant, scale=quant.scale, zero_point=quant.zero_point)

    return recipe


def quantize_image(case: Case) -> None:
    """A preprocessing folded into the border: bytes of an image, and a zero point far outside of the type."""
    x = case.feed_raw(np.arange(256, dtype=np.uint8)[None])
    case.apply(ir.Quantize, x, quant=S8, scale=0.73, zero_point=-173)


def dequantize(quant: ir.QType) -> Callable[[Case], None]:
    def recipe(case: Case) -> None:
        scaled = ir.QType(quant.dtype, 0.0123, quant.zero_point)
        case.apply(ir.Dequantize, case.feed((1, 256), scaled, every_value(scaled)))

    return recipe


def network(case: Case) -> None:
    """Float image to float scores: quantize, convolve, add a shortcut, average, classify, dequantize."""
    image = case.feed_raw((case.draw(-512, 512, (2, 3, 8, 8)) / 64).astype(np.float32))
    x = case.apply(ir.Quantize, image, quant=case.x, scale=case.x.scale, zero_point=case.x.zero_point)
    geometry = Window(kernel=(3, 3), pads=(1, 1, 1, 1))
    a = case.linear(ir.QConv, x, (4, 3, 3, 3), window=geometry)
    b = case.linear(ir.QDepthwise, a, (4, 1, 3, 3), window=geometry)
    total = case.apply(ir.QAdd, a, b, requant=sum_requant(case, Fraction(3, 5), Fraction(3, 7)))
    m = requant.average(1.0, 0.125, [64], case.scheme, case.bits)
    window = Window(kernel=(8, 8))
    pooled = case.apply(ir.QAvgPool, total, window=window, requant=m, count_index=np.zeros((1, 1), np.int32))
    flat = case.apply(ir.QReshape, pooled, quant=case.y, shape=(4,))
    case.apply(ir.Dequantize, case.linear(ir.QGemm, flat, (3, 4)))
