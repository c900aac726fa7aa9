"""What the kernels refuse, and that they say so before they touch anything."""

from __future__ import annotations

import numpy as np
import pytest

from prunus import kernels
from prunus.kernels import KernelError, Output, Requant


def i32(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


HALF = Requant.pow2(i32(1))
U8, S8 = Output("u8"), Output("s8")
X = np.arange(2 * 4 * 5 * 5, dtype=np.uint8).reshape(2, 4, 5, 5)
W = np.ones((6, 4, 3, 3), np.int8)
BIAS = np.zeros(6, np.int32)


def conv(x=X, w=W, bias=BIAS, requant=HALF, output=U8, **options):
    return kernels.conv2d(x, w, bias, requant, output, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"x": X[0]},
        {"bias": BIAS[:5]},
        {"group": 2},
        {"group": 0},
        {"w": np.ones((6, 4, 7, 3), np.int8)},
        {"strides": (0, 1)},
        {"strides": (1, -1)},
        {"dilations": (1, 0)},
        {"dilations": (3, 1)},
        {"pads": (-1, 0, 0, 0)},
        {"requant": Requant.pow2(i32(1, 2, 3))},
        {"requant": Requant.pow2(i32())},
    ],
)
def test_shapes_that_do_not_fit(options):
    with pytest.raises(KernelError, match="conv2d: E_SHAPE"):
        conv(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"x_zero_point": 256},
        {"x_zero_point": -1},
        {"output": Output("u8", zero_point=-1)},
        {"output": Output("s8", qmax=128)},
        {"output": Output("u8", qmin=7, qmax=6)},
        {"requant": Requant.pow2(i32(63))},
        {"requant": Requant.pow2(i32(-32))},
        {"requant": Requant.fixed(i32(2**30), i32(0))},
        {"requant": Requant.fixed(i32(0), i32(5))},
        {"requant": Requant.fixed(i32(-(2**31)), i32(5))},
        {"requant": Requant.f32(np.array([0], np.float32))},
        {"requant": Requant.f32(np.array([-1], np.float32))},
        {"requant": Requant.f32(np.array([np.nan], np.float32))},
        {"requant": Requant.f32(np.array([np.inf], np.float32))},
        {"requant": Requant.f32(np.array([1e-40], np.float32))},
    ],
)
def test_numbers_outside_of_the_contract(options):
    with pytest.raises(KernelError, match="conv2d: E_RANGE"):
        conv(**options)


@pytest.mark.parametrize(
    "options",
    [
        {"x": X.astype(np.int16)},
        {"w": W.astype(np.int16)},
        {"w": W.astype(np.uint8)},
        {"bias": BIAS.astype(np.int64)},
        {"requant": None},
    ],
)
def test_element_types_are_not_converted(options):
    with pytest.raises(TypeError):
        conv(**options)


def test_requantizations_check_their_arrays():
    with pytest.raises(KernelError, match="as many multipliers as shifts"):
        Requant.fixed(i32(1, 2), i32(1))
    with pytest.raises(TypeError, match="float32"):
        Requant.f32(np.array([0.5]))
    with pytest.raises(KernelError, match="E_TYPE"):
        Output("u4")
    assert (HALF.scheme, HALF.size) == ("pow2", 1)


