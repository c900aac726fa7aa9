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
    "wake_word",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("resnet8", "ds_cnn", "mobilenet_v1", "autoencoder")),
]
MIN_SQNR_DB = {"resnet8": 31, "ds_cnn": 23, "mobilenet_v1": 22, "wake_word": 34, "autoencoder": 35}


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
    """At most one sample or half a percent of them lost on balance; or 0.005 of an AUC."""
    if row.net_loss is None:
        return row.before - row.after <= 0.005
    return row.net_loss <= max(1, 0.005 * row.samples)


@pytest.mark.parametrize("name", NETWORKS)
def test_8_bits_keep_the_accuracy(prepared: object, name: str) -> None:
    row = bench.evaluate(*prepared(name), "f32 u8 channel")  # type: ignore[operator]
    assert _within_bounds(row), str(row)
    assert row.agreement is None or row.agreement >= 0.97, str(row)
    assert row.sqnr_db > MIN_SQNR_DB[name], str(row)
    assert row.integer_macs >= 0.99


@pytest.mark.parametrize("scheme", ["pow2 channel", "pow2 tensor"])
@pytest.mark.parametrize("name", NETWORKS)
def test_powers_of_two_keep_the_accuracy(prepared: object, name: str, scheme: str) -> None:
    row = bench.evaluate(*prepared(name), scheme)  # type: ignore[operator]
    least = {"resnet8": 0.845, "ds_cnn": 0.905, "autoencoder": row.before - 0.012}
    assert row.after >= least.get(name, row.before - 0.02), str(row)
    assert row.agreement is None or row.agreement >= 0.95, str(row)


@pytest.mark.parametrize("name", NETWORKS)
def test_logits_are_closer_than_those_of_onnxruntime(prepared: object, name: str) -> None:
    """NNCF's figures are in the benchmark, which runs it beside."""
    task, model = prepared(name)  # type: ignore[operator]
    rows = [row for row in bench.peer_rows(task, model, None, ("onnxruntime+pre",)) if isinstance(row, bench.Row)]
    ours, theirs = (row.sqnr_db for row in rows)
    assert ours > theirs


@pytest.mark.parametrize("name", NETWORKS)
def test_badly_scaled_twins_are_rescued_per_tensor(prepared: object, name: str) -> None:
    rows = list(bench.twin_rows(*prepared(name), None))  # type: ignore[operator]
    ours, theirs = (row for row in rows if isinstance(row, bench.Row))
    assert _within_bounds(ours), str(ours)
    assert not _within_bounds(theirs) and theirs.sqnr_db < ours.sqnr_db - 10, str(theirs)


@pytest.mark.slow
def test_gptq_rescues_4_bits(prepared: object) -> None:
    task, model = prepared("resnet8")  # type: ignore[operator]
    plain, careful = (bench.evaluate(task, model, f"f32 w4 {rounding}") for rounding in ("nearest", "gptq"))
    assert careful.sqnr_db > plain.sqnr_db + 6
    assert careful.after > plain.after + 0.05


@pytest.mark.slow
def test_a_broken_quantization_is_noticed(prepared: object, monkeypatch: pytest.MonkeyPatch) -> None:
    two_bits = replace(Formats(), weight_bits=2), bench.Options(rounding="nearest")
    monkeypatch.setitem(bench.SCHEMES, "2-bit", two_bits)  # type: ignore[index]
    row = bench.evaluate(*prepared("resnet8"), "2-bit")  # type: ignore[operator]
    assert not _within_bounds(row), str(row)
    assert row.sqnr_db < MIN_SQNR_DB["resnet8"]


@pytest.mark.slow
def test_clipping_by_least_error_is_what_hurts_the_autoencoder(
    prepared: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Why `auto` is cautious: anomalies lie outside of the range of the normal clips that calibrate."""
    task, model = prepared("autoencoder")  # type: ignore[operator]
    monkeypatch.setitem(bench.SCHEMES, "nearest", (Formats(), bench.Options(rounding="nearest")))  # type: ignore[index]
    cautious, clipped = (bench.evaluate(task, model, "nearest", method) for method in ("auto", "mse"))
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
