"""Channels that go in stages: the share of MACs follows its curve, and training in between pays."""

from __future__ import annotations

from pathlib import Path

import pytest
from training_nets import accuracy, stop_at, unlabelled

torch = pytest.importorskip("torch")

from prunus.compiler.data import Data, load_data  # noqa: E402
from prunus.compiler.errors import UsageError  # noqa: E402
from prunus.compiler.model.load import load  # noqa: E402
from prunus.compiler.model.model import Model  # noqa: E402
from prunus.compiler.model.workload import workload  # noqa: E402
from prunus.compiler.passes.base import Context, Options  # noqa: E402
from prunus.compiler.passes.properties import PROPERTIES  # noqa: E402
from prunus.compiler.passes.prune_channels import PruneChannels  # noqa: E402
from prunus.compiler.pruning.structures import ChannelStructure  # noqa: E402
from prunus.compiler.training import Tuning  # noqa: E402
from prunus.compiler.training.channels import prune_channels_gradually  # noqa: E402
from prunus.compiler.training.plans import GradualChannels  # noqa: E402

torch.set_num_threads(1)

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"


@pytest.fixture(scope="module")
def digits() -> tuple[Model, Data, Data]:
    model = load(DIGITS / "cnn.onnx")
    train, test = (load_data(DIGITS / f"{name}.npz", model) for name in ("calibration", "digits"))
    return model, unlabelled(train), test


def test_distillation_between_the_cuts_keeps_what_they_cost(digits: tuple[Model, Data, Data]) -> None:
    """90 % of the MACs, weights ranked by magnitude, no labels: against the same cut and refitted, but not trained."""
    model, train, test = digits
    plan = GradualChannels(0.9, "l2", rounds=3)
    staged = prune_channels_gradually(model, train, Tuning(epochs=9, learning_rate=0.03, loss="cross_entropy"), plan)
    options = Options(sparsity=0.9, criterion="l2")
    untrained = PruneChannels().run(model, Context(options=options, calibration=train)).model
    assert staged.fraction >= 0.9
    assert accuracy(staged.model, test) > accuracy(untrained, test) + 0.05


def test_the_macs_follow_the_curve_down_to_the_target(digits: tuple[Model, Data, Data]) -> None:
    model, train, _ = digits
    staged = prune_channels_gradually(model, train.first(64), Tuning(epochs=5), GradualChannels(0.6, "l2", rounds=4))
    for number, stage in enumerate(staged.stages, start=1):
        assert stage.wanted == pytest.approx(0.6 * (1 - (1 - number / 4) ** 3))
        assert stage.wanted <= stage.fraction < stage.wanted + 0.08
    left = workload(staged.model).macs / workload(model).macs
    assert 1 - left == pytest.approx(staged.fraction, abs=1e-3)
    assert 1 - left >= 0.6
    assert staged.proof_error < 1e-5
    assert PROPERTIES["valid"](model, staged.model) is None
    assert PROPERTIES["interface"](model, staged.model) is None


def test_groups_keep_whole_multiples_of_channels(digits: tuple[Model, Data, Data]) -> None:
    model, train, _ = digits
    structure = ChannelStructure(8)
    staged = prune_channels_gradually(
        model, train, Tuning(epochs=3), GradualChannels(0.5, "l2", rounds=3), structure=structure
    )
    widths = [value.shape[0] for value in staged.model.graph.initializers.values() if len(value.shape) == 4]
    assert all(width % 8 == 0 for width in widths)


@pytest.mark.parametrize("fraction", [0.3, 0.8])
def test_an_interrupted_run_resumes_to_the_same_bytes(
    fraction: float, digits: tuple[Model, Data, Data], tmp_path: Path
) -> None:
    model, train, _ = digits
    train, tuning, plan = train.first(64), Tuning(epochs=4, seed=2), GradualChannels(0.6, "l2", rounds=2)
    whole = prune_channels_gradually(model, train, tuning, plan)
    file = tmp_path / "run.ckpt"
    with pytest.raises(KeyboardInterrupt):
        prune_channels_gradually(model, train, tuning, plan, checkpoint=file, progress=stop_at(fraction))
    resumed = prune_channels_gradually(model, train, tuning, plan, checkpoint=file)
    assert resumed.model.to_bytes() == whole.model.to_bytes()
    assert resumed.stages == whole.stages


@pytest.mark.parametrize(
    ("plan", "epochs", "code"),
    [
        (GradualChannels(0.999, rounds=2), 4, "target-out-of-reach"),
        (GradualChannels(0.5, rounds=4), 3, "schedule-too-short"),
        (GradualChannels(0.5, "magnetism", rounds=2), 4, "unknown-criterion"),
    ],
)
def test_schedules_that_cannot_be_carried_out_are_refused(
    plan: GradualChannels, epochs: int, code: str, digits: tuple[Model, Data, Data], tmp_path: Path
) -> None:
    model, train, _ = digits
    with pytest.raises(UsageError) as refusal:
        prune_channels_gradually(model, train, Tuning(epochs=epochs), plan, checkpoint=tmp_path / "run.ckpt")
    assert refusal.value.code == code
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError) as refusal:
        GradualChannels(1.0)
    assert refusal.value.code == "bad-schedule"
