"""The real networks with their data, quantized by the project's own passes: `quantized(folder, "kws", formats)`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from prunus.compiler.data import Data
from prunus.compiler.model.load import load
from prunus.compiler.model.model import Model
from prunus.compiler.passes import FoldBatchNorm, FoldConstants, Normalise, Quantize
from prunus.compiler.passes.base import Context
from prunus.compiler.target import Formats

Arrays = Mapping[str, np.ndarray]


def _windows(arrays: Arrays) -> np.ndarray:
    """Five neighbouring frames of 128 mel bands make one input of the autoencoder."""
    clips = arrays["x"].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(clips, 5, axis=1)[:, ::24].transpose(0, 1, 3, 2)
    return np.ascontiguousarray(frames.reshape(-1, 640))


# name -> (model, data, what turns the data's arrays into inputs)
NETWORKS: Mapping[str, tuple[str, str, Callable[[Arrays], np.ndarray]]] = {
    "resnet8": (
        "mlperf_ic_resnet8_fp32.onnx",
        "data_cifar10_mlperf_ic01_200.npz",
        lambda arrays: arrays["x"].astype(np.float32),
    ),
    "kws": (
        "mlperf_kws_dscnn_fp32.onnx",
        "data_kws01_mlperf_1000.npz",
        lambda arrays: (arrays["x_int8"].astype(np.float32) - 83) * np.float32(0.5847029),
    ),
    "vww": (
        "mlperf_vww_mobilenetv1_025_96_fp32.onnx",
        "data_vww_coco128_256.npz",
        lambda arrays: arrays["x"].astype(np.float32) / 255,
    ),
    "ad": ("mlperf_ad_autoencoder_fp32.onnx", "data_ad01_mlperf_96clips_fp16.npz", _windows),
    "sww": ("mlperf_sww_1dconv_fp32.onnx", "data_sww_calib45.npz", lambda arrays: arrays["x"].astype(np.float32)),
}
CALIBRATION = 32


def original(folder: Path, name: str) -> tuple[Model, Data]:
    """The float model as loaded, and all its samples."""
    file, data, prepare = NETWORKS[name]
    model = load(folder / file)
    with np.load(folder / data) as arrays:
        return model, Data({str(model.graph.inputs[0].name): prepare(arrays)})


def quantized(folder: Path, name: str, formats: Formats) -> tuple[Model, Data]:
    """The QDQ model, calibrated on the first samples, and the samples behind them."""
    model, data = original(folder, name)
    context = Context(formats=formats, calibration=data.first(CALIBRATION))
    for each in (Normalise(), FoldConstants(), FoldBatchNorm(), Quantize()):
        model = each.run(model, context).model
    return model, data.take(slice(CALIBRATION, None)) if len(data) > 2 * CALIBRATION else data
