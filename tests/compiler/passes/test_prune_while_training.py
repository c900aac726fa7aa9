"""Schedules that prune while training, within a compilation: what the integers that come out have of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from training_nets import accuracy, stop_at, unlabelled

torch = pytest.importorskip("torch")

from prunus.compiler.data import Data, load_data  # noqa: E402
from prunus.compiler.errors import UsageError  # noqa: E402
from prunus.compiler.model.edit import weight  # noqa: E402
from prunus.compiler.model.load import load  # noqa: E402
from prunus.compiler.model.model import Model  # noqa: E402
from prunus.compiler.model.workload import workload  # noqa: E402
from prunus.compiler.passes.base import Context, Options  # noqa: E402
from prunus.compiler.pipeline import Pipeline, PipelineResult  # noqa: E402
from prunus.compiler.target import Progress, no_progress  # noqa: E402
from prunus.compiler.training.tuning import Tuning  # noqa: E402

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"
TUNING = Tuning(epochs=8, learning_rate=0.03, loss="cross_entropy")


@pytest.fixture(scope="module")
def digits() -> tuple[Model, Data, Data]:
    """(network, unlabelled samples, labelled test samples)."""
    model = load(DIGITS / "cnn.onnx")
    train, test = (load_data(DIGITS / f"{name}.npz", model) for name in ("calibration", "digits"))
    return model, unlabelled(train), test


def compress(model: Model, data: Data, progress: Progress = no_progress, **options: object) -> PipelineResult:
    settings = Options(**{"training": TUNING, **options})  # type: ignore[arg-type]
    return Pipeline.default().run(model, Context(options=settings, calibration=data, progress=progress))


def zeros(model: Model) -> float:
    """The share of zeros of all integer matrices."""
    found = [weight(value) for value in model.graph.initializers.values()]
    codes = [each for each in found if each.ndim > 1 and each.dtype == np.int8]
    return float(sum(np.count_nonzero(each == 0) for each in codes) / sum(each.size for each in codes))


@pytest.mark.parametrize("schedule", ["gradual", "surgery"])
def test_integers_keep_the_zeros_and_the_accuracy(schedule: str, digits: tuple[Model, Data, Data]) -> None:
    model, data, test = digits
    result = compress(model, data, schedule=schedule, weight_sparsity=0.5, pattern="weight")
    assert zeros(result.model) >= 0.5 - 0.001
    assert accuracy(result.model, test) > 0.97
    notes = {note.code: note.text for record in result.records if record.name == "fine_tune" for note in record.notes}
    assert "50.0 % of the weights" in notes["weights-zeroed"]


def test_a_lottery_ticket_starts_anew(digits: tuple[Model, Data, Data]) -> None:
    """The weights that are left have nothing of the trained ones; the original teaches them all the same."""
    model, data, test = digits
    result = compress(
        model, data, schedule="lottery", weight_sparsity=0.5, pattern="weight", rounds=1,
        training=Tuning(epochs=20, learning_rate=0.05, loss="cross_entropy"),
    )  # fmt: skip
    assert zeros(result.model) >= 0.5 - 0.001
    assert accuracy(result.model, test) > 0.8


def test_channels_go_gradually_and_are_not_trained_twice(digits: tuple[Model, Data, Data]) -> None:
    model, data, _ = digits
    result = compress(model, data, schedule="gradual", sparsity=0.6, criterion="l2", rounds=2)
    assert workload(result.model).macs <= 0.4 * workload(model).macs
    changed = {record.name: record.changed for record in result.records}
    assert changed["prune_channels"] and not changed["fine_tune"]


def test_an_interrupted_compilation_goes_on_and_ends_the_same(digits: tuple[Model, Data, Data], tmp_path: Path) -> None:
    model, data, _ = digits
    options = {"schedule": "surgery", "weight_sparsity": 0.5, "pattern": "weight"}
    whole = compress(model, data.first(64), **options)
    with pytest.raises(KeyboardInterrupt):
        compress(model, data.first(64), stop_at(0.5), checkpoint_dir=tmp_path, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["fine_tune.ckpt"]
    again = compress(model, data.first(64), checkpoint_dir=tmp_path, **options)
    assert again.model.to_bytes() == whole.model.to_bytes()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"schedule": "gradual", "weight_sparsity": 0.5, "training": Tuning(epochs=0)}, "schedule-needs-training"),
        ({"schedule": "gradual", "sparsity": 0.5, "training": Tuning(epochs=0)}, "schedule-needs-training"),
        ({"schedule": "surgery", "sparsity": 0.5}, "schedule-needs-sparsity"),
        ({"schedule": "sudden", "weight_sparsity": 0.5}, "unknown-schedule"),
    ],
)
def test_schedules_without_what_they_need_are_refused(
    options: dict[str, object], code: str, digits: tuple[Model, Data, Data]
) -> None:
    model, data, _ = digits
    with pytest.raises(UsageError) as refusal:
        compress(model, data, **options)
    assert refusal.value.code == code
