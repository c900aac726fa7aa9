"""A training that unlearned is undone; one that helped, or was lost in noise, stays."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from prunus.compiler.data import Data, load_data  # noqa: E402
from prunus.compiler.executor import run_model  # noqa: E402
from prunus.compiler.metric import top1  # noqa: E402
from prunus.compiler.model.edit import set_weight, weight  # noqa: E402
from prunus.compiler.model.load import load  # noqa: E402
from prunus.compiler.model.model import Model  # noqa: E402
from prunus.compiler.passes.base import Context, Options, PassResult  # noqa: E402
from prunus.compiler.passes.fine_tune import FineTune  # noqa: E402
from prunus.compiler.passes.prune_channels import PruneChannels  # noqa: E402
from prunus.compiler.passes.training_verdict import (  # noqa: E402
    TEMPERATURES,
    Array,
    harmed,
    kept_out,
    rise,
    with_judging,
)
from prunus.compiler.pipeline import Pipeline  # noqa: E402
from prunus.compiler.search.drop import Drop  # noqa: E402
from prunus.compiler.training.tuning import Tuning  # noqa: E402

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"


@pytest.fixture(scope="module")
def digits() -> tuple[Model, Data, Data]:
    """(network, unlabelled samples, labelled ones)."""
    model = load(DIGITS / "cnn.onnx")
    samples, test = (load_data(DIGITS / f"{name}.npz", model) for name in ("calibration", "digits"))
    return model, Data(samples.inputs), test


def worse(model: Model) -> Model:
    """With the last layer's weights in another order."""
    copy = model.clone()
    last = next(node for node in reversed(list(copy.graph)) if node.op_type == "Gemm").inputs[1]
    data = weight(last)
    assert last is not None and data is not None
    set_weight(last, data[::-1].copy())
    return copy


@pytest.mark.parametrize("labelled", [False, True])
def test_a_ruinous_training_is_undone(digits: tuple[Model, Data, Data], labelled: bool) -> None:
    model, data, test = digits
    options = Options(training=Tuning(epochs=2, learning_rate=3.0, distillation=0.5, loss="cross_entropy"))
    context = Context(options=options, calibration=data, training=test if labelled else None, original=model)
    context = with_judging(context, model)
    student = PruneChannels().run(model, replace(context, options=Options(sparsity=0.7, criterion="l2"))).model
    result = FineTune().run(student, context)
    assert not result.changed and result.model is student
    assert [note.code for note in result.notes] == ["fine-tuned", "training-undone"]
    assert "lower --learning-rate" in (result.notes[1].hint or "")
    gentle = replace(options, training=replace(options.training, epochs=10, learning_rate=5e-3))
    kept = FineTune().run(student, replace(context, options=gentle))
    assert kept.changed and [note.code for note in kept.notes] == ["fine-tuned"]


def test_few_samples_are_all_learned_from(digits: tuple[Model, Data, Data]) -> None:
    model, data, _ = digits
    training, judging = kept_out(model, data.first(63), 0)
    assert len(training) == 63 and judging is None
    training, judging = kept_out(model, data.first(64), 0)
    assert judging is not None and (len(training), len(judging)) == (56, 8)
    (images,) = (np.concatenate([training.inputs[name], judging.inputs[name]]) for name in data.inputs)
    assert sorted(map(bytes, images)) == sorted(map(bytes, next(iter(data.first(64).inputs.values()))))


def test_samples_that_judge_are_kept_out_of_all_else(digits: tuple[Model, Data, Data]) -> None:
    """Of pruning, too: on samples that it was refitted on, a network is better than on others."""
    model, data, test = digits
    seen = Context(calibration=data, training=test)
    for options in (Options(), Options(training=Tuning(epochs=2), schedule="gradual", weight_sparsity=0.5)):
        assert with_judging(replace(seen, options=options), model).judging is None
    for options in (Options(training=Tuning(epochs=2)), Options(qat_epochs=1, training=Tuning(epochs=0))):
        both = with_judging(replace(seen, options=options), model)
        assert both.calibration is data and both.judging is not None and both.training is not None
        assert len(both.training) + len(both.judging) == len(test) and both.judging.labels is not None
        alone = with_judging(replace(seen, options=options, training=None), model)
        assert alone.training is None and alone.judging is not None and alone.calibration is not None
        assert (len(alone.calibration), len(alone.judging)) == (224, 32)
        assert with_judging(alone, model) is alone


