"""Bias correction takes out the mean error that rounded weights make."""

from __future__ import annotations

import numpy as np
import pytest
from float_nets import FloatNet, residual_net

from prunus.compiler.executor import run_model
from prunus.compiler.integer.graph import QType
from prunus.compiler.passes.base import Context, Options
from prunus.compiler.passes.quantize import Quantize
from prunus.compiler.quantization.correct import mean_shift
from prunus.compiler.quantization.scales import quantize_weights
from prunus.compiler.target import Formats

THREE_BITS = Formats(weight_bits=3)


@pytest.mark.parametrize("axis", [0, 1])
def test_shift_of_a_fully_connected_layer(axis: int) -> None:
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(7, 5)), rng.uniform(0, 2, (500, 5 if axis == 0 else 7))
    found = quantize_weights(weight, axis, None, QType("u8", 0.01), THREE_BITS)
    before, after = ((x @ (w if axis else w.T)).mean(axis=0) for w in (weight, found.real(axis)))
    assert np.allclose(mean_shift(weight, axis, found, x.mean(axis=0)), after - before)
    assert np.abs(after - before).max() > 0.05


@pytest.mark.parametrize(("channels", "out", "group"), [(4, 6, 1), (4, 6, 2), (5, 5, 5), (3, 6, 3)])
def test_shift_of_a_convolution(channels: int, out: int, group: int) -> None:
    net = FloatNet((channels, 12, 12), seed=group)
    weight = net.rng.normal(size=(out, channels // group, 3, 3)).astype(np.float32)
    found = quantize_weights(weight, 0, None, QType("u8", 0.01), THREE_BITS)
    both = [
        net.op("Conv", net.input, net.constant(w), kernel_shape=[3, 3], group=group) for w in (weight, found.real(0))
    ]
    x = np.random.default_rng(1).uniform(0, 2, (200, channels, 12, 12)).astype(np.float32)
    before, after = (array.mean(axis=(0, 2, 3)) for array in run_model(net.model(*both), {net.input: x}).values())
    shift = mean_shift(weight, 0, found, x.mean(axis=(0, 2, 3), dtype=np.float64))
    assert np.allclose(shift, after - before, atol=0.02 * np.abs(after - before).max())


def _mean_error(bits: int, correct: bool, rounding: str = "nearest") -> float:
    """Mean over the logits of |average error|."""
    net = residual_net()
    model = net.model(net.logits)
    options = Options(weight_bits=bits, bias_correction=correct, rounding=rounding)
    result = Quantize().run(model, Context(options=options, calibration=net.data(128)))
    x = net.data(256, seed=8).inputs
    before, after = (next(iter(run_model(each, x).values())) for each in (model, result.model))
    return float(np.abs((after - before).mean(axis=0)).mean())


@pytest.mark.parametrize("bits", [3, 4])
def test_the_mean_error_of_a_network_falls(bits: int) -> None:
    without = _mean_error(bits, correct=False)
    assert _mean_error(bits, correct=True) < 0.5 * without
    assert _mean_error(bits, correct=True, rounding="gptq") < 0.25 * without  # measured, not derived


def test_a_layer_without_bias_gets_one() -> None:
    net = FloatNet((3, 8, 8))
    model = net.model(net.conv(net.relu(net.conv(net.input, 4)), 2, bias=False))
    assert len(model.graph[2].inputs) == 2
    result = Quantize().run(model, Context(THREE_BITS, calibration=net.data()))
    convs = [node for node in result.model.graph if node.op_type == "Conv"]
    assert [len(node.inputs) for node in convs] == [3, 3]
