"""The criterion `obs`: prices of channels whose readers are refitted, comparable between layers."""

from __future__ import annotations

import numpy as np
import pytest
from planted import branches, pooled_classifier, samples
from pruning_nets import net

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.model.model import Model
from prunus.compiler.pruning import surgeon
from prunus.compiler.pruning.criteria import importance
from prunus.compiler.pruning.least_squares import RIDGE
from prunus.compiler.pruning.select import select
from prunus.compiler.pruning.surgeon import LEAST_FREEDOM, _Problem, _Reader


def test_finds_copies_that_magnitude_does_not() -> None:
    """Of two proportional channels one is free to go, however large it is."""
    model = copies()
    channels = channel_groups(model)
    units = channels.units["w1", 0]
    scores, magnitude = (importance(model, channels, name, data=samples(64))[units] for name in ("obs", "l2"))
    assert set((np.argsort(scores)[:4] % 4).tolist()) == {0, 1, 2, 3}  # one of each pair
    assert set((np.argsort(magnitude)[:4] % 4).tolist()) != {0, 1, 2, 3}


def copies() -> Model:
    """Eight channels of which the last four are three times the first four, in a different order of size."""
    rng = np.random.default_rng(4)
    first = rng.standard_normal((4, 3, 3, 3)).astype(np.float32) * np.array([1, 5, 20, 2], np.float32).reshape(
        4, 1, 1, 1
    )
    return net(
        """a = Conv(x, w1)  c = Relu(a)  h = Conv(c, w2, b2)  r = Relu(h)
           p = GlobalAveragePool(r)  f = Flatten(p)  y = Gemm<transB = 1>(f, wy, by)""",
        {"w1": np.concatenate([first, 3 * first]), "w2": (6, 8, 3, 3), "b2": (6,), "wy": (5, 6), "by": (5,)},
    )


def test_prices_a_channel_like_a_refit_without_it() -> None:
    """The first cost of every channel: the residual of the problem without its inputs, over what samples leave free."""
    rng = np.random.default_rng(6)
    a = rng.standard_normal((400, 12)) @ rng.standard_normal((12, 12))
    w = rng.standard_normal((12, 5))
    gram = a.T @ a
    ridge = RIDGE * np.trace(gram) / 12
    gram += ridge * np.eye(12)
    rows = np.arange(12).reshape(4, 3)  # four channels of three rows each
    inverse = np.linalg.inv(gram)
    reader = _Reader(inverse, w.copy(), _Problem(inverse, w, 1.0, 400, ridge, 3, 0), rows)
    free = 1 - np.trace(a.T @ a @ inverse) / 400
    costs = reader.costs(np.arange(4))
    for channel in range(4):
        stay = np.setdiff1d(np.arange(12), rows[channel])
        refit = np.linalg.solve(gram[np.ix_(stay, stay)], gram[stay] @ w)
        change = w.copy()
        change[stay] -= refit
        assert costs[channel] == pytest.approx(np.trace(change.T @ gram @ change) / free**2, rel=1e-9)
    reader.remove(np.array([2]))
    stay = np.setdiff1d(np.arange(12), rows[2])
    np.testing.assert_allclose(reader.weights, np.linalg.solve(gram[np.ix_(stay, stay)], gram[stay] @ w), rtol=1e-8)
    np.testing.assert_allclose(reader.inverse, np.linalg.inv(gram[np.ix_(stay, stay)]), rtol=1e-8)


def promised_and_true(columns: int, samples: int) -> tuple[float, float]:
    """Mean squared error by losing one of `columns` independent inputs: as fitted on few samples, and on others."""
    rng = np.random.default_rng(7)
    promised, true = [], []
    for _ in range(40):
        a, others = rng.standard_normal((2, samples, columns))
        w = rng.standard_normal((columns, 1))
        ridge = 1e-9 * samples
        inverse = np.linalg.inv(a.T @ a + ridge * np.eye(columns))
        problem = _Problem(inverse, w, 1.0, samples, ridge, 1, 0)
        reader = _Reader(inverse, w.copy(), problem, np.arange(columns)[:, None])
        promised.append(reader.costs(np.array([0]))[0] / samples)
        reader.remove(np.array([0]))
        true.append(np.square(others @ w - others[:, 1:] @ reader.weights).mean())
    return float(np.mean(promised)), float(np.mean(true))


@pytest.mark.parametrize("samples", [40, 80, 400])
def test_the_price_is_that_of_other_samples(samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    promised, true = promised_and_true(20, samples)
    assert promised == pytest.approx(true, rel=0.25)
    monkeypatch.setattr(_Reader, "_freedom", 1.0)
    assert promised_and_true(20, samples)[0] == pytest.approx(true * (1 - 20 / samples) ** 2, rel=0.25)


def test_a_classifier_does_not_seem_to_need_few_channels_on_few_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    """It reads 48 independent channels; 24 samples cannot tell which of them the others replace."""
    model = pooled_classifier(48)
    channels = channel_groups(model)

    def left() -> int:
        chosen = select(model, channels, 0.3, "obs", data=samples(24))
        return int((~chosen.removed[channels.units["w2", 0]]).sum())

    careful = left()
    monkeypatch.setattr(surgeon, "LEAST_FREEDOM", 1.0)
    assert LEAST_FREEDOM < 1 and left() < careful - 8


def test_takes_from_where_the_output_does_not_depend_on_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two equal branches; what the first one gives is scaled down to nothing on its way out."""
    model = branches(1e-3)
    channels = channel_groups(model)

    def left(weight: str) -> int:
        chosen = select(model, channels, 0.5, "obs", data=samples(96))
        return int((~chosen.removed[channels.units[weight, 0]]).sum())

    assert left("wa") <= 4 and left("wb") >= 10
    monkeypatch.setattr(surgeon, "reach", lambda model, layers, *_: {layer.weight.name: 1.0 for layer in layers})
    assert left("wb") <= 9
