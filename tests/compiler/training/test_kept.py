"""Features of the original, narrowed to the channels that a cut left."""

from __future__ import annotations

import numpy as np
import pytest
from pruning_nets import NETS

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.data import Data
from prunus.compiler.executor import run_model
from prunus.compiler.pruning.cut import cut

pytest.importorskip("torch")
from prunus.compiler.training import Tuning, fine_tune
from prunus.compiler.training.kept import kept_features


def test_a_block_output_is_compared_channel_by_channel() -> None:
    model = NETS["residual"]()
    channels = channel_groups(model)
    removed = channels.keep_all()
    removed[channels.units["w1", 0][[1, 5]]] = True  # of the shortcut's eight
    pruned = cut(model, channels, removed)
    teacher, features = kept_features(model, channels, removed)
    assert features
    feeds = {"x": np.random.default_rng(1).standard_normal((4, 3, 8, 8)).astype(np.float32)}
    for ours, theirs in features.items():
        whole = run_model(model, feeds, [ours])[ours]
        found = run_model(teacher, feeds, [theirs])[theirs]
        assert found.shape == run_model(pruned, feeds, [ours])[ours].shape
        np.testing.assert_array_equal(found, np.delete(whole, [1, 5], axis=1))


def test_learning_from_them_brings_them_closer_than_answers_alone() -> None:
    model = NETS["residual"]()
    channels = channel_groups(model)
    removed = channels.keep_all()
    removed[channels.units["w1", 0][:3]] = True
    pruned = cut(model, channels, removed)
    teacher, features = kept_features(model, channels, removed)
    data = Data({"x": np.random.default_rng(2).standard_normal((64, 3, 8, 8)).astype(np.float32)})
    ours, theirs = next(iter(features.items()))
    wanted = run_model(teacher, data.inputs, [theirs])[theirs]

    def error(student) -> float:
        return float(np.square(run_model(student, data.inputs, [ours])[ours] - wanted).mean())

    tuning = Tuning(epochs=15, batch=16, learning_rate=3e-2, loss="mse")
    answers_alone = fine_tune(pruned, data, tuning, teacher=teacher).model
    tuned = fine_tune(pruned, data, tuning, teacher=teacher, features=features).model
    assert error(tuned) < 0.7 * min(error(pruned), error(answers_alone))