REFUSED = {
    "depthwise": lambda: kernels.depthwise2d(X, np.ones((6, 1, 3, 3), np.int8), BIAS, HALF, U8),
    "gemm": lambda: kernels.gemm(X, np.ones((6, 4), np.int8), BIAS, HALF, U8),
    "gemm of nothing": lambda: kernels.gemm(np.zeros((2, 0), np.uint8), np.ones((6, 0), np.int8), BIAS, HALF, U8),
    "add with one multiplier": lambda: kernels.add(X, X, HALF, U8),
    "add of other shapes": lambda: kernels.add(X, X[:, :3], Requant.pow2(i32(1, 1)), U8),
    "add of nothing": lambda: kernels.add(X[:0], X[:0], Requant.pow2(i32(1, 1)), U8),
    "mul with many dimensions": lambda: kernels.mul(X.reshape(2, 2, 1, 2, 1, 5, 5), X, HALF, U8),
    "concat of other shapes": lambda: kernels.concat(
        [X, X[:1]], HALF, U8, axis=1, zero_points=[0, 0], copy=[True, True]
    ),
    "concat without copies": lambda: kernels.concat([X, X], HALF, U8, axis=1, zero_points=[0, 0], copy=[True]),
    "lut": lambda: kernels.lut(X, np.zeros(255, np.uint8)),
    "softmax axis": lambda: kernels.softmax(X, np.ones(256, np.uint32), 256, U8, axis=4),
    "maxpool": lambda: kernels.maxpool2d(X, (6, 1)),
    "avgpool": lambda: kernels.avgpool2d(X, np.zeros((3, 3), np.int32), HALF, U8, (2, 2)),
    "slice step": lambda: kernels.slice(X, [0, 0, 0, 0], [1, 1, 0, 1], [1, 1, 1, 1]),
    "slice shape": lambda: kernels.slice(X, [0, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 0]),
    "transpose": lambda: kernels.transpose(X, [0, 1, 1, 3]),
    "resize": lambda: kernels.resize_nearest(X, i32(), i32(0)),
}


@pytest.mark.parametrize("call", REFUSED.values(), ids=REFUSED.keys())
def test_other_kernels_refuse_shapes(call):
    with pytest.raises(KernelError, match="E_SHAPE"):
        call()


OUT_OF_RANGE = {
    "requantize entry": lambda: kernels.requantize(X, HALF, U8, entry=1),
    "add alignment": lambda: kernels.add(X, X, Requant.pow2(i32(-31, 62)), U8),
    "add alignment of multipliers": lambda: kernels.add(X, X, Requant.fixed(i32(2**30, 2**30), i32(1, 31)), U8),
    "softmax table": lambda: kernels.softmax(X, np.zeros(256, np.uint32), 256, U8),
    "softmax reciprocal": lambda: kernels.softmax(X, np.ones(256, np.uint32), 0, U8),
    "maxpool fill": lambda: kernels.maxpool2d(X, (2, 2), fill=-1),
    "avgpool index": lambda: kernels.avgpool2d(X, np.full((4, 4), 1, np.int32), HALF, U8, (2, 2)),
    "resize index": lambda: kernels.resize_nearest(X, i32(0, 5), i32(0)),
    "quantize scale": lambda: kernels.quantize(np.zeros(3, np.float32), 0.0, U8),
    "quantize zero point": lambda: kernels.quantize(np.zeros(3, np.float32), 1.0, Output("u8", 2**25)),
    "dequantize zero point": lambda: kernels.dequantize(X, 1.0, x_zero_point=300),
}


@pytest.mark.parametrize("call", OUT_OF_RANGE.values(), ids=OUT_OF_RANGE.keys())
def test_other_kernels_refuse_ranges(call):
    with pytest.raises(KernelError, match="E_RANGE"):
        call()


def test_a_copy_needs_the_same_type():
    with pytest.raises(KernelError, match="E_TYPE"):
        kernels.requantize(X, HALF, S8, copy=True)


def test_inputs_may_have_any_layout():
    strided = np.zeros((2, 5, 5, 8), np.uint8)[..., ::2].transpose(0, 3, 1, 2)
    strided[...] = X
    assert not strided.flags.c_contiguous
    np.testing.assert_array_equal(conv(x=strided), conv())
    readonly = X.copy()
    readonly.flags.writeable = False
    np.testing.assert_array_equal(conv(x=readonly), conv())


def test_an_empty_batch_is_fine():
    assert conv(x=X[:0]).shape == (0, 6, 3, 3)


def test_nan_stays_inside_of_the_range():
    y = kernels.quantize(np.array([np.nan, -np.nan], np.float32), 0.1, Output("u8", 3, 10, 20))
    assert set(y.tolist()) <= {10, 20}
