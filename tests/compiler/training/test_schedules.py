"""Pruning while training: zeros follow their curve and stay, and surgery puts weights back that one cut had lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from training_nets import perceptron, samples, stop_at, unlabelled, with_zeros

torch = pytest.importorskip("torch")

from prunus.compiler.data import Data, load_data  # noqa: E402
from prunus.compiler.errors import UsageError  # noqa: E402
from prunus.compiler.executor import run_model  # noqa: E402
from prunus.compiler.model.edit import set_weight, weight  # noqa: E402
from prunus.compiler.model.load import load  # noqa: E402
from prunus.compiler.model.model import Model  # noqa: E402
from prunus.compiler.passes.properties import PROPERTIES  # noqa: E402
from prunus.compiler.pruning.patterns import Pattern, parse_pattern  # noqa: E402
from prunus.compiler.pruning.sparsify import sparsify  # noqa: E402
from prunus.compiler.training import Tuning, fine_tune, masking  # noqa: E402
from prunus.compiler.training.plans import Gradual, Surgery  # noqa: E402

torch.set_num_threads(1)

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"
# the largest distance of zeros from the curve: half a unit of the coarsest row of the pattern
STEPS = {"weight": 0.001, "2:4": 0.001, "4x4": 0.02}


def matrices(model: Model) -> list[np.ndarray]:
    return [weight(value) for value in model.graph.initializers.values() if weight(value).ndim > 1]


def zeros(model: Model) -> float:
    """The share of zeros of all matrices."""
    found = matrices(model)
    return 1 - sum(np.count_nonzero(each) for each in found) / sum(each.size for each in found)


def cubic(share: float, final: float, initial: float = 0.0) -> float:
    """The curve as the paper has it, from 0 to 1 of the way."""
    return final + (initial - final) * (1 - share) ** 3


@pytest.fixture(scope="module")
def digits() -> tuple[Model, Data]:
    model = load(DIGITS / "cnn.onnx")
    return model, load_data(DIGITS / "calibration.npz", model)


@pytest.mark.parametrize("pattern", STEPS)
@pytest.mark.parametrize("kind", [Gradual, Surgery])
def test_zeros_follow_the_cubic_curve_at_every_update(
    pattern: str, kind: type[Gradual], digits: tuple[Model, Data], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted in what the forward pass sees, not in what the schedule says."""
    model, data = digits
    plan, tuning = kind(0.5, parse_pattern(pattern), initial=0.1, begin=0.1, end=0.6), Tuning(epochs=4)
    if kind is Surgery:
        plan = Surgery(0.5, parse_pattern(pattern), initial=0.1, begin=0.1, end=0.6, until=0.8)
    seen: dict[int, float] = {}
    before = masking.GradualMasks.before

    def watch(schedule: masking.GradualMasks, step: int) -> None:
        before(schedule, step)
        weights = schedule.graph.parameters | schedule.stand_ins()
        counts = [(weights[name] == 0).sum().item() for name in schedule.targets.layers]
        seen[step] = sum(counts) / schedule.targets.size

    monkeypatch.setattr(masking.GradualMasks, "before", watch)
    tuned = fine_tune(model, unlabelled(data), tuning, teacher=model, plan=plan)
    steps = len(data) // tuning.batch * tuning.epochs
    assert len(tuned.updates) >= 8
    for update in tuned.updates:
        share = min(max((update.step / steps - 0.1) / 0.5, 0.0), 1.0)
        assert update.wanted == pytest.approx(
            cubic(share, 0.5, 0.1), abs=0.03 if update is tuned.updates[-1] else 1e-12
        )
        assert update.realised == pytest.approx(update.wanted, abs=STEPS[pattern])
        assert seen[update.step] == pytest.approx(update.realised, abs=1e-9 if kind is Surgery else 1e-3)
    assert all(seen[step] >= seen[step - 1] - 1e-3 for step in range(1, steps))
    last = tuned.updates[-1]
    assert last.wanted == 0.5
    assert max(seen) == steps - 1
    assert seen[steps - 1] == pytest.approx(0.5, abs=STEPS[pattern])  # and stay to the end


