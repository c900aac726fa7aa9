"""Every criterion for weights, in every pattern, beats chance where the weights to remove were planted for it."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from pruning_nets import NETS, net

from prunus.compiler.data import Data
from prunus.compiler.errors import UsageError
from prunus.compiler.executor import run_model
from prunus.compiler.model.model import Model
from prunus.compiler.pruning.patterns import parse_pattern
from prunus.compiler.pruning.sparsify import sparsify
from prunus.compiler.pruning.weight_criteria import CRITERIA

INPUTS, OUTPUTS = 32, 8
GRADIENT = pytest.mark.skipif(find_spec("torch") is None, reason="needs the extra train")
WITH_DATA = ["obs", "wanda", pytest.param("taylor", marks=GRADIENT), pytest.param("obd", marks=GRADIENT)]
PATTERNS = ["weight", "2:4", "1:2", "4x4", "8x2"]


def quiet(pattern: str) -> np.ndarray:
    """Half of the inputs, so that the pattern can remove just these."""
    width = {"weight": 1, "2:4": 2, "1:2": 1, "4x4": 4, "8x2": 2}[pattern]
    return np.arange(INPUTS) // width % 2 == 0


def one_layer(pattern: str, seed: int, factor: float) -> Model:
    """Weights of the quiet inputs are larger or smaller than the others by a factor."""
    w = np.random.default_rng(seed).standard_normal((OUTPUTS, INPUTS)).astype(np.float32)
    w[:, quiet(pattern)] *= factor
    return net("y = Gemm<transB = 1>(x, w, b)", {"w": w, "b": (8,)}, x="float[N,32] x", y="float[N,8] y")


def draw(pattern: str, seed: int, factor: float, count: int = 256) -> Data:
    x = np.random.default_rng(100 + seed).standard_normal((count, INPUTS)).astype(np.float32)
    x[:, quiet(pattern)] *= factor
    return Data({"x": x})


def loss(model: Model, pattern: str, criterion: str, data: Data | None, fresh: Data, seed: int = 0) -> float:
    """Relative squared error of the output, half of the weights being zero."""
    pruned = sparsify(model, parse_pattern(pattern), 0.5, criterion, data=data, seed=seed).model
    expected, found = (run_model(each, fresh.inputs)["y"] for each in (model, pruned))
    return float(np.square(found - expected).sum() / np.square(expected - expected.mean(axis=0)).sum())


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("criterion", WITH_DATA)
def test_criteria_with_data_see_which_inputs_matter(criterion: str, pattern: str) -> None:
    """Half of the inputs are all that matters, and have the small weights: magnitude removes these."""
    for seed in range(3):
        model = one_layer(pattern, seed, 3)
        data, fresh = draw(pattern, seed, 1e-3), draw(pattern, seed + 50, 1e-3)
        found = loss(model, pattern, criterion, data, fresh)
        assert found < 0.1 * loss(model, pattern, "magnitude", data, fresh)
        assert found < 0.1 * loss(model, pattern, "random", data, fresh, seed)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_magnitude_beats_chance_without_data(pattern: str) -> None:
    for seed in range(3):
        model, fresh = one_layer(pattern, seed, 0.01), draw(pattern, seed, 1)
        assert loss(model, pattern, "magnitude", None, fresh) < 1e-3
        assert loss(model, pattern, "random", None, fresh, seed) > 0.1


def decides_by_half(seed: int) -> tuple[Model, Data, Data]:
    """Half of the hidden neurons have the largest weights and raise all classes alike; the others decide.

    The samples are labelled by the network itself. Only the first layer can be pruned.
    """
    rng = np.random.default_rng(seed)
    w1, w2 = (rng.standard_normal(shape).astype(np.float32) for shape in ((16, 12), (4, 16)))
    w1[8:] *= 3
    w2[:, :8] -= w2[:, :8].mean(axis=1, keepdims=True)
    w2[:, 8:] = 0.5
    model = net(
        "h = Gemm<transB = 1>(x, w1)  r = Relu(h)  y = Gemm<transB = 1, alpha = 0.5>(r, w2)",
        {"w1": w1, "w2": w2}, x="float[N,12] x", y="float[N,4] y",
    )  # fmt: skip
    x = rng.standard_normal((456, 12)).astype(np.float32)
    data = Data({"x": x}, run_model(model, {"x": x})["y"].argmax(axis=1))
    return model, data.first(256), data.take(slice(256, None))


@GRADIENT
@pytest.mark.parametrize("criterion", ["taylor", "obd"])
def test_gradients_see_what_the_decision_needs(criterion: str) -> None:
    """Optimal Brain Damage and Taylor keep every decision; magnitude, chance and whoever looks at outputs do not."""
    for seed in range(3):
        model, data, fresh = decides_by_half(seed)

        def accuracy(name: str, draw: int = 0, model: Model = model, data: Data = data, fresh: Data = fresh) -> float:
            pruned = sparsify(model, parse_pattern("weight"), 0.5, name, data=data, seed=draw).model
            return float((run_model(pruned, fresh.inputs)["y"].argmax(axis=1) == fresh.labels).mean())

        chance = np.mean([accuracy("random", each) for each in range(4)])
        found = accuracy(criterion)
        assert found > 0.99
        assert max(accuracy("magnitude"), accuracy("wanda"), accuracy("obs"), chance) < 0.8


def test_unknown_and_starved_criteria_are_refused() -> None:
    model = NETS["chain"]()
    with pytest.raises(UsageError) as unknown:
        sparsify(model, parse_pattern("weight"), 0.5, "best")
    assert unknown.value.code == "unknown-criterion"
    for name, criterion in CRITERIA.items():
        if criterion.needs_data:
            with pytest.raises(UsageError) as starved:
                sparsify(model, parse_pattern("weight"), 0.5, name)
            assert starved.value.code == "needs-data"
