"""Integer kernels for numpy arrays: portable functions, and networks planned for the machine.

One function per operator of `include/prunus/kernels.h`: 8-bit activations in ONNX's order (NCHW) with an explicit
batch, int8 weights, int32 biases. Inputs need not be contiguous; outputs are new arrays. What an argument must not be
raises `KernelError` (a `ValueError`: shapes, ranges) or `TypeError` (element types).

`Network` takes the same operators, plans them together with the fastest exact kernels of the machine and skips zeros;
`Plan` does so for one layer, `Pool` gives threads. `predict` tells what a layer would cost, `autotune` measures what
that rests on, `pack` shows how weights are stored. `unpack_model` reads packed models (model.prz).

>>> import numpy as np
>>> from prunus import kernels
>>> half = kernels.Requant.pow2(np.array([1], np.int32))
>>> kernels.requantize(np.array([1, 3, 5, 7], np.int8), half, kernels.Output("s8"))  # half to even
array([0, 2, 2, 4], dtype=int8)
>>> weight, bias = np.eye(4, dtype=np.int8), np.zeros(4, np.int32)
>>> plan = kernels.Plan.gemm(weight, bias, half, kernels.Output("u8"), x_shape=(1, 4))
>>> plan.run(np.array([[1, 3, 5, 7]], np.uint8))
array([[0, 2, 2, 4]], dtype=uint8)
"""

from pathlib import Path

from ._core import (
    KernelError,
    Network,
    Output,
    Pool,
    Requant,
    add,
    avgpool2d,
    concat,
    conv2d,
    cpu_description,
    depthwise2d,
    dequantize,
    gemm,
    isas,
    lut,
    maxpool2d,
    mul,
    quantize,
    requantize,
    resize_nearest,
    slice,
    softmax,
    transpose,
    unpack_model,
)
from .plan import Plan
from .select import Prediction, autotune, costs, kernel_table, predict
from .weights import PackedWeights, pack, unpack

__all__ = [
    "KernelError",
    "Network",
    "Output",
    "PackedWeights",
    "Plan",
    "Pool",
    "Prediction",
    "Requant",
    "add",
    "autotune",
    "avgpool2d",
    "concat",
    "conv2d",
    "costs",
    "cpu_description",
    "depthwise2d",
    "dequantize",
    "gemm",
    "isas",
    "kernel_table",
    "lut",
    "maxpool2d",
    "mul",
    "pack",
    "predict",
    "quantize",
    "requantize",
    "resize_nearest",
    "slice",
    "softmax",
    "sources",
    "transpose",
    "unpack",
    "unpack_model",
]


def sources() -> tuple[list[Path], Path]:
    """The C files of the portable tier and their include folder, for targets that compile the kernels themselves.

    Flags they need: -std=c11 -ffp-contract=off, and no -ffast-math; -O3 for speed.
    """
    here = Path(__file__).resolve().parent
    return sorted((here / "src" / "portable").glob("*.c")), here / "include"
