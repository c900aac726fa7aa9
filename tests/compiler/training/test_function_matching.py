"""Learning a teacher's function: what it answers to the very view that the student sees, and to more samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from training_nets import perceptron, samples, stop_at, unlabelled

torch = pytest.importorskip("torch")

from prunus.compiler.data import Data  # noqa: E402
from prunus.compiler.errors import UsageError  # noqa: E402
from prunus.compiler.executor import run_model  # noqa: E402
from prunus.compiler.model.model import Model  # noqa: E402
from prunus.compiler.training import Tuning, fine_tune  # noqa: E402
from prunus.compiler.training import teacher as teaching  # noqa: E402
from prunus.compiler.training.augment import Batch  # noqa: E402
from prunus.compiler.training.objective import Objective  # noqa: E402

torch.set_num_threads(1)

KEY = perceptron().graph.inputs[0].name


def distance(model: Model, teacher: Model) -> float:
    """The mean squared error of the answers to samples that nobody learned from."""
    feeds = samples(teacher, 1000, 99).inputs
    (ours,), (theirs,) = (run_model(each, feeds).values() for each in (model, teacher))
    return float(((ours - theirs) ** 2).mean())


def test_the_teacher_answers_what_the_student_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mixed samples teach the function between them; the answers to the unmixed ones, given for them, mislead."""
    teacher, student = perceptron(1), perceptron(2)
    few = unlabelled(samples(teacher, 48, 3))
    tuning = Tuning(epochs=120, batch=24, learning_rate=0.03, augment=("mixup",), loss="mse")
    matched = distance(fine_tune(student, few, tuning, teacher=teacher).model, teacher)
    seeing = teaching.Teacher.__init__

    def blind(self: object, *arguments: object, changing: bool = False, **options: object) -> None:
        seeing(self, *arguments, changing=False, **options)

    monkeypatch.setattr(teaching.Teacher, "__init__", blind)
    mislead = distance(fine_tune(student, few, tuning, teacher=teacher).model, teacher)
    assert matched < 0.75 * mislead


def test_more_samples_of_another_kind_teach_the_function() -> None:
    """24 samples of its own, and 500 wider ones: at equal steps the student comes closer to the teacher."""
    teacher, student = perceptron(1), perceptron(2)
    few = unlabelled(samples(teacher, 24, 3))
    wide = Data({KEY: 1.5 * samples(teacher, 500, 4).inputs[KEY]})
    alone = fine_tune(student, few, Tuning(epochs=640, batch=24, learning_rate=0.03, loss="mse"), teacher=teacher)
    tuning = Tuning(epochs=30, batch=24, learning_rate=0.03, loss="mse")
    both = fine_tune(student, few, tuning, teacher=teacher, transfer=wide)
    assert distance(both.model, teacher) < 0.3 * distance(alone.model, teacher)


def test_labels_of_samples_to_transfer_on_count_nothing() -> None:
    teacher = perceptron(1)
    data, more = samples(teacher, 32, 3), samples(teacher, 32, 4)
    wrong = Data(more.inputs, (more.labels + 1) % 5)
    found = [
        fine_tune(perceptron(2), data, Tuning(epochs=2), teacher=teacher, transfer=each).model.to_bytes()
        for each in (more, wrong, unlabelled(more))
    ]
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("mixed", [False, True])
def test_only_what_is_labelled_has_a_loss_of_labels(mixed: bool) -> None:
    """The first four of eight samples are labelled; whatever is said of the others changes nothing."""
    model, data = perceptron(), samples(perceptron(1), 8, 3)
    objective = Objective(model, data, None, Tuning(), labelled=4)
    index, share = np.arange(8), np.linspace(0.1, 0.8, 8, dtype=np.float32)
    batch = Batch({}, index, index[::-1].copy(), share) if mixed else Batch({}, index)
    logits = torch.randn(8, 5, generator=torch.Generator().manual_seed(0))
    found = float(objective({objective.fetch[0]: logits}, batch))
    losses = -torch.log_softmax(logits, dim=1).numpy()
    own = [(row, row, share[row] if mixed else 1.0) for row in range(4)]
    other = [(row, 7 - row, 1 - share[row]) for row in range(4, 8)] if mixed else []
    weights = [weight for *_, weight in own + other]
    each = [losses[row, data.labels[sample]] for row, sample, _ in own + other]
    assert found == pytest.approx(np.average(each, weights=weights), rel=1e-5)


def test_an_interrupted_run_with_more_samples_resumes_and_tells_them_apart(tmp_path: Path) -> None:
    teacher, file = perceptron(1), tmp_path / "run.ckpt"
    data, more, others = (unlabelled(samples(teacher, 32, seed)) for seed in (3, 4, 5))
    tuning = Tuning(epochs=4, augment=("mixup", "noise"))
    whole = fine_tune(perceptron(), data, tuning, teacher=teacher, transfer=more)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(perceptron(), data, tuning, teacher=teacher, transfer=more, checkpoint=file, progress=stop_at(0.6))
    with pytest.raises(UsageError) as error:
        fine_tune(perceptron(), data, tuning, teacher=teacher, transfer=others, checkpoint=file)
    assert error.value.code == "checkpoint-mismatch"
    resumed = fine_tune(perceptron(), data, tuning, teacher=teacher, transfer=more, checkpoint=file)
    assert resumed.resumed_from == 2
    assert resumed.model.to_bytes() == whole.model.to_bytes()


def test_what_nobody_answers_or_does_not_fit_is_refused() -> None:
    model, data = perceptron(), samples(perceptron(1), 32, 3)
    with pytest.raises(UsageError) as error:
        fine_tune(model, data, Tuning(epochs=1), transfer=data)
    assert error.value.code == "transfer-without-teacher"
    for other in (data.inputs[KEY][:, :4], data.inputs[KEY].astype(np.float64)):
        with pytest.raises(UsageError) as error:
            fine_tune(model, data, Tuning(epochs=1), teacher=model, transfer=Data({KEY: other}))
        assert error.value.code == "transfer-mismatch"
