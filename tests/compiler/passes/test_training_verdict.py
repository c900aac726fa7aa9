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
from prunus.compiler.passes.base import Context, Options  # noqa: E402
from prunus.compiler.passes.fine_tune import FineTune  # noqa: E402
from prunus.compiler.passes.prune_channels import PruneChannels  # noqa: E402
from prunus.compiler.passes.training_verdict import kept_out, rise  # noqa: E402
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
    student = PruneChannels().run(model, replace(context, options=Options(sparsity=0.7, criterion="l2"))).model
    result = FineTune().run(student, context)
    assert not result.changed and result.model is student
    assert [note.code for note in result.notes] == ["fine-tuned", "training-undone"]
    assert "lower --learning-rate" in (result.notes[1].hint or "")
    gentle = replace(options, training=replace(options.training, learning_rate=1e-3))
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


def test_what_became_worse_and_better(digits: tuple[Model, Data, Data]) -> None:
    model, data, test = digits
    bad = worse(model)
    for judging, metric in ((data, None), (test, None), (test, top1)):
        found, back = rise(model, bad, model, judging, metric), rise(bad, model, model, judging, metric)
        assert found.value > 0.5 and 0 < found.error < 0.2 * found.value
        assert back.value == pytest.approx(-found.value)
        assert rise(model, model, model, judging, metric).value == 0


def test_its_measures_are_those_of_the_field(digits: tuple[Model, Data, Data]) -> None:
    """Recomputed from probabilities: the relative entropy without labels, the cross-entropy with them, top-1."""
    model, _, test = digits
    bad = worse(model)
    whole, found = (next(iter(run_model(each, test.inputs).values())).astype(np.float64) for each in (model, bad))
    whole, found = (np.exp(each) / np.exp(each).sum(axis=1, keepdims=True) for each in (whole, found))
    assert test.labels is not None
    mine = np.arange(len(found)), test.labels
    entropy = np.log(whole[mine]).mean() - np.log(found[mine]).mean()
    assert rise(model, bad, model, test, None).value == pytest.approx(entropy, rel=1e-5)
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
