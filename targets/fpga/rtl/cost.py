"""What a network costs in logic: exact counts on a netlist, closed forms on a workload.

A netlist tells the adders, and with them LUTs within some percent of what yosys counts; `estimate` sees layers and
densities only, and says so with its range.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2

from ....compiler.model.workload import Layer, Workload
from ....compiler.quantity import UNITS, Combine, Estimate, LayerCost, Quantity
from ....compiler.target import Device
from .board import clock_hz
from .netlist import Clamp, Larger, Lookup, Netlist, RoundEven, Sum
from .pipeline import Delays, Pipeline, longest_path_ns


@dataclass(frozen=True)
class Fabric:
    """Cells of a family's logic, fitted to yosys's counts (tests/bench/fpga/calibrate.py)."""

    delays: Delays
    adder_bit: float  # LUTs for each bit of an adder
    adder: float  # and for each adder
    routing: tuple[float, float] = (0.70, 0.087)  # share of `delays` at 1,000 LUTs, and more of it for each doubling


FABRICS: Mapping[str, Fabric] = {
    "ecp5": Fabric(Delays(register=1.2, logic=1.0, adder=2.2, carry=0.05), adder_bit=1.0, adder=1.0),
    "ice40": Fabric(Delays(register=2.0, logic=2.2, adder=3.0, carry=0.28), adder_bit=1.0, adder=1.0),
    "gowin": Fabric(Delays(register=2.0, logic=2.0, adder=3.0, carry=0.1), adder_bit=1.0, adder=1.0),
}


def adder_bits(netlist: Netlist, number: int) -> int:
    """Bits of a sum that need an adder: those below where both operands reach are wires."""
    node, width = netlist.nodes[number], netlist.width(number)
    assert isinstance(node, Sum)
    if node.left and node.minus:
        return width
    a, shift = (node.operands[1], node.left) if node.left else (node.operands[0], node.right)
    if shift and not node.minus and not netlist.signed(a) and netlist.width(a) <= shift:
        return 0
    return width - shift


def luts(netlist: Netlist, number: int, fabric: Fabric) -> float:
    """LUTs of one node."""
    node, width = netlist.nodes[number], netlist.width(number)
    if isinstance(node, Sum):
        bits = adder_bits(netlist, number)
        return fabric.adder * bool(bits) + fabric.adder_bit * bits
    if isinstance(node, RoundEven):
        return (node.right + 2) / 3
    if isinstance(node, Clamp):
        surplus = netlist.width(node.operands[0]) - width
        return width + max(surplus - 1, 0) / 3
    if isinstance(node, Larger):
        return 2 * width + 1
    if isinstance(node, Lookup):
        return width * max(1.0, 1.3 * 2.0 ** (netlist.width(node.operands[0]) - 4))
    return 0.0


def count(pipeline: Pipeline, fabric: Fabric) -> dict[str, float]:
    """lut and ff of a pipelined netlist."""
    netlist = pipeline.netlist
    return {
        "lut": sum(luts(netlist, number, fabric) for number in range(len(netlist.nodes))),
        "ff": float(pipeline.register_bits() + pipeline.depth),
    }


def fmax_hz(pipeline: Pipeline, fabric: Fabric) -> float:
    """The clock that a routed design reaches."""
    return 1e9 / (longest_path_ns(pipeline, fabric.delays) * routing(pipeline.netlist, fabric))


def routing(netlist: Netlist, fabric: Fabric) -> float:
    """What `fabric.delays` are multiplied by in a network of this size: wires get longer as it grows."""
    at_thousand, by_doubling = fabric.routing
    made = sum(luts(netlist, number, fabric) for number in range(len(netlist.nodes)))
    return at_thousand + by_doubling * log2(max(made, 250) / 1000)


# -- from layers alone ------------------------------------------------------------------------------------------------

SOURCE = "closed forms fitted to 28 unrolled networks (tests/bench/fpga/designs.py), not synthesised"
_WIDEST = 8  # bits of a weight or activation that this backend takes
_LUT_RANGE, _CYCLE_RANGE = (0.65, 1.5), (0.75, 1.4)  # around the value: where 26 of the 28 networks lie


def estimate(workload: Workload, device: Device) -> Estimate:
    """Keys: lut, ff, dsp, bram, latency_cycles, interval_cycles, latency_s, throughput_per_s."""
    layers = tuple(LayerCost(layer.name, _layer(layer)) for layer in workload.layers)
    costs = {
        key: _sum(key, [layer.costs[key] for layer in layers]) for key in ("lut", "ff", "dsp", "bram", "latency_cycles")
    }
    period_s = 1 / clock_hz(device)
    cycles = costs["latency_cycles"]
    costs["interval_cycles"] = Quantity.exact(1, UNITS["interval_cycles"], "modelled", SOURCE)
    costs["latency_s"] = Quantity(
        cycles.value * period_s, cycles.low * period_s, cycles.high * period_s, UNITS["latency_s"], "modelled", SOURCE
    )
    costs["throughput_per_s"] = Quantity.exact(1 / period_s, UNITS["throughput_per_s"], "modelled", SOURCE)
    combine: dict[str, Combine] = dict.fromkeys(("lut", "ff", "dsp", "bram", "latency_cycles"), "sum")
    combine |= dict.fromkeys(("interval_cycles", "latency_s", "throughput_per_s"), "opaque")
    return Estimate(costs, layers, combine, tuple(_notes(costs, device)))


def _layer(layer: Layer) -> dict[str, Quantity]:
    """Every nonzero digit of a weight is an operand of an adder; some adders serve several outputs."""
    lut, cycles = 0.0, 0.0
    outputs, bits = max(layer.output_elements, 1), min(layer.input_bits, _WIDEST)
    if layer.macs:
        digits = layer.macs * _digits(layer)
        depth = log2(max(digits / outputs, 1))  # of a balanced tree
        shared = max(digits / max(layer.input_elements, 1), 1) ** -0.072
        lut = 0.312 * max(digits - outputs, 0) * shared * (bits + 8 + 1.84 * depth) + 9.17 * outputs * (depth + 0.5)
        cycles = 1.07 + 0.76 * depth
    elif layer.op in _PER_BIT:
        lut, cycles = _PER_BIT[layer.op] * bits * layer.input_elements, 3.5
    return {
        "lut": _between("lut", lut, _LUT_RANGE),
        "ff": _between("ff", 0.59 * lut, _LUT_RANGE),
        "dsp": Quantity.exact(0, UNITS["dsp"], "modelled", SOURCE),
        "bram": Quantity.exact(0, UNITS["bram"], "modelled", SOURCE),
        "latency_cycles": _between("latency_cycles", cycles, _CYCLE_RANGE),
    }


_PER_BIT: Mapping[str, float] = {"pool": 1.0, "add": 3.0, "mul": 60.0}  # LUTs for a bit of an input


def _digits(layer: Layer) -> float:
    """Nonzero signed digits of a weight, zeros included; of a float weight as many as its bits will have on average."""
    if layer.weight_digits is not None:
        return layer.weight_digits
    return (1 - layer.zero_fraction) * (0.3 * min(layer.weight_bits, _WIDEST) + 0.4)


def _between(key: str, value: float, factors: tuple[float, float]) -> Quantity:
    return Quantity(value, value * factors[0], value * factors[1], UNITS[key], "modelled", SOURCE)


def _sum(key: str, parts: Sequence[Quantity]) -> Quantity:
    value, low, high = (sum(getattr(part, field) for part in parts) for field in ("value", "low", "high"))
    return Quantity(value, low, high, UNITS[key], "modelled", SOURCE)


def _notes(costs: Mapping[str, Quantity], device: Device) -> list[str]:
    return [
        f"{key}: {costs[key].value:,.0f} modelled, {offered.value:,.0f} on the device."
        for key, offered in device.resources.items()
        if key in costs and costs[key].value > offered.value
    ]
