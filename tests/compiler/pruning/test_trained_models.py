"""What pruning without training costs on real models, with real data: accuracy in per cent after a cut.

Measured (no training, no labels; see the table): magnitude `l2` against `obs`, both refitted.
ResNet-8 (CIFAR-10, 85.5 on 200 images): 1.5x 72.0 / 74.0, 2x 67.0 / 67.0, 3x 49.5 / 57.5.
DS-CNN (keywords, 91.0 on 600 clips): 1.5x 82.3 / 88.7, 2x 73.3 / 85.8, 3x 57.8 / 75.3.
MobileNetV1-0.25 (persons, 86.7 on 128 images): 2x 86.7 / 86.7, 3x 78.1 / 83.6.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.data import Data
from prunus.compiler.executor import run_model
from prunus.compiler.model.load import load
from prunus.compiler.model.model import Model
from prunus.compiler.passes.base import Context
from prunus.compiler.passes.normalise import Normalise
from prunus.compiler.pruning.cut import cut
from prunus.compiler.pruning.reconstruct import reconstruct
from prunus.compiler.pruning.select import select

Task = tuple[Model, Data, Data]  # model, calibration samples, test samples with labels


def resnet8(folder: Path) -> Task:
    test = np.load(folder / "data_cifar10_mlperf_ic01_200.npz")
    calibration = np.load(folder / "data_cifar10_train_calib500_unlabelled.npz")["x"].astype(np.float32)
    return task(folder / "mlperf_ic_resnet8_fp32.onnx", calibration, test["x"].astype(np.float32), test["y"])


def dscnn(folder: Path) -> Task:
    data = np.load(folder / "data_kws01_mlperf_1000.npz")
    x = ((data["x_int8"].astype(np.float32) - 83) * 0.5847029).astype(np.float32)
    return task(folder / "mlperf_kws_dscnn_fp32.onnx", x[:400], x[400:], data["y"][400:])


def mobilenet(folder: Path) -> Task:
    data = np.load(folder / "data_vww_coco128_256.npz")
    x = data["x"].astype(np.float32) / 255
    return task(folder / "mlperf_vww_mobilenetv1_025_96_fp32.onnx", x[:128], x[128:], data["y"][128:])


def task(path: Path, calibration: np.ndarray, x: np.ndarray, y: np.ndarray) -> Task:
    model = Normalise().run(load(path), Context()).model
    name = model.graph.inputs[0].name
    return model, Data({name: calibration}), Data({name: x}, y)


def accuracy(model: Model, data: Data) -> float:
    scores = next(iter(run_model(model, data.inputs).values()))
    return 100 * float((scores.argmax(axis=1) == data.labels).mean())


CASES = [
    # task, criterion, share of MACs removed, accuracy unpruned, at most after the cut, at least after the refit
    pytest.param(dscnn, "l2", 1 / 3, 91.0, 40, 79.0, id="dscnn-l2-1.5x"),
    pytest.param(dscnn, "obs", 1 / 3, 91.0, 60, 87.0, id="dscnn-obs-1.5x"),
    pytest.param(dscnn, "obs", 1 / 2, 91.0, 40, 83.5, id="dscnn-obs-2x"),
    pytest.param(resnet8, "l2", 1 / 3, 85.5, 40, 67.5, id="resnet8-l2-1.5x"),
    pytest.param(resnet8, "obs", 1 / 3, 85.5, 40, 71.0, id="resnet8-obs-1.5x"),
    pytest.param(mobilenet, "l2", 1 / 2, 86.7, 100, 86.7, id="mobilenet-l2-2x"),
    pytest.param(mobilenet, "obs", 2 / 3, 86.7, 70, 80.0, id="mobilenet-obs-3x"),
]


@pytest.mark.parametrize(("build", "criterion", "fraction", "base", "cut_only", "refitted"), CASES)
def test_accuracy_after_pruning_without_training(
    models: Path, build, criterion: str, fraction: float, base: float, cut_only: float, refitted: float
) -> None:
    model, calibration, test = build(models)
    assert accuracy(model, test) == pytest.approx(base, abs=0.05)
    channels = channel_groups(model)
    chosen = select(model, channels, fraction, criterion, data=calibration)
    assert chosen.met
    pruned = cut(model, channels, chosen.removed)
    assert accuracy(pruned, test) <= cut_only
    result = reconstruct(model, pruned, channels, chosen.removed, calibration)
    assert accuracy(result.model, test) >= refitted - 0.05
