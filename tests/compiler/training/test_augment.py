"""Augmentation: what each change does to a picture, which axes it finds, that the seed decides, and that it helps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from training_nets import stop_at

torch = pytest.importorskip("torch")

from prunus.compiler.data import Data  # noqa: E402
from prunus.compiler.errors import UsageError  # noqa: E402
from prunus.compiler.executor import run_model  # noqa: E402
from prunus.compiler.model.load import load_proto  # noqa: E402
from prunus.compiler.model.model import Model  # noqa: E402
from prunus.compiler.training import Tuning, fine_tune  # noqa: E402
from prunus.compiler.training.augment import MIXING, SINGLE, Augmenter, Batch  # noqa: E402
from prunus.compiler.training.objective import Objective  # noqa: E402
from prunus.compiler.training.picture import layout_of  # noqa: E402
from prunus.compiler.training.tuning import AUGMENTATIONS  # noqa: E402

torch.set_num_threads(1)

SIDE, COUNT = 12, 64


def network(order: str = "nchw", classes: int = 3, seed: int = 0, width: int = 4) -> Model:
    """A small network of 2-channel pictures, of which `order` says how they lie at the input."""
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    rng = np.random.default_rng(seed)
    weights = {
        "w": rng.normal(size=(width, 2, 3, 3)) / 4,
        "v": rng.normal(size=(2 * width, width, 3, 3)) / (3 * width**0.5),
        "c": rng.normal(size=(2 * width, classes)),
    }
    first = (
        [node("Transpose", ["x"], ["p"], perm=[0, 3, 1, 2])] if order == "nhwc" else [node("Mul", ["x", "k"], ["p"])]
    )
    graph = onnx.helper.make_graph(
        [
            *first,
            node("Conv", ["p", "w"], ["h"], pads=[1, 1, 1, 1]),
            node("Relu", ["h"], ["r"]),
            node("Conv", ["r", "v"], ["i"], strides=[2, 2]),
            node("Relu", ["i"], ["s"]),
            node("GlobalAveragePool", ["s"], ["g"]),
            node("Flatten", ["g"], ["f"]),
            node("Gemm", ["f", "c"], ["y"]),
        ],
        "network",
        [value("x", 1, ["batch", SIDE, SIDE, 2] if order == "nhwc" else ["batch", 2, SIDE, SIDE])],
        [value("y", 1, ["batch", classes])],
        [onnx.numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in weights.items()]
        + ([] if order == "nhwc" else [onnx.numpy_helper.from_array(np.float32(1), "k")]),
    )
    return load_proto(onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 21)]))


def pictures(order: str = "nchw", count: int = COUNT, seed: int = 0) -> np.ndarray:
    """Smooth random pictures from 0 to 1."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((count, 2, 4, 4))
    found = np.kron(coarse, np.ones((3, 3))).astype(np.float32)
    return np.ascontiguousarray(found.transpose(0, 2, 3, 1)) if order == "nhwc" else found


def augmented(name: str, order: str = "nchw", epoch: int = 0, step: int = 0, seed: int = 0) -> tuple:
    model = network(order)
    key = model.graph.inputs[0].name
    data = Data({key: pictures(order)})
    batch = Augmenter(model, data, (name,), seed)(data.inputs, np.arange(COUNT), epoch, step)
    return data.inputs[key], batch.arrays[key], batch


def test_the_names_are_those_of_the_tables() -> None:
    assert (*SINGLE, *MIXING) == AUGMENTATIONS


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_both_orders_of_axes_see_the_same_change(name: str) -> None:
    before, after, _ = augmented(name)
    _, other, _ = augmented(name, "nhwc")
    assert after.shape == before.shape
    assert after.dtype == np.float32
    np.testing.assert_allclose(other.transpose(0, 3, 1, 2), after, atol=1e-6)  # sums in another order
    assert not np.array_equal(before, after)
    assert before.min() <= after.min() <= after.max() <= before.max()


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_seed_epoch_and_step_alone_decide(name: str) -> None:
    same, again = augmented(name, epoch=2, step=3)[1], augmented(name, epoch=2, step=3)[1]
    np.testing.assert_array_equal(same, again)
    for other in ({"epoch": 1, "step": 3}, {"epoch": 2, "step": 4}, {"epoch": 2, "step": 3, "seed": 1}):
        assert not np.array_equal(same, augmented(name, **other)[1])