def test_a_pipeline_keeps_them_out(digits: tuple[Model, Data, Data], monkeypatch: pytest.MonkeyPatch) -> None:
    model, data, _ = digits
    seen: list[Context] = []

    def run(_self: PruneChannels, model: Model, context: Context) -> PassResult:
        seen.append(context)
        return PassResult(model, False)

    monkeypatch.setattr(PruneChannels, "run", run)
    options = Options(training=Tuning(epochs=1))
    Pipeline.default(last="prune_channels").run(model, Context(options=options, calibration=data))
    (context,) = seen
    assert context.calibration is not None and context.judging is not None
    assert (len(context.calibration), len(context.judging)) == (224, 32)


def test_to_be_surer_is_no_harm(digits: tuple[Model, Data, Data]) -> None:
    """Logits three times as large: the same decisions; and a score has to fall by more than chance explains."""
    model, data, test = digits
    sure = model.clone()
    last = next(node for node in reversed(list(sure.graph)) if node.op_type == "Gemm")
    for value in last.inputs[1:]:
        found = weight(value)
        assert value is not None and found is not None
        set_weight(value, found * np.float32(3))
    for judging in (data, test):
        assert abs(rise(model, sure, model, judging, loss="cross_entropy").value) < 1e-3
    assert not harmed(Drop(0.01, 0.02), test, top1) and harmed(Drop(0.03, 0.02), test, top1)
    assert harmed(Drop(0.01, 0.02), test, None) and harmed(Drop(0.01, 0.02), data, top1)
    assert not harmed(Drop(-0.01, 0.02), test, None)


def test_what_became_worse_and_better(digits: tuple[Model, Data, Data]) -> None:
    model, data, test = digits
    bad = worse(model)
    for judging, metric in ((data, None), (test, None), (test, top1)):
        found, back = rise(model, bad, model, judging, metric), rise(bad, model, model, judging, metric)
        assert found.value > 0.5 and 0 < found.error < 0.2 * found.value
        assert back.value == pytest.approx(-found.value)
        assert rise(model, model, model, judging, metric).value == 0


def test_its_measures_are_those_of_the_field(digits: tuple[Model, Data, Data]) -> None:
    """Recomputed from probabilities: the cross-entropy with labels, each network at its best temperature; top-1."""
    model, _, test = digits
    bad = worse(model)
    whole, found = (next(iter(run_model(each, test.inputs).values())).astype(np.float64) for each in (model, bad))
    assert test.labels is not None
    mine = np.arange(len(found)), test.labels

    def entropy(logits: Array) -> float:
        powers = (np.exp(logits / temperature) for temperature in TEMPERATURES)
        return min(float(-np.log((each / each.sum(axis=1, keepdims=True))[mine]).mean()) for each in powers)

    risen = entropy(found) - entropy(whole)
    assert rise(model, bad, model, test, None).value == pytest.approx(risen, rel=1e-5)
    accuracy = (whole.argmax(axis=1) == test.labels).mean() - (found.argmax(axis=1) == test.labels).mean()
    assert rise(model, bad, model, test, top1).value == pytest.approx(accuracy)


def test_outputs_that_are_no_classes_are_judged_by_their_error(digits: tuple[Model, Data, Data]) -> None:
    model, data, _ = digits
    image = model.clone()
    first = next(node for node in image.graph if node.op_type == "Relu").outputs[0]
    image.graph.outputs.clear()
    image.graph.outputs.append(first)
    bad = image.clone()
    value = next(node for node in bad.graph if node.op_type == "Conv").inputs[1]
    found = weight(value)
    assert value is not None and found is not None
    set_weight(value, found * np.float32(1.5))
    assert rise(image, bad, image, data, None).value > 0.05
    assert rise(bad, image, image, data, None).value < -0.05
