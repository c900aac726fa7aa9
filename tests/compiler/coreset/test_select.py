"""Data pruning beats chance at equal size: where most samples are alike, and where a few hard ones matter."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from itertools import combinations

import numpy as np
import pytest
from pruning_nets import NETS, net

from prunus.compiler.coreset import METHODS, Coreset, parse_coreset, select
from prunus.compiler.coreset.cover import k_center, representatives
from prunus.compiler.coreset.features import features
from prunus.compiler.coreset.hardness import el2n, grand
from prunus.compiler.data import Data
from prunus.compiler.errors import UsageError
from prunus.compiler.executor import run_model
from prunus.compiler.model.model import Model
from prunus.compiler.passes.base import Context, Options
from prunus.compiler.passes.quantize import Quantize
from prunus.compiler.pruning.prove import random_inputs

TORCH = pytest.mark.skipif(find_spec("torch") is None, reason="needs the extra train")
KINDS = 12


def classifier() -> Model:
    return net(
        "h = Gemm<transB = 1>(x, w1, b1)  r = Relu(h)  y = Gemm<transB = 1>(r, w2, b2)",
        {"w1": (24, 8), "b1": (24,), "w2": (4, 24), "b2": (4,)},
        x="float[N,8] x", y="float[N,4] y",
    )  # fmt: skip


def lopsided(seed: int, count: int = 1200) -> Data:
    """Twelve kinds of samples; nineteen of twenty samples are near copies of the first two. Kinds have labels."""
    centres = np.random.default_rng(42).standard_normal((KINDS, 8)) * 2
    rng = np.random.default_rng(seed)
    kinds = np.where(rng.random(count) < 0.95, rng.integers(0, 2, count), rng.integers(2, KINDS, count))
    return of_kinds(kinds, centres, rng)


def balanced(seed: int = 99, count: int = 480) -> Data:
    centres = np.random.default_rng(42).standard_normal((KINDS, 8)) * 2
    return of_kinds(np.arange(count) % KINDS, centres, np.random.default_rng(seed))


def of_kinds(kinds: np.ndarray, centres: np.ndarray, rng: np.random.Generator) -> Data:
    x = centres[kinds] + np.where(kinds < 2, 0.02, 0.3)[:, None] * rng.standard_normal((len(kinds), 8))
    return Data({"x": x.astype(np.float32)}, kinds % 4)


def accuracy(model: Model, data: Data) -> float:
    return float((run_model(model, data.inputs)["y"].argmax(axis=1) == data.labels).mean())


@cache
def first_look(seed: int) -> Model:
    """A network that knows the samples that are many: hardness is measured by such a one."""
    from prunus.compiler.training import Tuning, fine_tune

    return fine_tune(classifier(), lopsided(seed), Tuning(epochs=5, batch=32, learning_rate=1e-2, seed=seed)).model


@cache
def accuracy_after(method: str, seed: int) -> float:
    """Training goes on with 48 selected samples."""
    from prunus.compiler.training import Tuning, fine_tune

    few = select(lopsided(seed), first_look(seed), method, 48, seed)
    tuning = Tuning(epochs=30, batch=16, learning_rate=0.03, seed=seed)
    return accuracy(fine_tune(first_look(seed), few, tuning).model, balanced())


@TORCH
@pytest.mark.parametrize("method", ["el2n", "grand", "k-center", "dedup"])
def test_training_on_selected_samples_beats_training_on_random_ones(method: str) -> None:
    for seed in range(3):
        assert accuracy_after(method, seed) > accuracy_after("random", seed) + 0.1


def error_of_int8(model: Model, calibration: Data, data: Data) -> float:
    """Relative squared error of the quantized model's outputs."""
    context = Context(options=Options(ranges="minmax"), calibration=calibration)
    quantized = Quantize().run(model, context).model
    expected, found = (run_model(each, data.inputs)["y"] for each in (model, quantized))
    return float(np.square(found - expected).sum() / np.square(expected).sum())


