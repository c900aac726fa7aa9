"""Bias correction: what rounding the weights shifts a layer's outputs by, on average, is taken out of its bias.

Rounded weights W + D shift the expected output of channel o by

    E[sum_i D[o, i] x_i] = sum_i D[o, i] E[x_i],

with E[x_i] the mean of input channel i over the calibration data (borders of padded maps are taken as interior).
The int32 bias absorbs it at no cost at run time. Nagel et al., Data-Free Quantization, ICCV 2019, section 4.2.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .scales import QuantizedWeights

Array = npt.NDArray[Any]


def mean_shift(weight: Array, axis: int, quantized: QuantizedWeights, means: Array) -> npt.NDArray[np.float64]:
    """The expected change of each output channel. `means`: one entry per input channel of the layer.

    weight: the float weights, output channels along `axis`, [out, in / group, ...] once that axis is first.
    """
    rows = np.moveaxis(quantized.real(axis) - weight, axis, 0)
    per_input = rows.reshape(*rows.shape[:2], -1).sum(axis=2)  # all taps of a kernel see the same mean
    group = means.size // per_input.shape[1]
    inputs = np.repeat(means.reshape(group, -1), len(per_input) // group, axis=0)
    shift: npt.NDArray[np.float64] = (per_input * inputs).sum(axis=1)
    return shift
