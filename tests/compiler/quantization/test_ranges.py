"""Calibration statistics: exact under any batching, and the error estimate equals brute force."""

from __future__ import annotations

import numpy as np
import pytest
from float_nets import FloatNet, residual_net

from prunus.compiler.analysis.ranges import BLOCKS, Statistics, collect
from prunus.compiler.data import Data
from prunus.compiler.errors import UsageError
from prunus.compiler.executor import run_model


def _same(a: Statistics, b: Statistics) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True) for name in vars(a))


@pytest.fixture(scope="module")
def relu_values() -> np.ndarray:
    return np.maximum(np.random.default_rng(0).standard_normal(40_000) * 3, 0).astype(np.float32)


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1.0, 7.3, 1e20])
def test_statistics_do_not_depend_on_how_the_data_are_cut(scale: float) -> None:
    rng = np.random.default_rng(1)
    values = (rng.standard_normal(3000) * scale * np.exp(rng.standard_normal(3000))).astype(np.float32)
    whole = Statistics.of(values)
    for cuts in ([1, 2, 3], [1500], [2999], sorted(rng.integers(1, 2999, 20).tolist())):
        parts = [Statistics.of(part) for part in np.split(values, cuts) if part.size]
        for order in (parts, parts[::-1]):
            merged = order[0]
            for part in order[1:]:
                merged = merged.merge(part)
            assert _same(merged, whole)


def test_histogram_counts_every_element_in_its_bin(relu_values: np.ndarray) -> None:
    found = Statistics.of(relu_values)
    assert found.zeros == (relu_values == 0).sum() > 0
    assert found.counts.sum() + found.zeros == found.size == relu_values.size
    expected, _ = np.histogram(relu_values[relu_values != 0], found.edges())
    assert np.array_equal(found.counts, expected)
    assert 1024 < found.counts.size <= 2048
    assert not np.array_equal(np.roll(found.counts, 1), expected)  # a shift by one bin would be noticed


@pytest.mark.parametrize("scale", [0.2, 0.05, 0.011])
def test_rounding_error_equals_brute_force(relu_values: np.ndarray, scale: float) -> None:
    values = relu_values.astype(np.float64)
    rounded, truncated = np.rint(values / scale) * scale, np.floor(values / scale) * scale
    estimate = Statistics.of(values).error(scale, 0, 10_000)
    assert estimate == pytest.approx(((values - rounded) ** 2).mean(), rel=0.02)
    assert estimate != pytest.approx(((values - truncated) ** 2).mean(), rel=0.5)


@pytest.mark.parametrize("scale", [0.03, 0.011])
@pytest.mark.parametrize(("low", "high"), [(0, 255), (-128, 127), (-8, 7)])
def test_clipping_error_equals_brute_force(relu_values: np.ndarray, scale: float, low: int, high: int) -> None:
    values = np.concatenate([relu_values, -relu_values]).astype(np.float64)
    rounded = np.clip(np.rint(values / scale), low, high) * scale
    wrong = np.clip(np.rint(values / scale), low, high * 0.8) * scale
    estimate = Statistics.of(values).error(scale, low, high)
    assert estimate == pytest.approx(((values - rounded) ** 2).mean(), rel=2e-3)
    assert estimate != pytest.approx(((values - wrong) ** 2).mean(), rel=2e-3)


def test_percentile_leaves_out_a_lonely_outlier_and_keeps_zero(relu_values: np.ndarray) -> None:
    with_outlier = np.append(relu_values, np.float32(1000))
    low, high = Statistics.of(with_outlier).percentile_range(0.999)
    assert low == 0
    assert high == pytest.approx(np.quantile(with_outlier, 0.999), rel=0.05)
    positive = Statistics.of(np.linspace(5, 6, 100, dtype=np.float32))
    assert positive.percentile_range(0.5)[0] == 5  # zero is added where types are made, not here


