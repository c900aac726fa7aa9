"""Integer kernels: portable C11 behind a thin Python binding.

One function per operator of `include/prunus/kernels.h`, on numpy arrays: 8-bit activations in ONNX's order (NCHW) with
an explicit batch, int8 weights, int32 biases. Inputs need not be contiguous; outputs are new arrays. What an argument
must not be raises `KernelError` (a `ValueError`: shapes, ranges) or `TypeError` (element types).

>>> import numpy as np
>>> from prunus import kernels
>>> half = kernels.Requant.pow2(np.array([1], np.int32))
>>> kernels.requantize(np.array([1, 3, 5, 7], np.int8), half, kernels.Output("s8"))  # half to even
array([0, 2, 2, 4], dtype=int8)
"""

from pathlib import Path

from ._core import (
    KernelError,
    Output,
    Requant,
    add,
    avgpool2d,
    concat,
    conv2d,
    depthwise2d,
    dequantize,
    gemm,
    lut,
    maxpool2d,
    mul,
    quantize,
    requantize,
    resize_nearest,
    slice,
    softmax,
    transpose,
)

__all__ = [
    "KernelError",
    "Output",
    "Requant",
    "add",
    "avgpool2d",
    "concat",
    "conv2d",
    "depthwise2d",
    "dequantize",
    "gemm",
    "lut",
    "maxpool2d",
    "mul",
    "quantize",
    "requantize",
    "resize_nearest",
    "slice",
    "softmax",
    "sources",
    "transpose",
]


def sources() -> tuple[list[Path], Path]:
    """The C files of the portable tier and their include folder, for targets that compile the kernels themselves.

    Flags they need: -std=c11 -ffp-contract=off, and no -ffast-math; -O3 for speed.
    """
    here = Path(__file__).resolve().parent
    return sorted((here / "src" / "portable").glob("*.c")), here / "include"
