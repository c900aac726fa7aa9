"""The closed forms: more zeros, fewer bits and fewer channels never cost more; counts of real netlists lie in range."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import rtl_graphs
from hypothesis import given, settings
from hypothesis import strategies as st

from prunus.compiler.model.workload import Layer, Workload
from prunus.compiler.target import Device
from prunus.targets import catalog
from prunus.targets.fpga.rtl import RtlTarget, cost, pipelined
from prunus.targets.fpga.rtl.board import board_of
from prunus.targets.fpga.rtl.placement import place

DEVICE = catalog.device_files()["ulx3s-85f"].device("rtl")


def gemm(inputs: int, outputs: int, bits: int = 8, digits: float | None = None, zeros: float = 0.0) -> Layer:
    return Layer(
        name="n0001",
        op="gemm",
        in_shape=(inputs,),
        out_shape=(outputs,),
        macs=inputs * outputs,
        in_channels=inputs,
        out_channels=outputs,
        weights=inputs * outputs,
        weight_bits=bits,
        input_bits=bits,
        output_bits=bits,
        input_elements=inputs,
        output_elements=outputs,
        weight_digits=digits,
        zero_fraction=zeros,
    )


def lut(layer: Layer, device: Device = DEVICE) -> float:
    [estimate] = RtlTarget().cost([Workload((layer,))], device)
    return estimate.costs["lut"].value


@given(st.integers(2, 64), st.integers(2, 64), st.integers(3, 8), st.floats(0.1, 2.5))
@settings(max_examples=60, deadline=None)
def test_less_never_costs_more(inputs: int, outputs: int, bits: int, digits: float) -> None:
    layer = gemm(inputs, outputs, bits, digits)
    assert lut(replace(layer, weight_digits=digits * 0.8)) <= lut(layer)
    assert lut(replace(layer, input_bits=bits - 1)) <= lut(layer)
    assert lut(gemm(inputs, outputs - 1, bits, digits)) <= lut(layer)


def test_float_weights_are_priced_by_their_bits_and_zeros() -> None:
    assert lut(gemm(16, 16, 6)) < lut(gemm(16, 16, 8))
    assert lut(gemm(16, 16, 8, zeros=0.75)) < 0.5 * lut(gemm(16, 16, 8))


def test_what_the_device_lacks_is_noted() -> None:
    [estimate] = RtlTarget().cost([Workload((gemm(400, 400),))], DEVICE)
    assert any(note.startswith("lut:") for note in estimate.notes)


@pytest.mark.parametrize("seed", range(3))
def test_counted_netlists_lie_in_the_range(seed: int) -> None:
    """The same layers, once as a workload and once as adders."""
    pytest.importorskip("da4ml")
    graph, _ = rtl_graphs.perceptron(seed)
    layers = []
    for op in graph.ops:
        if hasattr(op, "weight"):
            weight = op.weight.astype(np.int64)
            digits = np.array([bin(3 * abs(int(w)) ^ abs(int(w))).count("1") for w in weight.reshape(-1)]).mean()
            layers.append(gemm(weight.shape[1], weight.shape[0], 8, float(digits)))
    [estimate] = RtlTarget().cost([Workload(tuple(layers))], DEVICE)
    board = board_of(DEVICE)
    counted = cost.count(pipelined(graph, place(graph), board), cost.FABRICS[board.family])
    assert estimate.costs["lut"].low <= counted["lut"] <= estimate.costs["lut"].high
    assert estimate.costs["ff"].low <= counted["ff"] <= estimate.costs["ff"].high
