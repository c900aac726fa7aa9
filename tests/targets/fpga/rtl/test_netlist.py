"""Netlists: arithmetic against Python integers, intervals that hold, equal nodes made once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunus.compiler.integer.ops import round_shift
from prunus.targets.fpga.rtl.netlist import Clamp, Const, Input, Larger, Lookup, Netlist, RoundEven, Sum

SAMPLES = np.arange(-100, 101, dtype=np.int64)[:, None]


def with_input(low: int = -100, high: int = 100) -> tuple[Netlist, int]:
    net = Netlist()
    return net, net.add(Input((), 0, low, high))


def outputs(net: Netlist, node: int, samples: np.ndarray = SAMPLES) -> np.ndarray:
    net.outputs = (node,)
    return net.evaluate(samples)[:, 0]


@given(st.integers(-6, 12), st.integers(-5000, 5000), st.booleans())
@settings(max_examples=200, deadline=None)
def test_rounding_is_that_of_the_reference(right: int, bias: int, negative: bool) -> None:
    net, x = with_input()
    found = outputs(net, net.round_shift(x, right, bias, negative))
    value = (-SAMPLES if negative else SAMPLES)[:, 0] + bias
    assert np.array_equal(found, round_shift(value, np.asarray(right)))


def test_rounding_without_the_half_is_caught() -> None:
    """The companion: floor division differs from the reference."""
    net, x = with_input()
    floor = outputs(net, net.add(RoundEven((x,), 3)))
    assert not np.array_equal(floor, round_shift(SAMPLES[:, 0], np.asarray(3)))


@given(st.integers(0, 5), st.integers(0, 5), st.booleans(), st.integers(-50, 50))
@settings(max_examples=100, deadline=None)
def test_sums_and_their_intervals(left: int, right: int, minus: bool, constant: int) -> None:
    net, x = with_input()
    shifted = net.shift(x, 2)
    node = net.sum(shifted, net.sum(x, net.const(constant)), left, right, minus)
    found = outputs(net, node)
    other = SAMPLES[:, 0] + constant << right
    assert np.array_equal(found, (SAMPLES[:, 0] << 2 + left) + (-other if minus else other))
    low, high = net.intervals[node]
    assert low <= found.min() and found.max() <= high
    assert all(-(1 << net.width(node)) <= value < 1 << net.width(node) for value in (low, high))


def test_other_nodes() -> None:
    net, x = with_input()
    assert outputs(net, net.clamp(x, -5, 7)).tolist() == np.clip(SAMPLES[:, 0], -5, 7).tolist()
    assert outputs(net, net.add(Larger((x, net.const(3))))).tolist() == np.maximum(SAMPLES[:, 0], 3).tolist()
    table = tuple(int(value) ** 2 for value in range(-100, 101))
    assert outputs(net, net.add(Lookup((x,), -100, table))).tolist() == [int(v) ** 2 for v in SAMPLES[:, 0]]


def test_equal_nodes_are_made_once_and_trivial_ones_vanish() -> None:
    net, x = with_input(0, 15)
    assert net.sum(x, x) == net.sum(x, x)
    assert net.sum(x, net.const(0)) == x
    assert net.clamp(x, 0, 15) == x
    assert isinstance(net.nodes[net.clamp(x, 20, 30)], Const)
    count = len(net.nodes)
    net.sum(x, x, 1, 1)
    assert isinstance(net.nodes[count - 1], Clamp | Const | Sum)


def test_pruning_keeps_only_what_outputs_need() -> None:
    net, x = with_input()
    net.sum(x, net.const(99))
    net.outputs = (net.clamp(x, 0, 5),)
    small = net.pruned()
    assert [type(node) for node in small.nodes] == [Input, Clamp]
    assert np.array_equal(small.evaluate(SAMPLES), net.evaluate(SAMPLES))


@pytest.mark.parametrize(
    ("low", "high", "width"), [(0, 0, 0), (0, 1, 1), (0, 255, 8), (-1, 0, 1), (-128, 127, 8), (-129, 0, 9)]
)
def test_widths(low: int, high: int, width: int) -> None:
    net = Netlist()
    assert net.width(net.add(Input((), 0, low, high))) == width
