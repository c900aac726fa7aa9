"""Real networks on real data keep their accuracy in 8 bits, without training (splits: data_splits.toml)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from real_tasks import TRANSFORMS, Task, load_task

from prunus.compiler.model.model import Model
from prunus.compiler.target import Formats
from prunus.tests.bench import quantization_accuracy as bench

NETWORKS = [
    "resnet8",
    "wake_word",
    "autoencoder",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("ds_cnn", "mobilenet_v1")),
]
MIN_SQNR_DB = {"resnet8": 28, "ds_cnn": 21, "mobilenet_v1": 19, "wake_word": 33, "autoencoder": 33}


@pytest.fixture(scope="module")
def prepared(models: Path) -> object:
    """`prepared(name)`: the task and its folded float model, loaded once."""
    cache: dict[str, tuple[Task, Model]] = {}

    def get(name: str) -> tuple[Task, Model]:
        if name not in cache:
            task = load_task(name, models)
            cache[name] = task, bench.prepare(task.model)
        return cache[name]

    return get


def _within_bounds(row: bench.Row) -> bool:
    """At most one sample or 1 % of them lost on balance; at most 0.01 of an AUC."""
    if row.net_loss is None:
        return row.before - row.after <= 0.01
    return row.net_loss <= max(1, 0.01 * row.samples)


@pytest.mark.parametrize("scheme", ["f32 u8 channel", "pow2 channel"])
@pytest.mark.parametrize("name", NETWORKS)
def test_accuracy_is_kept(prepared: object, name: str, scheme: str) -> None:
    row = bench.evaluate(*prepared(name), scheme)  # type: ignore[operator]
    assert _within_bounds(row), str(row)
    assert row.sqnr_db > MIN_SQNR_DB[name], str(row)


def test_a_broken_quantization_is_noticed(prepared: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bench.SCHEMES, "2-bit", replace(Formats(), weight_bits=2))
    row = bench.evaluate(*prepared("resnet8"), "2-bit")  # type: ignore[operator]
    assert not _within_bounds(row), str(row)
    assert row.sqnr_db < MIN_SQNR_DB["resnet8"]


def test_clipping_by_least_error_is_what_hurts_the_autoencoder(prepared: object) -> None:
    """Why `auto` is cautious: anomalies lie outside of the range of the normal clips that calibrate."""
    task, model = prepared("autoencoder")  # type: ignore[operator]
    cautious, clipped = (bench.evaluate(task, model, "f32 u8 channel", method) for method in ("auto", "mse"))
    assert cautious.after > clipped.after
    assert clipped.clipped > 0 and cautious.clipped == 0


def test_splits_are_disjoint_and_fixed(models: Path) -> None:
    first, second = load_task("ds_cnn", models), load_task("ds_cnn", models)
    assert (len(first.calibration), len(first.x), len(first.labels)) == (200, 800, 800)
    assert (first.calibration == second.calibration).all() and (first.x == second.x).all()
    with np.load(models / "data_kws01_mlperf_1000.npz") as arrays:
        everything = TRANSFORMS["mfcc"](arrays["x_int8"])
    parts = [*first.calibration, *first.x]
    assert sorted(part.tobytes() for part in parts) == sorted(sample.tobytes() for sample in everything)
    clips = load_task("autoencoder", models)
    assert len(clips.calibration) == 16 * 196 and clips.labels.sum() == 48