def test_flip_mirrors_about_half() -> None:
    before, after, _ = augmented("flip")
    mirrored = [np.array_equal(b[..., ::-1], a) for b, a in zip(before, after, strict=True)]
    same = [np.array_equal(b, a) for b, a in zip(before, after, strict=True)]
    assert all(m or s for m, s in zip(mirrored, same, strict=True))
    assert 0.3 < np.mean(mirrored) < 0.7


def test_shift_moves_whole_pixels() -> None:
    before, after, _ = augmented("shift")
    reach = SIDE // 8 + 1
    padded = np.pad(before, [(0, 0), (0, 0), (reach, reach), (reach, reach)], mode="reflect")
    for index, moved in enumerate(after):
        windows = [
            padded[index, :, row : row + SIDE, column : column + SIDE]
            for row in range(2 * reach + 1)
            for column in range(2 * reach + 1)
        ]
        assert any(np.array_equal(window, moved) for window in windows)


@pytest.mark.parametrize("name", ["crop", "rotate"])
def test_warps_keep_a_plain_picture_and_a_small_turn_keeps_the_middle(name: str) -> None:
    model = network()
    key = model.graph.inputs[0].name
    plain = np.broadcast_to(np.linspace(0, 1, COUNT, dtype=np.float32)[:, None, None, None], (COUNT, 2, SIDE, SIDE))
    data = Data({key: plain})
    after = Augmenter(model, data, (name,), 0)(data.inputs, np.arange(COUNT), 0, 0).arrays[key]
    np.testing.assert_allclose(after, plain, atol=1e-6)


def test_erase_puts_the_mean_into_a_rectangle() -> None:
    before, after, _ = augmented("erase")
    changed = (before != after).any(axis=1)
    assert 0.25 < np.mean(changed.any(axis=(1, 2))) < 0.75
    for mask, picture in zip(changed, after, strict=True):
        np.testing.assert_allclose(picture[:, mask], before.mean(), rtol=1e-5)
        rows, columns = mask.any(axis=1), mask.any(axis=0)
        assert mask[np.ix_(rows, columns)].mean() > 0.9 if mask.any() else True


@pytest.mark.parametrize("name", MIXING)
def test_mixing_says_what_it_mixed(name: str) -> None:
    before, after, batch = augmented(name)
    share = batch.share[:, None, None, None]
    mean = share * before + (1 - share) * before[batch.partner]
    if name == "mixup":
        np.testing.assert_allclose(after, mean, atol=1e-6)
    else:
        own = (after == before).all(axis=1).mean(axis=(1, 2))
        assert np.all(own >= batch.share - 1e-6)  # where both are equal, too
        assert np.all((after == before) | (after == before[batch.partner]))
    assert batch.share.std() > 0.2


def test_integers_stay_integers_in_their_range() -> None:
    proto = network().to_proto()
    proto.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.UINT8
    proto.graph.node.insert(0, onnx.helper.make_node("Cast", [proto.graph.input[0].name], ["f"], to=1))
    proto.graph.node[1].input[0] = "f"
    model = load_proto(proto)
    key = model.graph.inputs[0].name
    data = Data({key: (pictures() * 200 + 20).astype(np.uint8)})
    after = Augmenter(model, data, AUGMENTATIONS, 0)(data.inputs, np.arange(COUNT), 0, 0).arrays[key]
    assert after.dtype == np.uint8
    assert data.inputs[key].min() <= after.min() <= after.max() <= data.inputs[key].max()


def test_signals_and_reshaped_pictures_have_places_and_vectors_have_none() -> None:
    assert layout_of(single_input([1, 49, 10, 1], ("Reshape", [1, 1, 49, 10]))).order == (0, 3, 1, 2)
    assert layout_of(single_input([1, 6, 40], None)).order == (0, 1, -1, 2)
    assert layout_of(single_input([1, 40], ("Reshape", [1, 1, 40]))).order == (0, -1, -1, 1)
    assert layout_of(single_input([1, 8], ("Gemm", None))) is None


def single_input(shape: list[int], first: tuple[str, list[int] | None] | None):
    """The input of a network that convolves it, after what `first` says."""
    node = onnx.helper.make_node
    nodes, initializers, source, seen = [], [], "x", shape
    if first and first[0] == "Reshape":
        seen = first[1]
        nodes.append(node("Reshape", ["x", "s"], ["p"]))
        initializers.append(onnx.numpy_helper.from_array(np.array(seen, np.int64), "s"))
        source = "p"
    if first and first[0] == "Gemm":
        weights = np.ones((shape[1], 2), np.float32)
        nodes.append(node("Gemm", ["x", "w"], ["y"]))
    else:
        weights = np.ones((2, seen[1], *[1] * (len(seen) - 2)), np.float32)
        nodes.append(node("Conv", [source, "w"], ["y"]))
    initializers.append(onnx.numpy_helper.from_array(weights, "w"))
    value = onnx.helper.make_tensor_value_info
    output = [1, 2, *seen[2:]]
    graph = onnx.helper.make_graph(nodes, "g", [value("x", 1, shape)], [value("y", 1, output)], initializers)
    proto = onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 21)])
    return load_proto(proto).graph.inputs[0]


