"""Integer graphs of real networks with inputs: trained ones with their data, large ones on noise.

graph, feeds = integer_model("resnet8", models_folder, formats, samples=4)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import real_tasks

from prunus.compiler.data import Data
from prunus.compiler.integer import graph as ir
from prunus.compiler.integer.from_qdq import read_qdq
from prunus.compiler.model.load import load
from prunus.compiler.passes.base import Context
from prunus.compiler.pipeline import Pipeline
from prunus.compiler.target import Formats

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"
MLPERF = ("resnet8", "ds_cnn", "mobilenet_v1", "wake_word", "autoencoder")
EXAMPLES: Mapping[str, tuple[str, str]] = {
    "digits_mlp": ("mlp.onnx", "digits_flat.npz"),
    "digits_cnn": ("cnn.onnx", "digits.npz"),
}
ON_NOISE: Mapping[str, str] = {
    "jet": "jet_mlp3_fp32",
    "mobilenetv2": "imagenet_mobilenetv2_1.0_224_dequant_fp32",
    "ultraface": "face_ultraface_rfb320_fp32",
    "espcn": "sr_espcn_x2_fp32",
}
LARGE = ("mobilenetv2", "ultraface", "espcn")
NAMES = (*MLPERF, *EXAMPLES, *ON_NOISE)
CALIBRATION = 64  # samples of the examples

Feeds = dict[str, np.ndarray]


def integer_model(name: str, models: Path, formats: Formats, samples: int = 2) -> tuple[ir.Graph, Feeds]:
    """One of `NAMES` as a target with these formats gets it, and its first samples."""
    if name in MLPERF:
        model, data = real_tasks.quantized(name, models, formats)
        graph = read_qdq(model, formats)
        return graph, dict(data.first(samples).inputs)
    if name in ON_NOISE:
        path = models / f"{ON_NOISE[name]}.onnx"
        feed = _noise(path, samples)
    else:
        model_file, data_file = EXAMPLES[name]
        path = DIGITS / model_file
        with np.load(DIGITS / data_file) as arrays:
            feed = arrays["x"][:CALIBRATION].astype(np.float32)
    calibration = Data({str(load(path).graph.inputs[0].name): feed})
    context = Context(formats=formats, calibration=calibration)
    graph = read_qdq(Pipeline.default().run(load(path), context).model, formats)
    return graph, {graph.inputs[0]: feed[:samples]}


def _noise(path: Path, samples: int) -> np.ndarray:
    """Random inputs: bytes where the model takes bytes, else normal numbers."""
    (value,) = load(path).graph.inputs
    shape = (samples, *(dim if isinstance(dim, int) else 1 for dim in tuple(value.shape or ())[1:]))
    rng = np.random.default_rng(0)
    picture = value.dtype is not None and value.dtype.name == "UINT8"
    return rng.integers(0, 256, shape).astype(np.uint8) if picture else rng.normal(size=shape).astype(np.float32)
