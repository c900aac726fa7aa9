"""Features of the original, narrowed to the channels that cuts left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pruning_nets import NETS

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.data import Data
from prunus.compiler.executor import run_model
from prunus.compiler.model.edit import set_weight, weight
from prunus.compiler.model.model import Model
from prunus.compiler.pruning.cut import cut

pytest.importorskip("torch")
from prunus.compiler.training import Tuning, fine_tune, kept
from prunus.compiler.training.kept import kept_features

DATA = Data({"x": np.random.default_rng(2).standard_normal((64, 3, 8, 8)).astype(np.float32)})


def without(model: Model, places: list[int]) -> Model:
    """Cut at these places of the shortcut's channels."""
    channels = channel_groups(model)
    removed = channels.keep_all()
    removed[channels.units["w1", 0][places]] = True
    return cut(model, channels, removed)


@pytest.mark.parametrize("already", [[], [0]], ids=["whole", "cut before"])
def test_a_block_output_is_compared_channel_by_channel(already: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after several cuts, and where the original lacks channels itself."""
    monkeypatch.setattr(kept, "FARTHEST", 1.0)  # nothing is refitted here
    model = without(NETS["residual"](), already)
    pruned = without(without(model, [1, 5]), [2])  # the third of those left
    teacher, features = kept_features(model, pruned, DATA)
    assert features
    gone = [1, 3, 5]
    for ours, theirs in features.items():
        whole = run_model(model, DATA.inputs, [ours])[ours]
        found = run_model(teacher, DATA.inputs, [theirs])[theirs]
        assert found.shape == run_model(pruned, DATA.inputs, [ours])[ours].shape
        np.testing.assert_array_equal(found, np.delete(whole, gone, axis=1))


def test_without_shortcuts_the_outputs_of_convolutions_are_compared() -> None:
    model = NETS["depthwise"]()
    channels = channel_groups(model)
    removed = channels.keep_all()
    removed[channels.prunable[0].units[:2]] = True
    features = kept_features(model, cut(model, channels, removed), DATA)[1]
    kinds = {value.name: node.op_type for node in model.graph for value in node.outputs}
    assert features and {kinds[name] for name in features} <= {"Conv", "Relu", "Clip"}


def test_what_has_another_meaning_now_is_left_out() -> None:
    """Another network whose values bear the same names teaches nothing."""
    model = NETS["residual"]()
    other = model.clone()
    for value in other.graph.initializers.values():
        data = weight(value)
        if data is not None and data.ndim == 4:
            set_weight(value, -3 * data)
    assert kept_features(model, model, DATA)[1]
    assert kept_features(model, other, DATA)[1] == {}


def test_learning_from_them_brings_them_closer_than_answers_alone() -> None:
    model = NETS["residual"]()
    pruned = without(model, [0, 1, 2])
    teacher, features = kept_features(model, pruned, DATA)
    ours, theirs = next(iter(features.items()))
    wanted = run_model(teacher, DATA.inputs, [theirs])[theirs]

    def error(student: Model) -> float:
        return float(np.square(run_model(student, DATA.inputs, [ours])[ours] - wanted).mean())

    tuning = Tuning(epochs=15, batch=16, learning_rate=3e-2, loss="mse")
    answers_alone = fine_tune(pruned, DATA, tuning, teacher=model)
    tuned = fine_tune(pruned, DATA, tuning, teacher=model, features="blocks")
    assert tuned.features == tuple(features) and answers_alone.features == ()
    assert error(tuned.model) < 0.7 * min(error(pruned), error(answers_alone.model))


def test_without_their_weight_they_are_not_looked_at() -> None:
    model = NETS["residual"]()
    pruned, tuning = without(model, [0, 1]), Tuning(epochs=1, loss="mse", feature_weight=0.0)
    tuned = fine_tune(pruned, DATA, tuning, teacher=model, features="blocks")
    assert tuned.features == ()
    assert tuned.model.to_bytes() == fine_tune(pruned, DATA, tuning, teacher=model).model.to_bytes()
    assert tuned.losses != fine_tune(pruned, DATA, replace(tuning, feature_weight=1.0), teacher=model,
                                     features="blocks").losses  # fmt: skip
