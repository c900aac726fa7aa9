"""Whole networks to measure: trained ones and well-known topologies, pruned in blocks, quantized by our own passes.

    compressed = compress(*NETWORKS["resnet50"](models_folder), density=0.25)

Zeros come from magnitude alone: there is no retraining, and no claim about accuracy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from light import random_light_model
from real_tasks import load_task

from prunus.compiler.data import Data
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


def resnet8(models: Path) -> tuple[Model, np.ndarray]:
    return _task("resnet8", models)


def ds_cnn(models: Path) -> tuple[Model, np.ndarray]:
    return _task("ds_cnn", models)


def _task(name: str, models: Path) -> tuple[Model, np.ndarray]:
    task = load_task(name, models)
    return load(task.model), task.calibration[:CALIBRATION]


NETWORKS: Mapping[str, Callable[[Path], tuple[Model, np.ndarray]]] = {
    "resnet50": resnet50,
    "mobilenetv2": mobilenetv2,
    "resnet8": resnet8,
    "ds_cnn": ds_cnn,
}


def compress(model: Model, samples: np.ndarray, density: float = 1.0, formats: Formats | None = None) -> Compressed:
    """Zeroes blocks of 16x4 weights by magnitude down to `density`, balanced over groups of outputs, then quantizes."""
    formats = formats or Formats()
    name = str(model.graph.inputs[0].name)
    options = Options(weight_sparsity=1 - density, pattern=BLOCK, ranges="minmax")
    float_model = model
    for each in PASSES:
        if each.name not in SKIPPED:
            float_model = model
            data = Data({name: samples}) if each.name == "quantize" else None
            model = each().run(model, Context(formats, options, data)).model
    return Compressed(float_model, model, read_qdq(model, formats), {name: samples[:1]})
