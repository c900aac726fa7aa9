"""Batch normalisation for the time of training: it changes nothing, it goes away again, and it is worth something."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training_nets import accuracy, unlabelled, with_zeros

torch = pytest.importorskip("torch")

from prunus.compiler.data import Data, load_data  # noqa: E402
from prunus.compiler.executor import run_model  # noqa: E402
from prunus.compiler.model.edit import set_weight, weight  # noqa: E402
from prunus.compiler.model.load import load  # noqa: E402
from prunus.compiler.model.model import Model  # noqa: E402
from prunus.compiler.passes.base import Context, Options  # noqa: E402
from prunus.compiler.passes.prune_channels import PruneChannels  # noqa: E402
from prunus.compiler.training import Tuning, fine_tune  # noqa: E402
from prunus.compiler.training.normalised import with_batch_norm  # noqa: E402
from prunus.compiler.training.parameters import trainable  # noqa: E402

torch.set_num_threads(1)

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"
TUNING = Tuning(epochs=3, learning_rate=0.02, loss="cross_entropy", batch_norm="insert")


@pytest.fixture(scope="module")
def digits() -> tuple[Model, Model, Data, Data]:
    """(the network, the same with 80 % of its MACs pruned, training data, test data)."""
    model = load(DIGITS / "cnn.onnx")
    train, test = (load_data(DIGITS / f"{name}.npz", model) for name in ("calibration", "digits"))
    pruned = PruneChannels().run(model, Context(options=Options(sparsity=0.8, criterion="l2"), calibration=train)).model
    return model, pruned, unlabelled(train), test


def norms(model: Model) -> int:
    return sum(node.op_type == "BatchNormalization" for node in model.graph)


def output(model: Model, data: Data) -> np.ndarray:
    return next(iter(run_model(model, data.inputs).values()))


def test_what_is_put_in_changes_nothing(digits: tuple[Model, Model, Data, Data]) -> None:
    _, pruned, train, test = digits
    found = with_batch_norm(pruned, train, trainable(pruned))
    convolutions = sum(node.op_type == "Conv" for node in pruned.graph)
    assert norms(found.model) == len(found.nodes) == convolutions
    assert norms(pruned) == 0
    np.testing.assert_allclose(output(found.model, test), output(pruned, test), atol=1e-4)
    folded = found.folded(found.model)
    assert norms(folded) == 0
    assert [node.op_type for node in folded.graph] == [node.op_type for node in pruned.graph]
    assert sorted(folded.graph.initializers) == sorted(pruned.graph.initializers)
    np.testing.assert_allclose(output(folded, test), output(pruned, test), atol=1e-4)


def test_folding_keeps_what_the_trained_network_computes(digits: tuple[Model, Model, Data, Data]) -> None:
    """With other scales, shifts and statistics than it began with; the companion forgets the shift."""
    _, pruned, train, test = digits
    found = with_batch_norm(pruned, train, trainable(pruned))
    trained, rng = found.model.clone(), np.random.default_rng(0)
    for node in (node for node in trained.graph if node.name in found.nodes):
        for value in node.inputs[1:]:
            data = weight(value)
            assert value is not None and data is not None
            set_weight(value, (data * rng.uniform(0.7, 1.4, data.shape)).astype(np.float32))
    wanted = output(trained, test)
    np.testing.assert_allclose(output(found.folded(trained), test), wanted, rtol=1e-4, atol=1e-3)
    for node in (node for node in trained.graph if node.name in found.nodes):
        value = node.inputs[2]
        assert value is not None
        set_weight(value, np.zeros(value.shape, np.float32))
    assert not np.allclose(output(found.folded(trained), test), wanted, rtol=1e-4, atol=1e-3)


def test_zeros_and_names_stay(digits: tuple[Model, Model, Data, Data]) -> None:
    model, pruned, train, _ = digits
    sparse = with_zeros(pruned, 0.5)
    tuned = fine_tune(sparse, train, TUNING, teacher=model).model
    assert norms(tuned) == 0
    assert [node.name for node in tuned.graph] == [node.name for node in sparse.graph]
    for name, value in sparse.graph.initializers.items():
        before, after = weight(value), weight(tuned.graph.initializers[name])
        assert before is not None and after is not None
        if before.ndim > 1 and before.dtype == np.float32:
            assert (after[before == 0] == 0).all()
            assert (after[before != 0] != before[before != 0]).mean() > 0.9


def test_frozen_convolutions_and_frozen_statistics_get_none(digits: tuple[Model, Model, Data, Data]) -> None:
    _, pruned, train, _ = digits
    first = next(node for node in pruned.graph if node.op_type == "Conv")
    found = with_batch_norm(pruned, train, trainable(pruned, [first.name or ""]))
    assert len(found.nodes) == sum(node.op_type == "Conv" for node in pruned.graph) - 1
    assert with_batch_norm(pruned, train, ()).model is pruned


def test_resuming_gives_the_same_bytes(digits: tuple[Model, Model, Data, Data], tmp_path: Path) -> None:
    model, pruned, train, _ = digits
    whole = fine_tune(pruned, train, TUNING, teacher=model)
    fine_tune(pruned, train, TUNING, teacher=model, until=1, checkpoint=tmp_path / "state")
    resumed = fine_tune(pruned, train, TUNING, teacher=model, checkpoint=tmp_path / "state")
    assert resumed.resumed_from == 1
    assert resumed.model.to_bytes() == whole.model.to_bytes()


def test_it_brings_a_pruned_network_nearer_to_its_teacher(digits: tuple[Model, Model, Data, Data]) -> None:
    """The same samples, steps and learning rate, with and without."""
    model, pruned, train, test = digits
    wanted = output(model, test)

    def distance(batch_norm: str) -> float:
        tuning = replace(TUNING, epochs=15, batch_norm=batch_norm)  # type: ignore[arg-type]
        tuned = fine_tune(pruned, train, tuning, teacher=model).model
        assert accuracy(tuned, test) > 0.9
        return float(np.mean((output(tuned, test) - wanted) ** 2) / np.mean(wanted**2))

    with_it, without = distance("insert"), distance("update")
    assert with_it < 0.9 * without
