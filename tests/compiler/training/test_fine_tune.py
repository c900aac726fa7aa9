"""Fine-tuning and distillation: what they recover, what they keep, that they repeat, and what they refuse."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from training_nets import accuracy, named, perceptron, samples, stop_at, unlabelled, with_zeros

torch = pytest.importorskip("torch")

from prunus.compiler.data import Data, load_data  # noqa: E402
from prunus.compiler.errors import ToolError, UsageError  # noqa: E402
from prunus.compiler.executor import run_model  # noqa: E402
from prunus.compiler.model.edit import set_weight, weight  # noqa: E402
from prunus.compiler.model.load import load, load_proto  # noqa: E402
from prunus.compiler.model.model import Model  # noqa: E402
from prunus.compiler.passes.base import Context, Options  # noqa: E402
from prunus.compiler.passes.properties import PROPERTIES  # noqa: E402
from prunus.compiler.passes.prune_channels import PruneChannels  # noqa: E402
from prunus.compiler.training import Tuned, Tuning, fine_tune, trainer  # noqa: E402
from prunus.compiler.training.checkpoint import Checkpoint, write  # noqa: E402

torch.set_num_threads(1)

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"


@pytest.fixture(scope="module")
def digits() -> tuple[Model, Model, Data, Data]:
    """(the network, the same with 80 % of its MACs pruned by magnitude and refitted, training data, test data)."""
    model = load(DIGITS / "cnn.onnx")
    train, test = (load_data(DIGITS / f"{name}.npz", model) for name in ("calibration", "digits"))
    pruned = PruneChannels().run(model, Context(options=Options(sparsity=0.8, criterion="l2"), calibration=train)).model
    return model, pruned, train, test


# -- effects ----------------------------------------------------------------------------------------------------------


def test_distillation_recovers_a_pruned_network_without_labels(digits: tuple[Model, Model, Data, Data]) -> None:
    model, pruned, train, test = digits
    before = accuracy(pruned, test)
    tuning = Tuning(epochs=40, learning_rate=0.03, loss="cross_entropy")
    tuned = fine_tune(pruned, unlabelled(train), tuning, teacher=model)
    after = accuracy(tuned.model, test)
    assert before < 0.92
    assert after > before + 0.05
    assert after > 0.94
    assert tuned.losses[-1] < 0.3 * tuned.losses[0]


def test_distillation_beats_plain_fine_tuning_with_few_labels(digits: tuple[Model, Model, Data, Data]) -> None:
    """The very same 40 samples: the teacher's answers say more than the labels."""
    model, pruned, train, test = digits
    few, tuning = train.first(40), Tuning(epochs=40, batch=20, learning_rate=0.02, loss="cross_entropy")
    plain = accuracy(fine_tune(pruned, few, tuning).model, test)
    taught = accuracy(fine_tune(pruned, few, tuning, teacher=model).model, test)
    assert taught > plain + 0.01


def test_distillation_beats_labels_on_a_planted_teacher() -> None:
    """64 samples of a planted network, half of whose weights were lost; the mean over three of them."""
    gains = []
    for seed in range(3):
        teacher = perceptron(seed)
        student, few, test = with_zeros(teacher, 0.5, seed), samples(teacher, 64, 10 + seed), samples(teacher, 2000, 20)
        tuning = Tuning(epochs=100, learning_rate=0.02, seed=seed)
        plain = accuracy(fine_tune(student, few, tuning).model, test)
        taught = accuracy(fine_tune(student, few, replace(tuning, distillation=1.0), teacher=teacher).model, test)
        gains.append(taught - plain)
    assert np.mean(gains) > 0.02


def test_features_guide_a_student() -> None:
    """The hidden layer, too, comes to resemble the teacher's."""
    teacher = perceptron(1)
    student, data = perceptron(2), unlabelled(samples(teacher, 256, 3))
    hidden = named(teacher, "r")

    def distance(tuned: Tuned) -> float:
        ours, theirs = (run_model(model, data.inputs, [hidden])[hidden] for model in (tuned.model, teacher))
        return float(((ours - theirs) ** 2).mean())

    tuning = Tuning(epochs=30, learning_rate=1e-2)
    without = distance(fine_tune(student, data, tuning, teacher=teacher))
    guided = distance(fine_tune(student, data, tuning, teacher=teacher, features={hidden: hidden}))
    assert guided < 0.8 * without


def test_attention_maps_compare_features_with_other_channels(digits: tuple[Model, Model, Data, Data]) -> None:
    model, pruned, train, _ = digits
    first = next(node for node in model.graph if node.op_type == "Relu").outputs[0].name
    tuning = Tuning(epochs=2, loss="mse")
    tuned = fine_tune(pruned, unlabelled(train), tuning, teacher=model, features={first: first})
    assert tuned.losses[1] < tuned.losses[0]


