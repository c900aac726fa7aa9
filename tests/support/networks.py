"""Whole networks to measure: trained ones and well-known topologies, pruned in blocks, quantized by our own passes.

    compressed = compress(*NETWORKS["resnet50"](models_folder), density=0.25)

Zeros come from magnitude alone: there is no retraining, and no claim about accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from light import random_light_model
from real_tasks import load_task

from prunus.compiler.data import Data
from prunus.compiler.errors import UsageError
from prunus.compiler.integer import graph as ir
from prunus.compiler.integer.from_qdq import read_qdq
from prunus.compiler.model.load import load, load_proto
from prunus.compiler.model.model import Model
from prunus.compiler.passes import PASSES
from prunus.compiler.passes.base import Context, Options
from prunus.compiler.target import Formats

CALIBRATION = 8  # samples; speed is what is measured
BLOCK = "16x4"
SKIPPED = ("prune_channels", "equalise")  # they change shapes, or take long and change none


@dataclass(frozen=True, eq=False)
class Compressed:
    """One network: the float model with its zeros, the int8 QDQ model, its integer graph, and one sample for each."""

    float_model: Model
    qdq: Model
    graph: ir.Graph
    feeds: Mapping[str, np.ndarray]

    @property
    def density(self) -> float:
        """The share of weights that are not zero, over all layers."""
        weights = [op.weight for op in self.graph.ops if isinstance(op, ir.Linear)]
        return sum(int(np.count_nonzero(w)) for w in weights) / sum(w.size for w in weights)


def resnet50(_models: Path) -> tuple[Model, np.ndarray]:
    """Random weights in the light topology of the onnx wheel."""
    images = np.random.default_rng(0).standard_normal((CALIBRATION, 3, 224, 224), dtype=np.float32)
    return load_proto(random_light_model("resnet50", seed=0)), images


def mobilenetv2(models: Path) -> tuple[Model, np.ndarray]:
    images = np.random.default_rng(0).integers(0, 256, (CALIBRATION, 224, 224, 3), dtype=np.uint8)
    return load(models / "imagenet_mobilenetv2_1.0_224_dequant_fp32.onnx"), images


def _task(name: str, models: Path) -> tuple[Model, np.ndarray]:
    task = load_task(name, models)
    return load(task.model), task.calibration[:CALIBRATION]


MLPERF_TINY = ("resnet8", "ds_cnn", "mobilenet_v1", "wake_word", "autoencoder")
NETWORKS: Mapping[str, Callable[[Path], tuple[Model, np.ndarray]]] = {
    "resnet50": resnet50,
    "mobilenetv2": mobilenetv2,
    **{name: partial(_task, name) for name in MLPERF_TINY},
}


def from_file(path: Path) -> tuple[Model, dict[str, np.ndarray]]:
    """A user's model with seeded random samples: of speed they say as much as real ones. Raises PrunusError."""
    model = load(path)
    rng = np.random.default_rng(0)
    samples: dict[str, np.ndarray] = {}
    for value in model.graph.inputs:
        rest = [dim for dim in tuple(value.shape or ())[1:] if isinstance(dim, int)]
        if value.shape is None or len(rest) != value.shape.rank() - 1:
            raise UsageError(
                "An input's shape is not known.",
                code="free-shape",
                where=model.original(str(value.name)),
                hint="Fix all dimensions but the batch in the model.",
            )
        shape = (CALIBRATION, *rest)
        real = value.dtype is None or value.dtype.is_floating_point()
        array = rng.standard_normal(shape) if real else rng.integers(0, 128, shape)
        samples[str(value.name)] = array.astype(value.dtype.numpy() if value.dtype else np.float32)
    return model, samples


def compress(
    model: Model,
    samples: np.ndarray | Mapping[str, np.ndarray],
    density: float = 1.0,
    formats: Formats | None = None,
    pattern: str = BLOCK,
) -> Compressed:
    """Zeroes weights by magnitude down to `density`, in balanced blocks of 16x4 or another pattern, then quantizes."""
    formats = formats or Formats()
    inputs = samples if isinstance(samples, Mapping) else {str(model.graph.inputs[0].name): samples}
    # the plainest quantization: speed does not depend on it
    plain = {"ranges": "minmax", "rounding": "nearest", "bias_correction": False}
    options = Options(weight_sparsity=1 - density, pattern=pattern, **plain)
    float_model = model
    for each in PASSES:
        if each.name not in SKIPPED:
            if each.name == "quantize":
                float_model = model
            data = Data(dict(inputs)) if each.name == "quantize" else None
            model = each().run(model, Context(formats, options, data)).model
    return Compressed(float_model, model, read_qdq(model, formats), {name: x[:1] for name, x in inputs.items()})
