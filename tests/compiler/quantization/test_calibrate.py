"""Range methods: each does what its name says, and `auto` clips only what is rare and far away."""

from __future__ import annotations

import numpy as np
import pytest
from float_nets import FloatNet

from prunus.compiler.analysis.ranges import BLOCKS, Statistics
from prunus.compiler.errors import UsageError
from prunus.compiler.integer.graph import QType
from prunus.compiler.quantization.calibrate import CLIPPING, METHODS, Calibrated, calibrate
from prunus.compiler.quantization.plan import Group, plan
from prunus.compiler.target import Formats

S8 = Formats(activation="s8", zero_point="zero")
POW2 = Formats(scheme="pow2", activation="s8")


def _group(nonnegative: bool = False, softmax: bool = False) -> Group:
    net = FloatNet((3, 4, 4))
    found = plan(net.model(net.conv(net.conv(net.input, 2), 2)).graph, Formats()).groups[1]
    return Group(found.points, found.roots, nonnegative, softmax)


def _calibrate(values: np.ndarray, method: str, formats: Formats = S8, **of_group: bool) -> Calibrated:
    group = _group(**of_group)
    parts = [Statistics.of(part, index) for index, part in enumerate(np.array_split(values, BLOCKS))]
    seen = parts[0]
    for part in parts[1:]:
        seen = seen.merge(part)
    return calibrate(group, {str(group.roots[0].name): seen}, formats, method)


@pytest.fixture(scope="module")
def normal() -> np.ndarray:
    return np.random.default_rng(0).standard_normal(400_000).astype(np.float32)


def _true_error(values: np.ndarray, found: Calibrated) -> float:
    type_ = found.type
    q = np.clip(np.rint(values / type_.scale) + type_.zero_point, type_.qmin, type_.qmax)
    return float((((q - type_.zero_point) * type_.scale - values) ** 2).mean())


@pytest.mark.parametrize("formats", [Formats(), S8, POW2, Formats(activation_bits=4)])
def test_least_error_has_the_least_true_error(normal: np.ndarray, formats: Formats) -> None:
    found = {method: _calibrate(normal, method, formats) for method in METHODS}
    true = {method: _true_error(normal.astype(np.float64), each) for method, each in found.items()}
    assert true["mse"] <= min(true.values()) * 1.01
    assert all(each.error == pytest.approx(true[method], rel=0.02) for method, each in found.items())
    if formats.activation_bits == 4:
        assert true["mse"] < 0.6 * true["minmax"]


def test_ranges_are_ordered_by_caution(normal: np.ndarray) -> None:
    scale = {method: _calibrate(normal, method).type.scale for method in METHODS}
    assert scale["percentile"] < scale["mse"] < scale["minmax"] < scale["extrapolated"]
    assert scale["minmax"] == pytest.approx(max(normal.max() / 127, -normal.min() / 128), rel=1e-6)


@pytest.mark.parametrize(("formats", "cautious"), [(S8, "extrapolated"), (POW2, "minmax")])
def test_auto_keeps_the_whole_range_of_ordinary_data(normal: np.ndarray, formats: Formats, cautious: str) -> None:
    found = _calibrate(normal, "auto", formats)
    assert found == _calibrate(normal, cautious, formats)


@pytest.mark.parametrize("formats", [Formats(), S8, POW2])
def test_auto_clips_a_lonely_outlier(formats: Formats) -> None:
    values = np.random.default_rng(1).standard_normal(8_000_000).astype(np.float32)
    values[3] = 60.0
    found = _calibrate(values, "auto", formats)
    assert found.method in CLIPPING
    assert found.type.scale < _calibrate(values, "minmax", formats).type.scale / 3
    assert found.error < 0.2 * _calibrate(values, "minmax", formats).error


@pytest.mark.parametrize("method", ["entropy", "percentile", "mse"])
def test_clipping_beats_the_whole_range_on_planted_outliers(method: str) -> None:
    """A few values, forty times as large as all others, must not decide how those are told apart."""
    rng = np.random.default_rng(2)
    bulk = rng.standard_normal(200_000).astype(np.float32)
    values = rng.permutation(np.concatenate([bulk, np.full(8, 160.0, np.float32), np.full(8, -160.0, np.float32)]))
    formats = Formats(activation="s8", zero_point="zero")
    found, whole = (_calibrate(values, each, formats) for each in (method, "minmax"))

    def error(type_: QType) -> float:
        steps = np.clip(np.rint(bulk / type_.scale), type_.qmin, type_.qmax)
        return float(((steps * type_.scale - bulk) ** 2).mean())

    if method == "mse":  # it weighs what it clips by the square
        assert found.type.scale <= whole.type.scale
    else:
        assert found.type.scale < whole.type.scale / 4
        assert error(found.type) < 0.05 * error(whole.type)


def test_entropy_keeps_the_range_of_evenly_spread_values() -> None:
    values = np.random.default_rng(3).uniform(-1, 1, 200_000).astype(np.float32)
    assert _calibrate(values, "entropy").type.scale > 0.95 * _calibrate(values, "minmax").type.scale


def test_inputs_that_were_never_negative_are_unsigned() -> None:
    net = FloatNet((3, 4, 4))
    group = plan(net.model(net.conv(net.input, 2)).graph, Formats()).groups[0]
    seen = {net.input: Statistics.of(np.array([0.0, 1.0, 2.0]))}
    assert calibrate(group, seen, POW2, "minmax").type.dtype == "u8"
    inner = _group()
    assert calibrate(inner, {str(inner.roots[0].name): seen[net.input]}, POW2, "minmax").type.dtype == "s8"


def test_integer_softmax_has_its_own_scale() -> None:
    found = _calibrate(np.linspace(0, 0.3, 100), "auto", softmax=True, nonnegative=True)
    assert (found.type.dtype, found.type.scale, found.type.zero_point) == ("u8", 1 / 256, 0)


def test_unknown_methods_are_refused(normal: np.ndarray) -> None:
    with pytest.raises(UsageError) as caught:
        _calibrate(normal, "kurtosis")
    assert caught.value.code == "calibration-unknown"
    assert "minmax" in str(caught.value.hint)
