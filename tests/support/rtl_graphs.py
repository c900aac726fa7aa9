"""Integer graphs that are small enough to unroll: power-of-two scales, no zero points."""

from __future__ import annotations

import graphs

from prunus.compiler.integer import graph as ir


def small_cnn(seed: int = 0) -> tuple[ir.Graph, graphs.Feeds]:
    """Every kind of layer on a 4 x 4 image: convolutions with borders, a residual sum, both poolings."""
    build = graphs.Builder((2, 4, 4), "pow2", seed)
    x = build.conv(build.quantize(), 3)
    x = build.add(x, build.depthwise(x, relu=False))
    x = build.maxpool(build.conv(x, 4, stride=1))
    x = build.flatten(build.global_average(x))
    return build.finish("small_cnn", build.dequantize(build.gemm(x, 3, relu=False)))


def tiny_mlp() -> tuple[ir.Graph, graphs.Feeds]:
    """Two small fully connected layers, some weights zero."""
    return graphs.mlp("pow2", features=(4, 3, 2), density=0.7)


def perceptron(seed: int = 0) -> tuple[ir.Graph, graphs.Feeds]:
    """Three fully connected layers, half of the weights zero."""
    return graphs.mlp("pow2", seed, features=(16, 16, 16, 5), density=0.5)
