"""A layer as loops: the form that mapping search and timing work on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from ...compiler.model.workload import Layer
from ...compiler.model.zeros import Sparsity

PRODUCTS = ("conv", "depthwise", "gemm", "matmul")


@dataclass(frozen=True)
class Problem:
    """`g` independent convolutions of [c, h, w] with [k, c, r, s] into [k, p, q]; a matrix product has q = r = s = 1.

    A batch multiplies `q` and `w`. Densities are shares of nonzero elements. Equal problems have equal costs.
    """

    g: int
    k: int
    c: int
    p: int
    q: int
    r: int
    s: int
    h: int
    w: int
    stride_h: int = 1
    stride_w: int = 1
    weight_bits: int = 8
    input_bits: int = 8
    output_bits: int = 8
    batch: int = 1
    stored_weights: bool = True  # False: the second operand is computed too, as in attention
    sparsity: Sparsity = field(default_factory=Sparsity)
    weight_density: float = 1.0
    input_density: float = 1.0

    @property
    def macs(self) -> int:
        return self.g * self.k * self.c * self.p * self.q * self.r * self.s

    @property
    def weights(self) -> int:
        return self.g * self.k * self.c * self.r * self.s

    @property
    def inputs(self) -> int:
        return self.g * self.c * self.h * self.w

    @property
    def outputs(self) -> int:
        return self.g * self.k * self.p * self.q


def problem_of(layer: Layer) -> Problem:
    """The loops of a conv, depthwise, gemm or matmul layer."""
    if layer.op == "matmul":  # [..., m, k] x [..., k, n]: one product per leading index
        k, n = max(layer.in_channels, 1), max(layer.out_channels, 1)
        m = layer.out_shape[-2] if len(layer.out_shape) > 1 else 1
        loops = (max(layer.macs // max(k * n * m, 1), 1), n, k, m, 1, 1, 1, m, 1)
        return replace(_with_bits(layer, loops), stored_weights=False, weight_bits=layer.input_bits)
    group, (r, s), spatial = layer.group, layer.kernel, layer.out_shape[1:]
    k, c = max(layer.out_channels // group, 1), max(layer.in_channels // group, 1)
    positions = max(layer.macs // max(group * k * c * r * s, 1), 1)
    if layer.op == "gemm" or not spatial or positions != _volume(spatial) or len(spatial) > 2:
        return _with_bits(layer, (group, k, c, positions, 1, r, s, positions, 1))
    p, q = (1, spatial[0]) if len(spatial) == 1 else (spatial[0], spatial[1])
    sides = layer.in_shape[1:]
    h, w = (1, sides[0]) if len(sides) == 1 else (sides[0], sides[1])
    return replace(
        _with_bits(layer, (group, k, c, p, q, r, s, h, w)), stride_h=layer.strides[0], stride_w=layer.strides[1]
    )


def _with_bits(layer: Layer, loops: tuple[int, int, int, int, int, int, int, int, int]) -> Problem:
    return Problem(
        *loops,
        weight_bits=layer.weight_bits,
        input_bits=layer.input_bits,
        output_bits=layer.output_bits,
        sparsity=layer.sparsity,
        weight_density=round(1.0 - layer.zero_fraction, 3),
        input_density=round(layer.input_density, 3),
    )


def _volume(shape: tuple[int, ...]) -> int:
    total = 1
    for side in shape:
        total *= side
    return total
