"""onnxruntime as a witness of the integer reference, on real networks; and that the witness notices small faults.

Thresholds. Each layer fed onnxruntime's own integers: at least 99.9 % within one step and at least 99.99 % equal
(measured: 100 % for u8, 99.998 % for s8). End to end: at least 99 % of the decisions agree.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from light import SMALL_LIGHT_NAMES, random_light_model
from qdq import Qdq, feed
from real_tasks import quantized, task_names

from prunus.compiler.analysis.witness import witness
from prunus.compiler.data import Data
from prunus.compiler.integer import ops
from prunus.compiler.integer.check import check_graph
from prunus.compiler.integer.from_qdq import read_qdq
from prunus.compiler.model.load import load_proto
from prunus.compiler.passes import FoldBatchNorm, FoldConstants, Normalise, Quantize
from prunus.compiler.passes.base import Context
from prunus.compiler.target import Formats

WITHIN_ONE, EQUAL, AGREEMENT = 0.999, 0.9999, 0.99


@pytest.mark.parametrize("activation", ["u8", "s8"])
@pytest.mark.parametrize("name", ["resnet8", "ds_cnn", "wake_word", "autoencoder"])
def test_real_networks(models: Path, name: str, activation: str):
    check(models, name, activation, samples=24)


@pytest.mark.slow
@pytest.mark.parametrize("activation", ["u8", "s8"])
@pytest.mark.parametrize("name", task_names())
def test_real_networks_on_more_samples(models: Path, name: str, activation: str):
    check(models, name, activation, samples=128)


def check(models: Path, name: str, activation: str, samples: int) -> None:
    formats = Formats(activation=activation, unsigned_after_relu=activation == "u8")
    model, data = quantized(name, models, formats)
    graph = read_qdq(model, formats)
    check_graph(graph)
    found = witness(model, graph, data.first(samples))
    assert len(found.layers) >= 8
    assert found.worst_within_one >= WITHIN_ONE
    assert found.worst_equal >= EQUAL
    assert found.agreement >= AGREEMENT


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL_LIGHT_NAMES)
def test_known_topologies(name: str):
    """Random weights in real architectures: channel shuffles, dense concatenations, local response normalisation."""
    model = load_proto(random_light_model(name))
    samples = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    data = feed(model, samples)
    for each in (Normalise(), FoldConstants(), FoldBatchNorm(), Quantize()):
        model = each.run(model, Context(calibration=data)).model
    graph = read_qdq(model, Formats())
    check_graph(graph)
    found = witness(model, graph, data)
    assert found.max_difference <= 1
    assert found.equal >= EQUAL


def tie_net() -> tuple[Qdq, str]:
    """All scales are powers of two and the zero point is odd: one accumulator in 64 lies halfway between two steps."""
    net = Qdq((4, 12, 12), seed=5)
    x = net.quantized(net.input, 2.0**-5, 121)
    scale = net.constant(np.float32(2.0**-7))
    weight = net.constant(net.rng.integers(-30, 31, (8, 4, 3, 3)).astype(np.int8))
    weight = net.node("DequantizeLinear", [weight, scale, net.constant(np.int8(0))])
    return net, net.quantized(net.node("Conv", [x, weight]), 2.0**-6, 121)


def test_ties_are_rounded_as_onnxruntime_rounds_them():
    net, y = tie_net()
    model = net.model(y)
    found = witness(model, read_qdq(model, Formats()), feed(model, net.data(16)))
    assert found.worst_equal == 1.0


def test_the_witness_notices_a_zero_point_added_before_rounding(monkeypatch: pytest.MonkeyPatch):
    """rint(v + z) instead of rint(v) + z: every tie goes the other way when z is odd."""

    def no_rounding(value: np.ndarray) -> np.ndarray:
        return np.clip(value, -(2.0**15), 2.0**15)

    def round_late(value, zero_point, qmin, qmax, dtype):
        late = np.rint(np.asarray(value, np.float32) + np.float32(zero_point))
        return np.clip(late.astype(np.int64), qmin, qmax).astype(ops.ir.NUMPY_TYPE[dtype])

    monkeypatch.setattr(ops, "_round_f32", no_rounding)
    monkeypatch.setattr(ops, "saturate", round_late)
    net, y = tie_net()
    model = net.model(y)
    found = witness(model, read_qdq(model, Formats()), feed(model, net.data(16)))
    assert found.max_difference == 1
    assert 0.97 < found.worst_equal < 0.99  # 1 - 1/64 = 0.984
    assert found.worst_equal < EQUAL


def test_the_witness_notices_one_wrong_bias():
    net, y = tie_net()
    model = net.model(y)
    graph = read_qdq(model, Formats())
    conv = next(op for op in graph.ops if op.kind == "conv")
    conv.bias[3] += 64  # one step of one channel of eight
    found = witness(model, graph, feed(model, net.data(16)))
    assert found.max_difference <= 2
    assert 0.87 < found.worst_equal < 0.89


def test_data_is_keyed_by_plain_names():
    net, y = tie_net()
    model = net.model(y)
    with pytest.raises(KeyError):
        witness(model, read_qdq(model, Formats()), Data({"x": net.data(2)}))