# -- what is kept -----------------------------------------------------------------------------------------------------


def test_zeros_stay_and_the_check_sees_lost_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = perceptron()
    student, data = with_zeros(teacher, 0.6), samples(teacher, 64, 1)
    tuned = fine_tune(student, data, Tuning(epochs=3, weight_decay=0.1))
    assert PROPERTIES["sparsity"](student, tuned.model) is None
    assert PROPERTIES["valid"](student, tuned.model) is None
    assert PROPERTIES["interface"](student, tuned.model) is None
    changed = [np.mean(weight(tuned.model.graph.initializers[name]) != weight(value)) for name, value in
               student.graph.initializers.items()]  # fmt: skip
    assert min(changed) > 0.3
    monkeypatch.setattr(trainer, "zero_masks", lambda *_: {})
    loose = fine_tune(student, data, Tuning(epochs=3))
    assert "zeros" in (PROPERTIES["sparsity"](student, loose.model) or "")


def test_a_bias_of_zeros_is_no_structure_and_a_pruned_one_is() -> None:
    model, data = perceptron(), samples(perceptron(1), 64, 1)
    first, last = (model.graph.initializers[named(model, name)] for name in ("b", "d"))
    set_weight(first, np.zeros_like(weight(first)))
    set_weight(last, np.float32([1, 0, 0, 2, 3]))
    tuned = fine_tune(model, data, Tuning(epochs=1))
    assert weight(tuned.model.graph.initializers[first.name]).all()
    assert np.array_equal(weight(tuned.model.graph.initializers[last.name]) == 0, weight(last) == 0)
    assert PROPERTIES["sparsity"](model, tuned.model) is None


def test_masks_and_frozen_weights_hold() -> None:
    model = perceptron()
    data, name = samples(perceptron(1), 64, 1), named(model, "a")
    mask = np.arange(8 * 24).reshape(8, 24) % 2 == 0
    tuned = fine_tune(model, data, Tuning(epochs=2), masks={name: mask}, freeze=["last"])
    assert not weight(tuned.model.graph.initializers[name])[~mask].any()
    for frozen in ("c", "d"):
        key = named(model, frozen)
        assert np.array_equal(weight(tuned.model.graph.initializers[key]), weight(model.graph.initializers[key]))
    assert tuned.trained == tuple(sorted((name, named(model, "b"))))
    assert weight(model.graph.initializers[name])[~mask].all()  # the model given is as it was


# -- repeatable and resumable -----------------------------------------------------------------------------------------


def test_the_seed_alone_decides() -> None:
    model, data = perceptron(), samples(perceptron(1), 64, 1)
    first, again, other = (fine_tune(model, data, Tuning(epochs=2, seed=seed)).model.to_bytes() for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_an_interrupted_run_resumes_to_the_same_bytes(fraction: float, tmp_path: Path) -> None:
    model, teacher, tuning = perceptron(), perceptron(1), Tuning(epochs=5, weight_decay=0.01)
    data = samples(teacher, 96, 1)
    whole = fine_tune(model, data, tuning, teacher=teacher)
    file = tmp_path / "run.ckpt"
    with pytest.raises(KeyboardInterrupt):
        fine_tune(model, data, tuning, teacher=teacher, checkpoint=file, progress=stop_at(fraction))
    resumed = fine_tune(model, data, tuning, teacher=teacher, checkpoint=file)
    assert resumed.resumed_from == int(fraction * 5)
    assert resumed.model.to_bytes() == whole.model.to_bytes()
    assert resumed.losses == whole.losses
    assert fine_tune(model, data, tuning, teacher=teacher, checkpoint=file).model.to_bytes() == whole.model.to_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ["run.ckpt"]


def test_damaged_and_foreign_checkpoints_are_refused(tmp_path: Path) -> None:
    model, data, file = perceptron(), samples(perceptron(1), 64, 1), tmp_path / "run.ckpt"
    fine_tune(model, data, Tuning(epochs=1), checkpoint=file)
    good = file.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    for bad in (b"", good[:-1], good[:40], bytes(flipped), b"PK" + good, good + b"x"):
        file.write_bytes(bad)
        with pytest.raises(UsageError) as refusal:
            fine_tune(model, data, Tuning(epochs=1), checkpoint=file)
        assert refusal.value.code == "bad-checkpoint"
        assert file.read_bytes() == bad
    file.write_bytes(good)
    with pytest.raises(UsageError) as refusal:
        fine_tune(model, data, Tuning(epochs=1, seed=3), checkpoint=file)
    assert refusal.value.code == "checkpoint-mismatch"


def test_a_checkpoint_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "run.ckpt"
    write(file, Checkpoint("one", (1.0,), {}))
    before = file.read_bytes()

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ToolError) as refusal:
        write(file, Checkpoint("two", (1.0,), {}))
    assert refusal.value.code == "checkpoint-failed"
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("batch", [1, 4])
def test_a_model_with_a_fixed_batch_learns(batch: int) -> None:
    teacher = perceptron(1)
    proto = perceptron().to_proto()
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch
    model, data = load_proto(proto), samples(teacher, 42, 1)
    feeds = {model.graph.inputs[0].name: next(iter(data.inputs.values()))}
    tuned = fine_tune(model, Data(feeds), Tuning(epochs=8), teacher=teacher)
    assert tuned.losses[-1] < 0.95 * tuned.losses[0]


