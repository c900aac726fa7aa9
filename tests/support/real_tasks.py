"""Trained networks with real data, split into calibration and scoring as tests/support/data_splits.toml says.

task = load_task("resnet8", models_folder)
model = load(task.model)
accuracy = task.score(run_model(model, task.feeds(model))["…"])
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from prunus.compiler.data import Data
from prunus.compiler.model.load import load
from prunus.compiler.model.model import Model
from prunus.compiler.passes.base import Context, Options
from prunus.compiler.pipeline import Pipeline
from prunus.compiler.target import Formats

SPLITS = Path(__file__).resolve().parent / "data_splits.toml"
FRAMES = 5  # of one window of the autoencoder
CALIBRATION = 64  # samples for `quantized`, where speed matters more than accuracy

Array = np.ndarray


def _windows(x: Array) -> Array:
    """[clips, 200, 128] log-mel frames -> [clips, 196, 640]: windows of five frames, one after the other."""
    view = np.lib.stride_tricks.sliding_window_view(x.astype(np.float32), FRAMES, axis=1)
    return np.ascontiguousarray(view.transpose(0, 1, 3, 2)).reshape(len(x), -1, FRAMES * x.shape[2])


TRANSFORMS: Mapping[str, Callable[[Array], Array]] = {
    "as_float": lambda x: x.astype(np.float32),
    "unit_range": lambda x: x.astype(np.float32) / np.float32(255),
    "mfcc": lambda x: (x.astype(np.float32) - 83) * np.float32(0.5847029),
    "log_mel_windows": _windows,
}


def auc(labels: Array, scores: Array) -> float:
    """Area under the ROC curve: how often a positive scores above a negative, ties counting half."""
    positive, negative = scores[labels == 1], scores[labels == 0]
    difference = positive[:, None] - negative[None, :]
    return float((difference > 0).mean() + (difference == 0).mean() / 2)


@dataclass(frozen=True, eq=False)
class Task:
    """One network's files and data. `x` are the scoring inputs, batch first (windows of clips: clips first)."""

    name: str
    model: Path
    metric: str
    calibration: Array
    x: Array
    labels: Array

    def calibration_data(self, model: Model) -> Data:
        """The calibration samples under the model's input name."""
        return Data({str(model.graph.inputs[0].name): self.calibration}, source=f"{self.name} calibration")

    def feeds(self, model: Model) -> dict[str, Array]:
        """The scoring samples under the model's input name."""
        x = self.x.reshape(-1, self.x.shape[-1]) if self.metric == "auc" else self.x
        return {str(model.graph.inputs[0].name): x}

    def correct(self, outputs: Array) -> Array:
        """Per sample, whether the decision is right (top1 only)."""
        return np.asarray(outputs.argmax(axis=1) == self.labels)

    def score(self, outputs: Array) -> float:
        """The task's metric, in 0..1, larger is better."""
        if self.metric == "top1":
            return float(self.correct(outputs).mean())
        x = self.x.reshape(-1, self.x.shape[-1])
        errors = ((outputs - x) ** 2).mean(axis=1).reshape(len(self.x), -1).mean(axis=1)
        return auc(self.labels, errors)


def task_names() -> tuple[str, ...]:
    return tuple(_table())


def load_task(name: str, folder: Path) -> Task:
    """The task from the folder of real models."""
    entry = _table()[name]
    transform = TRANSFORMS[entry["transform"]]
    with np.load(folder / entry["data"]) as arrays:
        x, labels = arrays[entry.get("array", "x")], arrays["y"]
    if "calibration_data" in entry:
        with np.load(folder / entry["calibration_data"]) as arrays:
            calibration = arrays["x"]
    else:
        candidates = np.flatnonzero(labels == 0) if entry["metric"] == "auc" else np.arange(len(x))
        chosen = np.sort(np.random.default_rng(entry["seed"]).permutation(candidates)[: entry["calibration"]])
        rest = np.setdiff1d(np.arange(len(x)), chosen)
        calibration, x, labels = x[chosen], x[rest], labels[rest]
    calibration = transform(calibration)
    if entry["metric"] == "auc":
        calibration = calibration.reshape(-1, calibration.shape[-1])
    return Task(name, folder / entry["model"], entry["metric"], calibration, transform(x), labels)


def original(name: str, folder: Path) -> tuple[Model, Data]:
    """The float model as loaded, and its scoring samples."""
    task = load_task(name, folder)
    model = load(task.model)
    return model, Data(task.feeds(model))


def quantized(name: str, folder: Path, formats: Formats, **options: Any) -> tuple[Model, Data]:
    """The QDQ model that the project's own passes make, and the scoring samples."""
    task = load_task(name, folder)
    model = load(task.model)
    context = Context(formats, Options(**options), task.calibration_data(model).first(CALIBRATION))
    return Pipeline.default().run(model, context).model, Data(task.feeds(model))


def _table() -> dict[str, dict[str, Any]]:
    table: dict[str, dict[str, Any]] = tomllib.loads(SPLITS.read_text(encoding="utf-8"))
    return table
