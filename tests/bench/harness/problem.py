"""Random int8 problems: one layer with weights of a chosen density, its input, and what the reference computes.

Activations are u8 with zero point 0 (as after a Relu) at one scale for input and output, weights int8 per channel.
Inputs stay below 128, so that engines whose products saturate in 16 bits compute the same numbers as the others.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops

from .shapes import Layer

SCALE = np.float32(1 / 64)  # of input and output
OUTPUT_SPREAD = 40.0  # standard deviation of the outputs before clipping


@dataclass(frozen=True, eq=False)
class Problem:
    """A layer with numbers in it. `x` is [1, in_c, height, width], or [rows, in_c] for a fully connected layer."""

    layer: Layer
    density: float
    x: npt.NDArray[np.uint8]
    weight: npt.NDArray[np.int8]
    weight_scale: npt.NDArray[np.float32]
    bias: npt.NDArray[np.int32]

    @property
    def multiplier(self) -> npt.NDArray[np.float32]:
        """One per output channel: fl(fl(s_x * s_w) / s_y)."""
        return (SCALE * self.weight_scale) / SCALE


def block_mask(
    rows: int, columns: int, block: tuple[int, int], density: float, rng: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """[rows, columns]; every group of block[0] rows keeps the same share of its blocks of block[1] columns.

    At least one block of a group survives. Ragged blocks at the borders count like others.
    """
    groups, blocks = -(-rows // block[0]), -(-columns // block[1])
    keep = max(1, round(blocks * density))
    order = np.argsort(rng.random((groups, blocks)), axis=1)
    kept = np.zeros((groups, blocks), bool)
    np.put_along_axis(kept, order[:, :keep], True, axis=1)
    return kept.repeat(block[0], axis=0)[:rows].repeat(block[1], axis=1)[:, :columns]


def make(layer: Layer, density: float = 1.0, block: tuple[int, int] = (16, 4), seed: int = 0) -> Problem:
    """A seeded problem; below density 1 whole blocks of output x input channels (per kernel position) are zero."""
    rng = np.random.default_rng(seed)
    rows = layer.height
    shape = (rows, layer.in_c) if layer.kind == "gemm" else (1, layer.in_c, layer.height, layer.width)
    x = rng.integers(0, 128, shape, dtype=np.uint8)
    weight = rng.integers(1, 128, layer.weight_shape, dtype=np.int8)
    weight *= rng.choice(np.array([-1, 1], np.int8), layer.weight_shape)
    if density < 1:
        weight *= _sparsity(layer, density, block, rng)
    spread = np.sqrt(layer.reduction * density) * 128 / np.sqrt(3) * 128 / np.sqrt(3)
    scale = (rng.uniform(0.5, 1.5, layer.out_c) * OUTPUT_SPREAD / spread).astype(np.float32)
    bias = np.rint(rng.normal(0, OUTPUT_SPREAD / 2, layer.out_c) / scale).astype(np.int32)
    return Problem(layer, density, x, weight, scale, bias)


def _sparsity(layer: Layer, density: float, block: tuple[int, int], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """The mask in the weight's shape. Columns are ordered tap by tap, so that a block never spans two taps."""
    if layer.kind == "gemm":
        return block_mask(layer.out_c, layer.in_c, block, density, rng)
    taps = layer.kernel[0] * layer.kernel[1]
    mask = block_mask(layer.out_c, taps * layer.in_c, block, density, rng)
    return mask.reshape(layer.out_c, *layer.kernel, layer.in_c).transpose(0, 3, 1, 2)


def integer_graph(problem: Problem) -> ir.Graph:
    """The problem as a graph of one operator, `x` -> `y`."""
    layer, quant = problem.layer, ir.QType("u8", float(SCALE))
    common = {
        "name": "layer",
        "inputs": ("x",),
        "output": "y",
        "weight": problem.weight,
        "bias": problem.bias,
        "weight_scale": problem.weight_scale,
        "requant": ir.Requant("f32", problem.multiplier, np.zeros(layer.out_c, np.int32)),
        "qmin": 0,
        "qmax": 255,
    }
    window = ir.Window(kernel=layer.kernel, strides=(layer.stride, layer.stride), pads=layer.pads)
    op: ir.Op
    if layer.kind == "gemm":
        op, x_shape, y_shape = ir.QGemm(**common), (layer.in_c,), (layer.out_c,)
    else:
        kind = ir.QConv if layer.kind == "conv" else ir.QDepthwise
        op = kind(**common, window=window)
        x_shape = (layer.in_c, layer.height, layer.width)
        y_shape = (layer.out_c, layer.out_height, layer.out_width)
    tensors = {"x": ir.Tensor("x", x_shape, quant), "y": ir.Tensor("y", y_shape, quant)}
    return ir.Graph("layer", ("x",), ("y",), tensors, (op,))


def reference(problem: Problem) -> npt.NDArray[np.uint8]:
    """What `compiler/integer/ops.py` computes, in the layout of `x` (NCHW, or rows by channels)."""
    graph = integer_graph(problem)
    result: npt.NDArray[np.uint8] = ops.run(graph, {"x": problem.x})["y"]
    return result


def broken(problem: Problem) -> Problem:
    """The same problem with one bias wrong by a third of the output range: a comparison must notice."""
    bias = problem.bias.copy()
    bias[0] += round(85 / float(problem.multiplier[0]))
    return replace(problem, bias=bias)