@pytest.mark.parametrize("method", ["k-center", "dedup"])
def test_calibration_on_selected_samples_beats_random_ones(method: str) -> None:
    model = classifier()
    for seed in range(4):
        data = lopsided(seed)
        found, *chance = (
            error_of_int8(model, select(data, model, each, 16, draw), balanced())
            for each, draw in ((method, seed), *(("random", 10 * seed + draw) for draw in range(4)))
        )
        assert found < 0.5 * np.mean(chance)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_greedy_centres_are_within_twice_of_the_best(count: int) -> None:
    for seed in range(5):
        points = np.random.default_rng(seed).standard_normal((12, 2))
        distances = np.linalg.norm(points[:, None] - points[None], axis=2)

        def radius(chosen: tuple[int, ...], distances: np.ndarray = distances) -> float:
            return float(distances[:, list(chosen)].min(axis=1).max())

        found = k_center(points, count)
        assert len(set(found.tolist())) == count
        assert radius(tuple(found)) <= 2 * min(map(radius, combinations(range(12), count)))


def test_centres_of_equal_samples_are_distinct() -> None:
    assert sorted(k_center(np.zeros((5, 3)), 5).tolist()) == [0, 1, 2, 3, 4]


def test_one_sample_of_each_kind_is_kept() -> None:
    kinds = np.random.default_rng(0).standard_normal((6, 8))
    noise = 1e-3 * np.random.default_rng(1).standard_normal((60, 8))
    assert representatives(kinds[np.arange(60) % 6] + noise, 20).tolist() == [0, 1, 2, 3, 4, 5]


def test_errors_of_answers_are_their_distance_to_the_labels() -> None:
    model, data = classifier(), balanced(count=24)
    logits = run_model(model, data.inputs)["y"].astype(np.float64)
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(el2n(data, model), np.linalg.norm(chances - np.eye(4)[data.labels], axis=1), rtol=1e-5)
    targets = Data(data.inputs, logits + 1)
    np.testing.assert_allclose(el2n(targets, model), 2, rtol=1e-5)


@TORCH
def test_gradients_of_a_linear_classifier_are_those_of_the_formula() -> None:
    """d loss / d (W, b) = (p - y) (x, 1)': its norm is the product of both."""
    model = net("y = Gemm<transB = 1>(x, w, b)", {"w": (4, 8), "b": (4,)}, x="float[N,8] x", y="float[N,4] y")
    data = balanced(count=24)
    inputs = np.linalg.norm(np.concatenate([data.inputs["x"], np.ones((24, 1))], axis=1), axis=1)
    np.testing.assert_allclose(grand(data, model, 0), el2n(data, model) * inputs, rtol=1e-4)


@pytest.mark.parametrize("method", [name for name in METHODS if name != "grand"])
def test_selected_samples_keep_their_order_and_labels(method: str) -> None:
    model, data = classifier(), balanced()
    few, again = (select(data, model, method, 40, seed=3) for _ in range(2))
    places = [int(np.flatnonzero((data.inputs["x"] == row).all(axis=1))[0]) for row in few.inputs["x"]]
    assert len(few) == 40 and places == sorted(set(places))
    assert np.array_equal(few.labels, data.labels[places]) and np.array_equal(few.inputs["x"], again.inputs["x"])


def test_requests_are_read() -> None:
    assert parse_coreset("k-center:256") == Coreset("k-center", 256)
    assert str(parse_coreset("el2n:64")) == "el2n:64"


REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "coreset-without-labels": (
        lambda: select(Data(balanced().inputs), classifier(), "el2n", 8), "needs-labels",
    ),
    "coreset-larger-than-the-data": (lambda: select(balanced(count=24), classifier(), "random", 25), "too-few-samples"),
    "coreset-labels-of-other-classes": (
        lambda: select(Data(balanced().inputs, np.full(480, 4)), classifier(), "el2n", 8), "bad-labels",
    ),
    "coreset-unknown": (lambda: select(balanced(), classifier(), "best", 8), "unknown-coreset"),
    "coreset-without-count": (lambda: parse_coreset("k-center"), "bad-coreset"),
    "coreset-unknown-in-request": (lambda: parse_coreset("best:8"), "unknown-coreset"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_bad_requests_are_refused(name: str, golden: Callable[[str, str], None]) -> None:
    ask, code = REFUSED[name]
    with pytest.raises(UsageError) as failure:
        ask()
    assert failure.value.code == code
    golden(f"errors/{name}.txt", f"{failure.value}\n  code: {code} (exit code {failure.value.exit_code})\n")


@pytest.mark.parametrize("name", NETS)
def test_every_kind_of_network_has_features(name: str) -> None:
    model = NETS[name]()
    data = Data(random_inputs(model, 24, 0))
    found = features(data, model)
    assert len(found) == 24 and np.isfinite(found).all()
    assert len(select(data, model, "k-center", 8)) == 8