@pytest.mark.parametrize("plan", [Gradual(0.6), Surgery(0.6), Gradual(0.5, Pattern("n_m", (2, 4)))])
def test_the_model_keeps_the_zeros(plan: Gradual) -> None:
    model, data = perceptron(hidden=32), samples(perceptron(1), 128, 1)
    tuned = fine_tune(model, data, Tuning(epochs=5), plan=plan)
    assert zeros(tuned.model) == pytest.approx(tuned.updates[-1].realised, abs=1e-9)
    assert zeros(tuned.model) == pytest.approx(plan.sparsity, abs=0.01)
    assert min(np.mean(each != 0) for each in matrices(tuned.model)) > 0.3
    if plan.pattern.kind == "n_m":
        for each in matrices(tuned.model):
            assert ((each.T.reshape(-1, 4) != 0).sum(axis=1) <= 2).all()
    further = fine_tune(tuned.model, data, Tuning(epochs=2))
    assert PROPERTIES["sparsity"](tuned.model, further.model) is None
    assert zeros(further.model) == zeros(tuned.model)


def test_a_layer_that_matters_less_loses_more_in_the_global_scope() -> None:
    """One layer's weights are few large ones and many next to nothing; the other's are all alike."""
    model = perceptron(hidden=32)
    first, second = (value for value in model.graph.initializers.values() if weight(value).ndim > 1)
    data = weight(first)
    set_weight(first, np.where(np.random.default_rng(0).random(data.shape) < 0.8, 0.01 * data, data))
    set_weight(second, np.sign(weight(second)))
    run = samples(model, 128, 1)
    tuned = {scope: fine_tune(model, run, Tuning(epochs=2, learning_rate=1e-4), plan=Gradual(0.4, scope=scope))
             for scope in ("layer", "global")}  # fmt: skip
    shares = {scope: [np.mean(each == 0) for each in matrices(each.model)] for scope, each in tuned.items()}
    assert shares["layer"] == pytest.approx([0.4, 0.4], abs=0.01)
    assert shares["global"][0] > 0.6
    assert shares["global"][1] == 0


# -- surgery ----------------------------------------------------------------------------------------------------------


def misled(seed: int) -> tuple[Model, Model]:
    """(a teacher of few weights, a student in which just those are small, and others larger)."""
    teacher, rng = with_zeros(perceptron(seed, hidden=16), 0.75, seed), np.random.default_rng(seed + 5)
    student = teacher.clone()
    for value in student.graph.initializers.values():
        data = weight(value)
        if data.ndim > 1:
            noise = 0.5 * rng.normal(size=data.shape) * (rng.random(data.shape) < 0.5)
            set_weight(value, np.where(data != 0, 0.2 * data, noise).astype(np.float32))
    return teacher, student


def test_surgery_puts_weights_back_and_beats_one_cut_at_equal_sparsity() -> None:
    for seed in range(2):
        teacher, student = misled(seed)
        data, test = unlabelled(samples(teacher, 256, 3)), samples(teacher, 1000, 4)
        tuning = Tuning(epochs=60, learning_rate=0.03, seed=seed)
        cut = sparsify(student, Pattern("weight"), 0.25, "magnitude").model
        at_once = fine_tune(cut, data, tuning, teacher=teacher)
        surgery = fine_tune(student, data, tuning, teacher=teacher, plan=Surgery(0.75))
        assert zeros(at_once.model) == zeros(surgery.model)
        assert sum(update.spliced for update in surgery.updates) > 20
        errors = [np.square(logits(each.model, test) - logits(teacher, test)).mean() for each in (at_once, surgery)]
        assert errors[1] < 0.5 * errors[0]