def test_extrapolation_predicts_the_range_of_more_data() -> None:
    rng = np.random.default_rng(2)
    gains = []
    for _ in range(40):
        blocks = rng.standard_normal((BLOCKS, 400))
        found = Statistics.of(blocks[0], 0)
        for index in range(1, BLOCKS):
            found = found.merge(Statistics.of(blocks[index], index))
        gains.append(found.extrapolated_range(10.0)[1] - rng.standard_normal(BLOCKS * 400 * 10).max())
    assert abs(np.mean(gains)) < 0.25  # plain maxima miss by 0.6
    saturated = Statistics.of(np.array([0.0, 255.0]), 0).merge(Statistics.of(np.array([0.0, 255.0]), 1))
    assert saturated.extrapolated_range(10.0) == (0.0, 255.0)
    assert Statistics.of(np.array([-1.0, 2.0])).extrapolated_range(10.0) == (-1.0, 2.0)


def test_collect_sees_what_onnxruntime_computes() -> None:
    net = residual_net()
    model, data = net.model(net.output), net.data(20)
    values = [*model.graph.inputs, *(node.outputs[0] for node in model.graph)]
    found = collect(model, values, data).statistics
    inner = [str(value.name) for value in values[1:]]
    expected = run_model(model, data.inputs, inner, batch=20) | dict(data.inputs)
    for name, array in expected.items():
        assert found[name].minimum == pytest.approx(array.min(), rel=1e-5, abs=1e-6)
        assert found[name].maximum == pytest.approx(array.max(), rel=1e-5, abs=1e-6)
        assert found[name].size == array.size
    few_at_once = collect(model, values, data, max_bytes=3000).statistics
    for name, statistics in found.items():
        # other batch sizes may take other kernels, so float results differ in the last place
        assert few_at_once[name].maximum == pytest.approx(statistics.maximum, rel=1e-5, abs=1e-6)
        assert few_at_once[name].size == statistics.size
    assert np.isfinite(found[net.input].maxima).all()


def test_channel_means() -> None:
    net = residual_net()
    model, data = net.model(net.output), net.data(20)
    conv, logits = model.graph[0].outputs[0], model.graph.outputs[0]
    found = collect(model, [], data, means={conv: 1, logits: -1, model.graph.inputs[0]: 1}, max_bytes=3000)
    arrays = run_model(model, data.inputs, [str(conv.name), str(logits.name)]) | dict(data.inputs)
    assert found.statistics == {}
    for name, array in arrays.items():
        expected = array.mean(axis=(0, 2, 3) if array.ndim == 4 else 0, dtype=np.float64)
        assert np.allclose(found.means[name], expected, rtol=1e-5, atol=1e-6)


def _broken(net: FloatNet, how: str) -> Data:
    good = net.data(8).inputs[net.input]
    if how == "data-empty":
        return Data({net.input: good[:0]})
    if how == "data-input-missing":
        return Data({"other": good})
    bad = good.copy()
    bad[3, 0, 0, 0] = np.nan
    return Data({net.input: bad})


@pytest.mark.parametrize("code", ["data-empty", "data-input-missing", "data-not-finite"])
def test_bad_data_are_refused(code: str) -> None:
    net = residual_net()
    model = net.model(net.output)
    with pytest.raises(UsageError) as caught:
        collect(model, [model.graph[0].outputs[0]], _broken(net, code))
    assert caught.value.code == code
    assert caught.value.hint


def test_activations_that_overflow_are_refused() -> None:
    net = FloatNet((4,))
    model = net.model(net.op("Exp", net.input))
    with pytest.raises(UsageError) as caught:
        collect(model, [model.graph[0].outputs[0]], Data({net.input: np.full((2, 4), 200, np.float32)}))
    assert caught.value.code == "activation-not-finite"


def test_models_with_a_fixed_batch_take_whole_batches() -> None:
    net = FloatNet((4,), batch=3)
    model = net.model(net.relu(net.input))
    value = model.graph[0].outputs[0]
    assert collect(model, [value], net.data(11)).statistics[str(value.name)].size == 9 * 4
    with pytest.raises(UsageError) as caught:
        collect(model, [value], net.data(2))
    assert caught.value.code == "data-too-few"
