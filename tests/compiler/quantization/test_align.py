"""Range alignment: the same function, with less of every power-of-two range unused."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from float_nets import FloatNet
from hypothesis import given, settings
from hypothesis import strategies as st

from prunus.compiler.analysis.ranges import collect
from prunus.compiler.executor import run_model
from prunus.compiler.model.edit import weight
from prunus.compiler.model.model import Model
from prunus.compiler.quantization import align as module
from prunus.compiler.quantization.align import FACTORS, STEPS, align
from prunus.compiler.quantization.pairs import find_pairs
from prunus.compiler.quantization.plan import plan
from prunus.compiler.target import Formats

POW2 = Formats(scheme="pow2", activation="s8", per_channel=False)
UNUSED_BITS = 1.0  # of a range just above a power of two


def chain_net(layers: int = 4) -> tuple[FloatNet, Model]:
    net = FloatNet((6, 5, 5), seed=3)
    x = net.input
    for layer in range(layers):
        x = net.conv(x, 6, scale=1.3**layer)
        x = net.relu(x) if layer < layers - 1 else x
    return net, net.model(x)


def _unused_bits(model: Model, net: FloatNet) -> tuple[list[float], list[float]]:
    """log2 of the next power of two over the range: of what layers read from each other, and of weights."""
    planned = plan(model.graph, POW2)
    values = [pair.second.inputs[0] for pair in find_pairs(planned.linears)]
    seen = collect(model, values, net.data(64)).statistics.values()
    ranges = [each.maximum / 255 for each in seen]
    weights = [float(np.abs(weight(each.weight)).max()) / 127 for each in planned.linears]
    return tuple([float(np.ceil(b) - b) for b in np.log2(each)] for each in (ranges, weights))  # type: ignore[return-value]


def test_the_function_stays_and_ranges_are_used() -> None:
    net, model = chain_net()
    aligned = model.clone()
    assert align(aligned, POW2, net.data(64)) == 3
    before, after = (next(iter(run_model(each, net.data(32, seed=7).inputs).values())) for each in (model, aligned))
    assert np.linalg.norm(after - before) / np.linalg.norm(before) < 1e-6
    wasted = [sum(map(sum, _unused_bits(each, net))) for each in (model, aligned)]
    assert wasted[1] < 0.7 * wasted[0]
    assert max(map(max, _unused_bits(aligned, net))) < UNUSED_BITS


def test_scales_that_need_no_power_of_two_gain_nothing() -> None:
    """The noise of each step is that of a range used in full, whatever the factor."""
    _, model = chain_net()
    linear = plan(model.graph, POW2).linears[0]
    noise = module._weight_noise(linear, FACTORS, POW2)
    ends = module._weight_noise(linear, 2 * FACTORS, POW2)
    assert np.array_equal(noise, ends)  # whole powers of two change nothing
    assert 2 < noise.max() / noise.min() <= 4.0


def test_networks_without_pairs_stay_as_they_are() -> None:
    net = FloatNet((3, 6, 6))
    model = net.model(net.op("Sigmoid", net.conv(net.input, 4)))
    before = np.array(weight(model.graph[0].inputs[1]))
    assert align(model, POW2, net.data(8)) == 0
    assert np.array_equal(before, np.asarray(weight(model.graph[0].inputs[1])))


def test_dead_activations_and_weights_of_zeros_are_no_obstacle() -> None:
    net = FloatNet((3, 6, 6))
    x = net.relu(net.conv(net.input, 4, bias=False, scale=0.0))
    model = net.model(net.conv(x, 2))
    assert align(model, POW2, net.data(8)) == 1
    assert np.isfinite(np.asarray(weight(model.graph[0].inputs[1]))).all()


def test_every_output_channel_has_its_own_scale_where_the_device_allows_it() -> None:
    """Then a channel may lie anywhere below its own power of two: their mean counts, not that of the largest."""
    net, model = chain_net()
    linear = plan(model.graph, POW2).linears[1]
    whole = module._weight_noise(linear, FACTORS, POW2)
    each = module._weight_noise(linear, FACTORS, Formats(scheme="pow2", activation="s8"))
    assert each.shape == whole.shape == (STEPS,)
    assert (each <= whole * (1 + 1e-12)).all() and each.max() < whole.max()
    del net


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_the_factors_of_a_chain_are_the_best_there_are(length: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    alone = [rng.random(5) for _ in range(length)]
    together = [rng.random((5, 5)) for _ in range(length - 1)]

    def cost(steps: tuple[int, ...] | list[int]) -> float:
        edges = sum(edge[left, right] for edge, left, right in zip(together, steps, steps[1:], strict=False))
        return float(sum(each[step] for each, step in zip(alone, steps, strict=True)) + edges)

    best = min(cost(steps) for steps in itertools.product(range(5), repeat=length))
    assert cost(module._cheapest(alone, together)) == pytest.approx(best, rel=1e-12)