def logits(model: Model, data: Data) -> np.ndarray:
    (output,) = run_model(model, data.inputs).values()
    return np.asarray(output)


def test_the_margin_keeps_masks_from_flickering() -> None:
    teacher, student = misled(0)
    data = unlabelled(samples(teacher, 256, 3))
    tuning = Tuning(epochs=20, learning_rate=0.03)
    spliced = [
        sum(u.spliced for u in fine_tune(student, data, tuning, teacher=teacher, plan=Surgery(0.75, margin=m)).updates)
        for m in (0.0, 0.1, 0.5)
    ]
    assert spliced[0] > spliced[1] > spliced[2]


def test_gradual_never_puts_a_weight_back(digits: tuple[Model, Data]) -> None:
    model, data = digits
    tuned = fine_tune(model, unlabelled(data), Tuning(epochs=4, learning_rate=0.05), teacher=model, plan=Gradual(0.7))
    assert all(update.spliced == 0 for update in tuned.updates)


# -- repeatable, resumable, and what is refused -----------------------------------------------------------------------


@pytest.mark.parametrize("plan", [Gradual(0.6), Surgery(0.6)])
@pytest.mark.parametrize("fraction", [0.3, 0.7])
def test_an_interrupted_schedule_resumes_to_the_same_bytes(plan: Gradual, fraction: float, tmp_path: Path) -> None:
    model, data, file = perceptron(), samples(perceptron(1), 96, 1), tmp_path / "run.ckpt"
    tuning = Tuning(epochs=5, learning_rate=0.05)
    whole = fine_tune(model, data, tuning, plan=plan)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(model, data, tuning, plan=plan, checkpoint=file, progress=stop_at(fraction))
    resumed = fine_tune(model, data, tuning, plan=plan, checkpoint=file)
    assert resumed.resumed_from == int(fraction * 5)
    assert resumed.model.to_bytes() == whole.model.to_bytes()
    assert resumed.updates == whole.updates
    again = fine_tune(model, data, tuning, plan=plan, checkpoint=file)
    assert again.model.to_bytes() == whole.model.to_bytes()
    with pytest.raises(UsageError) as refusal:
        fine_tune(model, data, tuning, plan=Gradual(0.61), checkpoint=file)
    assert refusal.value.code == "checkpoint-mismatch"


@pytest.mark.parametrize(
    ("plan", "epochs", "code"),
    [
        (Gradual(0.95, Pattern("block", (4, 4))), 5, "target-out-of-reach"),  # two blocks in a row: one stays
        (Gradual(0.5, Pattern("block", (64, 64))), 5, "nothing-to-prune"),
        (Gradual(0.5, begin=0.0, end=0.01), 1, "schedule-too-short"),
    ],
)
def test_schedules_that_cannot_be_carried_out_are_refused(
    plan: Gradual, epochs: int, code: str, tmp_path: Path
) -> None:
    model, data, file = perceptron(), samples(perceptron(1), 96, 1), tmp_path / "run.ckpt"
    with pytest.raises(UsageError) as refusal:
        fine_tune(model, data, Tuning(epochs=epochs), plan=plan, checkpoint=file)
    assert refusal.value.code == code
    assert not file.exists()


@pytest.mark.parametrize(
    "options",
    [
        {"sparsity": 1.0},
        {"sparsity": 0.0},
        {"sparsity": 0.5, "initial": 0.6},
        {"sparsity": 0.5, "begin": 0.5, "end": 0.5},
        {"sparsity": float("nan")},
        {"sparsity": 0.5, "updates": 0},
    ],
)
def test_plans_out_of_range_are_refused(options: dict[str, float]) -> None:
    for kind in (Gradual, Surgery):
        with pytest.raises(UsageError) as refusal:
            kind(**options)
        assert refusal.value.code == "bad-schedule"
    with pytest.raises(UsageError):
        Surgery(0.5, margin=1.0)
