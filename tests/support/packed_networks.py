"""Small networks through every operator of the packed file."""

from __future__ import annotations

import numpy as np

from prunus.kernels import Network, Output, Requant

U8, S8 = Output("u8", 3), Output("s8", -5, -100, 90)


def f32(*values: float) -> Requant:
    return Requant.f32(np.array(values, np.float32))


def i32(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def sparse_weight(seed: int, *shape: int, density: float = 0.5) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.integers(-127, 128, shape) * (rng.random(shape) < density)).astype(np.int8)


def convolutions() -> Network:
    """conv2d (grouped, too), depthwise2d, add, maxpool2d, avgpool2d, reshape, gemm, quantize, dequantize."""
    net = Network()
    x = net.input("f32", [1, 3, 6, 5])
    q = net.quantize(x, 0.05, U8)
    w = sparse_weight(0, 8, 3, 3, 3)
    a = net.conv2d(q, w, i32(*range(8)), f32(*[2**-7] * 8), S8, x_zero_point=3, pads=(1, 1, 1, 1))
    w = sparse_weight(1, 8, 4, 1, 1)
    fixed = Requant.fixed(i32(2**30), i32(36))
    b = net.conv2d(a, w, i32(*[7] * 8), fixed, S8, x_zero_point=-5, group=2)
    c = net.add(a, b, f32(0.5, 0.75), Output("s8", 4), a_zero_point=-5, b_zero_point=-5)
    w = sparse_weight(2, 8, 1, 3, 3)
    d = net.depthwise2d(
        c, w, i32(*[0] * 8), Requant.pow2(i32(6)), U8, x_zero_point=4, strides=(2, 1), pads=(1, 1, 1, 1)
    )
    e = net.maxpool2d(d, (2, 2))
    count_index = np.zeros((1, 2), np.int32)
    f = net.avgpool2d(e, count_index, f32(0.25), U8, (2, 3), x_zero_point=3)
    g = net.reshape(f, [1, 16])
    h = net.gemm(g, sparse_weight(3, 10, 16), i32(*range(10)), f32(2**-6), Output("s8"), x_zero_point=3)
    net.output(net.dequantize(h, 0.125))
    net.output(c)
    return net


def movements() -> Network:
    """mul, requantize, concat, lut, softmax, slice, transpose, resize_nearest; two inputs."""
    net = Network()
    x, y = net.input("u8", [1, 4, 3, 2]), net.input("s8", [1, 4, 3, 2])
    a = net.requantize(x, f32(0.5), S8, x_zero_point=3)
    b = net.concat([a, y], f32(0.5, 0.25), S8, axis=1, zero_points=[-5, 0], copy=[True, False])
    c = net.mul(b, b, f32(2**-6), Output("u8", 9), a_zero_point=-5, b_zero_point=-5)
    d = net.slice(c, [0, 1, -1, 0], [1, 2, 1, 1], [1, 3, 4, 2], fill=9)
    e = net.transpose(d, [0, 2, 3, 1])
    f = net.resize_nearest(e, i32(0, 0, 1, 1), i32(2, 1, 0))
    g = net.lut(f, np.arange(256, dtype=np.uint8)[::-1].copy())
    table = np.linspace(2**20, 1, 256).astype(np.uint32)
    net.output(net.softmax(g, table, 256, Output("u8"), axis=1))
    net.output(g)
    return net


NETWORKS = {"convolutions": convolutions, "movements": movements}


def random_inputs(net: Network, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    types = {"u8": np.uint8, "s8": np.int8, "f32": np.float32}
    return [
        (rng.normal(0, 5, shape) if dtype == "f32" else rng.integers(-128, 128, shape)).astype(types[dtype])
        for dtype, shape in net.inputs
    ]
