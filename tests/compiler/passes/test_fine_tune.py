"""Training within a compilation: after pruning, and of the integers; what it recovers, keeps, resumes and refuses."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from prunus.compiler.data import Data, load_data  # noqa: E402
from prunus.compiler.errors import ToolError, UsageError  # noqa: E402
from prunus.compiler.executor import run_model  # noqa: E402
from prunus.compiler.metric import top1  # noqa: E402
from prunus.compiler.model.load import load  # noqa: E402
from prunus.compiler.model.model import Model  # noqa: E402
from prunus.compiler.passes.base import Context, Options  # noqa: E402
from prunus.compiler.passes.fine_tune import FineTune  # noqa: E402
from prunus.compiler.passes.train_quantized import TrainQuantized  # noqa: E402
from prunus.compiler.pipeline import Pipeline, PipelineResult  # noqa: E402
from prunus.compiler.target import Formats  # noqa: E402
from prunus.compiler.training.tuning import Tuning  # noqa: E402

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"
TUNING = Tuning(epochs=8, learning_rate=1e-2, loss="cross_entropy")


@pytest.fixture(scope="module")
def digits() -> tuple[Model, Data, Data]:
    """(network, unlabelled samples, labelled test samples)."""
    model = load(DIGITS / "cnn.onnx")
    samples, test = (load_data(DIGITS / f"{name}.npz", model) for name in ("calibration", "digits"))
    return model, Data(samples.inputs), test


def compress(model: Model, data: Data, formats: Formats | None = None, **options: object) -> PipelineResult:
    return Pipeline.default().run(
        model,
        Context(formats=formats or Formats(), options=Options(**options), calibration=data),  # type: ignore[arg-type]
    )


def accuracy(model: Model, test: Data) -> float:
    assert test.labels is not None
    return top1(next(iter(run_model(model, test.inputs).values())), test.labels)


def test_the_original_teaches_the_pruned_network_without_labels(digits: tuple[Model, Data, Data]) -> None:
    model, data, test = digits
    before = accuracy(compress(model, data, sparsity=0.9).model, test)
    result = compress(model, data, sparsity=0.9, training=TUNING)
    assert accuracy(result.model, test) > before + 0.06
    (note,) = (note for record in result.records if record.name == "fine_tune" for note in record.notes)
    assert note.code == "fine-tuned" and "8 epochs on 224 samples" in note.text  # the others judge
    gentle = compress(model, data, sparsity=0.5, training=replace(TUNING, epochs=1))
    (note,) = (note for record in gentle.records for note in record.notes if note.code == "fine-tuned")
    assert "(cpu), guided by the outputs of 2 blocks: mean loss" in note.text


def test_integers_learn_what_two_bits_lost(digits: tuple[Model, Data, Data]) -> None:
    model, data, test = digits
    narrow = Formats(weight_bits=2)
    options = Options(rounding="nearest", qat_epochs=5, training=replace(TUNING, epochs=0))
    context = Context(formats=narrow, options=options, calibration=data)
    before, after = (Pipeline.default(skip=skip).run(model, context) for skip in (["train_quantized"], []))
    assert accuracy(before.model, test) < 0.7
    assert accuracy(after.model, test) > accuracy(before.model, test) + 0.2
    assert after.float_model.to_bytes() == before.float_model.to_bytes()
    assert scales(after.model) == scales(before.model)


def scales(model: Model) -> list[bytes]:
    found = [node.inputs[1] for node in model.graph if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert found
    return [value.const_value.numpy().tobytes() for value in found]


def test_zeros_of_pruning_stay(digits: tuple[Model, Data, Data]) -> None:
    model, data, _ = digits
    short = replace(TUNING, epochs=1)
    for options in ({"training": short}, {"qat_epochs": 1, "training": replace(short, epochs=0)}):
        result = compress(model, data, weight_sparsity=0.5, pattern="4x4", **options)
        zeros = [
            float(np.mean(value.const_value.numpy() == 0))
            for value in result.model.graph.initializers.values()
            if value.const_value.shape.rank() == 4 and value.const_value.shape[1] > 1
        ]
        assert zeros and min(zeros) >= 0.5


def test_samples_of_their_own_take_the_place_of_the_calibration(digits: tuple[Model, Data, Data]) -> None:
    model, data, test = digits
    context = Context(options=Options(training=replace(TUNING, epochs=1)), calibration=data, training=test.first(96))
    note = FineTune().run(model, replace(context, original=model)).notes[0]
    assert "on 96 samples" in note.text


def test_without_epochs_nothing_happens(digits: tuple[Model, Data, Data]) -> None:
    model, data, _ = digits
    for each in (FineTune(), TrainQuantized()):
        result = each.run(model, Context(calibration=data))
        assert result.model is model and not result.changed and not result.notes


class Stopped(Exception):
    pass


def test_an_interrupted_run_goes_on_and_ends_the_same(digits: tuple[Model, Data, Data], tmp_path: Path) -> None:
    model, data, _ = digits
    options = Options(training=replace(TUNING, epochs=4), checkpoint_dir=tmp_path / "new" / "checkpoints")

    def stop(_what: str, fraction: float) -> None:
        if fraction > 0.6:
            raise Stopped

    context = Context(options=options, calibration=data, original=model)
    with pytest.raises(Stopped):
        FineTune().run(model, replace(context, progress=stop))
    resumed = FineTune().run(model, context)
    assert "2 of them from the checkpoint" in resumed.notes[0].text
    whole = FineTune().run(model, replace(context, options=replace(options, checkpoint_dir=None)))
    assert resumed.model.to_bytes() == whole.model.to_bytes()


def test_a_damaged_checkpoint_is_refused(digits: tuple[Model, Data, Data], tmp_path: Path) -> None:
    model, data, _ = digits
    options = Options(training=replace(TUNING, epochs=1), checkpoint_dir=tmp_path)
    (tmp_path / "fine_tune.ckpt").write_bytes(b"nonsense")
    with pytest.raises(UsageError) as caught:
        FineTune().run(model, Context(options=options, calibration=data, original=model))
    assert caught.value.code == "bad-checkpoint"


def test_it_needs_data_and_torch(digits: tuple[Model, Data, Data], monkeypatch: pytest.MonkeyPatch) -> None:
    model, data, _ = digits
    context = Context(options=Options(training=TUNING), original=model)
    with pytest.raises(UsageError) as caught:
        FineTune().run(model, context)
    assert caught.value.code == "needs-data"
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ToolError) as missing:
        FineTune().run(model, replace(context, calibration=data))
    assert missing.value.code == "missing-extra" and "prunus[train]" in (missing.value.hint or "")
