"""Stages: no path longer than the period, registers where a value crosses a stage, results that stay the same."""

from __future__ import annotations

import pytest
import rtl_graphs

from prunus.targets.fpga.rtl.cost import FABRICS, adder_bits, count
from prunus.targets.fpga.rtl.lower import unroll
from prunus.targets.fpga.rtl.netlist import Input, Netlist, Sum
from prunus.targets.fpga.rtl.pipeline import Delays, longest_path_ns, schedule
from prunus.targets.fpga.rtl.placement import place

DELAYS = FABRICS["ecp5"].delays


def network() -> Netlist:
    pytest.importorskip("da4ml")
    graph, _ = rtl_graphs.small_cnn()
    placement = place(graph)
    return unroll(graph, placement.inputs, placement.outputs, placement.ops).netlist


@pytest.mark.parametrize("period_ns", [6.0, 10.0, 20.0])
def test_no_path_is_longer_than_the_period(period_ns: float) -> None:
    pipeline = schedule(network(), DELAYS, period_ns)
    assert longest_path_ns(pipeline, DELAYS) <= period_ns
    for number, node in enumerate(pipeline.netlist.nodes):
        live = [operand for operand in node.operands if not pipeline.netlist.is_const(operand)]
        assert all(pipeline.stages[operand] <= pipeline.stages[number] for operand in live)
    assert pipeline.stages.max() < pipeline.depth


def test_a_longer_period_needs_fewer_stages_and_registers() -> None:
    fast, slow = (schedule(network(), DELAYS, period_ns) for period_ns in (6.0, 20.0))
    assert slow.depth < fast.depth
    assert slow.register_bits() < fast.register_bits()


def test_registers_hold_what_crosses_a_stage() -> None:
    """x + 1 waits two stages for the sum that it is added to."""
    net = Netlist()
    x = net.add(Input((), 0, 0, 15))
    chain = x
    for step in range(1, 5):
        chain = net.sum(chain, x, 0, step)
    net.outputs = (chain,)
    pipeline = schedule(net, Delays(1.0, 1.0, 4.0, 0.0), 6.0)
    assert pipeline.depth == 4
    assert pipeline.register_bits() == sum(net.width(n) for n in range(1, 5)) + 3 * net.width(x)


def test_adders_are_counted_by_the_bits_that_both_operands_reach() -> None:
    net = Netlist()
    a, b = (net.add(Input((), number, 0, 15)) for number in range(2))
    widths = {(0, 0): 5, (0, 2): 5, (0, 4): 0, (0, 6): 0, (2, 0): 5}
    for (left, right), expected in widths.items():
        node = net.sum(a, b, left, right)
        assert isinstance(net.nodes[node], Sum)
        assert adder_bits(net, node) == expected, (left, right)
    assert adder_bits(net, net.sum(a, b, 3, 0, minus=True)) == 8  # no bit of a difference comes for nothing
    assert adder_bits(net, net.sum(a, b, 0, 6, minus=True)) == 5


def test_counts_follow_the_netlist() -> None:
    net = network()
    pipeline = schedule(net, DELAYS, 10.0)
    found = count(pipeline, FABRICS["ecp5"])
    adders = sum(adder_bits(net, n) for n, node in enumerate(net.nodes) if isinstance(node, Sum))
    assert adders < found["lut"] < 2 * adders
    assert found["ff"] == pipeline.register_bits() + pipeline.depth