def test_augmentation_helps_a_student_with_few_samples() -> None:
    """A network learns the function of another from 8 unlabelled pictures."""
    teacher, student = network(), network(seed=10, width=8)
    key, theirs = student.graph.inputs[0].name, teacher.graph.inputs[0].name
    few, test = pictures(count=8), pictures(count=400, seed=99)
    (wanted,) = run_model(teacher, {theirs: test}).values()
    errors = []
    for augment in ((), ("flip", "shift", "mixup", "cutmix")):
        tuning = Tuning(epochs=250, batch=8, learning_rate=0.03, augment=augment, loss="mse")
        tuned = fine_tune(student, Data({key: few}), tuning, teacher=teacher)
        (found,) = run_model(tuned.model, {key: test}).values()
        errors.append(float(((found - wanted) ** 2).mean()))
    assert errors[1] < 0.8 * errors[0]


def test_an_interrupted_run_with_augmentation_resumes_to_the_same_bytes(tmp_path: Path) -> None:
    model, teacher = network(), network(seed=1)
    data, file = Data({model.graph.inputs[0].name: pictures()}), tmp_path / "run.ckpt"
    tuning = Tuning(epochs=4, augment=AUGMENTATIONS, precision="bfloat16")
    whole = fine_tune(model, data, tuning, teacher=teacher)
    with pytest.raises(KeyboardInterrupt):
        fine_tune(model, data, tuning, teacher=teacher, checkpoint=file, progress=stop_at(0.6))
    resumed = fine_tune(model, data, tuning, teacher=teacher, checkpoint=file)
    assert resumed.resumed_from == 2
    assert resumed.model.to_bytes() == whole.model.to_bytes()


def test_mixed_labels_have_both_their_shares() -> None:
    """The loss of a mixed batch is the mean of the losses with either label, and not that of the first alone."""
    model = network()
    key = model.graph.inputs[0].name
    data = Data({key: pictures()}, np.arange(COUNT) % 3)
    objective = Objective(model, data, None, Tuning())
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    index, partner = np.arange(8), np.arange(8)[::-1].copy()
    share = np.linspace(0, 1, 8, dtype=np.float32)
    found = objective({objective.fetch[0]: logits}, Batch({}, index, partner, share))
    targets = torch.zeros(8, 3)
    for row in range(8):
        targets[row, index[row] % 3] += share[row]
        targets[row, partner[row] % 3] += 1 - share[row]
    assert float(found) == pytest.approx(float(torch.nn.functional.cross_entropy(logits, targets)), rel=1e-5)


def refused(model: Model, data: Data, *names: str) -> str:
    with pytest.raises(UsageError) as error:
        fine_tune(model, data, Tuning(augment=names, epochs=1), teacher=model)
    return error.value.code


def test_what_cannot_be_augmented_is_refused() -> None:
    model = network()
    key = model.graph.inputs[0].name
    labels = np.zeros((COUNT, 3, 4), np.float32)
    assert refused(model, Data({key: pictures()}, labels), "mixup") == "augment-labels"
    proto = onnx.helper.make_model(
        onnx.helper.make_graph(
            [onnx.helper.make_node("Gemm", ["x", "w"], ["y"])],
            "g",
            [onnx.helper.make_tensor_value_info("x", 1, ["batch", 4])],
            [onnx.helper.make_tensor_value_info("y", 1, ["batch", 2])],
            [onnx.numpy_helper.from_array(np.ones((4, 2), np.float32), "w")],
        ),
        ir_version=10,
        opset_imports=[onnx.helper.make_opsetid("", 21)],
    )
    vectors = load_proto(proto)
    data = Data({vectors.graph.inputs[0].name: np.eye(4, dtype=np.float32)})
    assert refused(vectors, data, "flip") == "augment-no-picture"
    assert len(fine_tune(vectors, data, Tuning(augment=("mixup", "noise"), epochs=1), teacher=vectors).losses) == 1
    with pytest.raises(UsageError) as error:
        Tuning(augment=("flop",))
    assert error.value.code == "bad-training-option"
