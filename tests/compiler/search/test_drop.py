"""How much lower a network scores, and how sure that is."""

from __future__ import annotations

import numpy as np
import pytest
from search_target import half_redundant, samples

from prunus.compiler.data import Data
from prunus.compiler.executor import run_model
from prunus.compiler.model.edit import set_weight
from prunus.compiler.search.drop import drop_measure


@pytest.fixture(scope="module")
def parts():
    """A network, a damaged one, and samples that the first decides as their labels say."""
    model, data = half_redundant(), samples(96)
    labels = next(iter(run_model(model, data.inputs).values())).argmax(axis=1)
    damaged = model.clone()
    value = damaged.graph.initializers["wy"]
    set_weight(value, value.const_value.numpy() * np.linspace(0.2, 1.5, 16, dtype=np.float32))
    return model, damaged, Data(data.inputs, labels)


def right(outputs: np.ndarray, labels: np.ndarray) -> float:
    return float((outputs.argmax(axis=1) == labels).mean())


def test_a_metric_that_is_a_mean_has_its_standard_error(parts) -> None:
    """The jackknife tells what the spread of single samples tells."""
    model, damaged, data = parts
    own, metric = (drop_measure(model, data, each)(damaged) for each in (None, right))
    assert own.value == metric.value > 0.02
    wrong = next(iter(run_model(damaged, data.inputs).values())).argmax(axis=1) != data.labels
    assert metric.error == pytest.approx(wrong.std() / np.sqrt(len(data)), rel=0.5)


def test_the_network_itself_drops_nothing(parts) -> None:
    model, _, data = parts
    drop = drop_measure(model, data, right)(model)
    assert (drop.value, drop.error) == (0, 0)


def test_a_metric_in_other_units_has_an_error_in_these(parts) -> None:
    model, damaged, data = parts
    one, thousand = (
        drop_measure(model, data, metric)(damaged) for metric in (right, lambda y, labels: 1000 * right(y, labels))
    )
    assert thousand.value == pytest.approx(1000 * one.value)
    assert thousand.error == pytest.approx(1000 * one.error)
