"""Taylor and Optimal Brain Damage: their gradients are right, and they beat magnitude and chance where they should."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from planted import PLANTED, hardly_read, loss, lowest, raising_all_classes, samples, without
from pruning_nets import NETS

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.data import Data
from prunus.compiler.executor import run_model
from prunus.compiler.model.edit import set_weight, weight
from prunus.compiler.model.model import Model
from prunus.compiler.pruning.prove import random_inputs
from prunus.compiler.pruning.scoring.gradients import _unit_gradients

GRADIENT = ["taylor", "obd"]


def accuracy(model: Model, data: Data) -> float:
    return float((run_model(model, data.inputs)["y"].argmax(axis=1) == data.labels).mean())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("criterion", GRADIENT)
def test_without_labels_the_effect_on_the_outputs_counts(criterion: str, seed: int) -> None:
    model = hardly_read(seed)
    by_chance = [loss(model, "random", samples, False, each) for each in range(4)]
    found = loss(model, criterion, samples, False)
    assert found < 0.1 * min(np.mean(by_chance), loss(model, "l2", samples, False))
    assert lowest(model, criterion, samples()).tolist() == sorted(PLANTED.tolist())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("criterion", GRADIENT)
def test_with_labels_only_the_decision_counts(criterion: str, seed: int) -> None:
    """Channels that move all logits alike go; whoever looks at the outputs or at the weights keeps them."""
    model, draw = raising_all_classes(seed)
    data, fresh = draw(), draw(200, seed=77)
    found, magnitude, by_output = (accuracy(without(model, each, data), fresh) for each in (criterion, "l2", "wanda"))
    by_chance = np.mean([accuracy(without(model, "random", data, seed=each), fresh) for each in range(4)])
    assert found == 1.0
    assert max(magnitude, by_output, by_chance) < 0.8


def loss_slopes(model: Model, data: Data, scaled: dict[str, int], position: int, step: float = 2e-3) -> np.ndarray:
    """Central differences of every sample's cross-entropy, weights at this position of an axis times 1 + h, 1 - h."""

    def losses(factor: float) -> np.ndarray:
        copy = model.clone()
        for name, axis in scaled.items():
            value = copy.graph.initializers[name]
            array = weight(value).copy()
            np.moveaxis(array, axis, 0)[position] *= factor
            set_weight(value, array)
        logits = run_model(copy, data.inputs, optimise=False)["y"].astype(np.float64)
        return np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(logits)), data.labels]

    return (losses(1 + step) - losses(1 - step)) / (2 * step)


def test_gradients_of_gates_are_those_of_the_loss() -> None:
    model, draw = raising_all_classes()
    channels, data = channel_groups(model), draw(8)
    gradients, _ = _unit_gradients(model, channels, 0, data)
    for position, unit in enumerate(channels.units["w1", 0].tolist()):
        numeric = loss_slopes(model, data, {"w2": 1}, position)
        np.testing.assert_allclose(gradients[:, unit], numeric, atol=2e-3 * max(1, np.abs(numeric).max()))


def test_a_product_of_computed_values_has_one_gate() -> None:
    """Queries and keys go together: one factor closes the channel, so the slope is that of scaling the queries."""
    model = NETS["attention"]()
    channels, feeds = channel_groups(model), random_inputs(model, 8, 0)
    data = Data(feeds, np.arange(8) % 7)
    gradients, _ = _unit_gradients(model, channels, 0, data)
    units = channels.units["wq", 1]
    for unit in np.unique(units).tolist():
        slopes = [loss_slopes(model, data, {"wq": 1, "bq": 0}, place) for place in np.flatnonzero(units == unit)]
        numeric = np.sum(slopes, axis=0)  # a Relu may bend within the step
        np.testing.assert_allclose(gradients[:, unit], numeric, atol=0.03 * np.abs(numeric).max())