def test_steps_are_relative_to_the_weights() -> None:
    """The same function with its two layers scaled against each other trains to the same loss."""
    model, teacher = perceptron(), perceptron(1)
    data, twin = samples(teacher, 64, 1), model.clone()
    for name, factor in (("a", 2**-6), ("b", 2**-6), ("c", 2**6)):
        value = twin.graph.initializers[named(model, name)]
        set_weight(value, weight(value) * np.float32(factor))
    plain, scaled = (fine_tune(each, data, Tuning(epochs=5), teacher=teacher).losses for each in (model, twin))
    assert scaled == pytest.approx(plain, rel=1e-2)


def test_bfloat16_learns_the_same_and_repeats() -> None:
    teacher = perceptron(1)
    data = samples(teacher, 256, 1)
    tuning = Tuning(epochs=20, learning_rate=0.03)
    exact, fast, again = (
        fine_tune(perceptron(), data, replace(tuning, precision=precision), teacher=teacher)
        for precision in ("float32", "bfloat16", "bfloat16")
    )
    assert fast.losses != exact.losses
    assert fast.losses == again.losses
    assert fast.losses[-1] == pytest.approx(exact.losses[-1], rel=0.1)
    assert exact.losses[-1] < 0.2 * exact.losses[0]
    assert fast.model.to_bytes() == again.model.to_bytes()


# -- refusals ---------------------------------------------------------------------------------------------------------


def refusal(*args: object, **options: object) -> str:
    with pytest.raises(UsageError) as error:
        fine_tune(*args, **options)
    return error.value.code


def test_bad_input_is_named() -> None:
    model = perceptron()
    data = samples(model, 64, 1)
    inputs = data.inputs
    assert refusal(model, unlabelled(data)) == "labels-needed"
    assert refusal(model, Data(inputs, np.full(64, 5)), Tuning(loss="cross_entropy")) == "bad-labels"
    assert refusal(model, Data(inputs, np.full(64, 0.5)), Tuning(loss="cross_entropy")) == "bad-labels"
    assert refusal(model, Data(inputs, np.zeros((64, 3)))) == "bad-labels"
    assert refusal(model, data, teacher=perceptron(classes=3)) == "teacher-mismatch"
    assert refusal(model, data, teacher=load(DIGITS / "cnn.onnx")) == "teacher-mismatch"
    assert refusal(model, data, teacher=model, features={named(model, "r"): "nothing"}) == "teacher-mismatch"
    assert refusal(model, data, teacher=model, features={"nothing": named(model, "r")}) == "unknown-value"
    assert refusal(model, data, freeze=["first", "last"]) == "nothing-to-train"
    assert refusal(model, data, freeze=["middle"]) == "unknown-freeze"
    assert refusal(model, data, masks={named(model, "a"): np.ones(3)}) == "bad-mask"
    assert refusal(model, data, Tuning(device="abacus")) == "no-such-device"
    assert refusal(model, data.first(0)) == "too-few-samples"
    broken = Data({name: array * np.float32(np.nan) for name, array in inputs.items()}, data.labels)
    assert refusal(model, broken) == "diverged"


@pytest.mark.parametrize(
    "options",
    [{"epochs": -1}, {"learning_rate": float("nan")}, {"temperature": 0.0}, {"distillation": 1.5}, {"loss": "hinge"}],
)
def test_bad_options_are_named(options: dict[str, object]) -> None:
    with pytest.raises(UsageError) as error:
        Tuning(**options)
    assert error.value.code == "bad-training-option"
    assert next(iter(options)) in str(error.value)


def test_a_diverged_run_leaves_no_checkpoint(tmp_path: Path) -> None:
    model, file = perceptron(), tmp_path / "run.ckpt"
    data = samples(model, 64, 1)
    broken = Data({name: array * np.float32(np.inf) for name, array in data.inputs.items()}, data.labels)
    assert refusal(model, broken, checkpoint=file) == "diverged"
    assert not list(tmp_path.iterdir())
