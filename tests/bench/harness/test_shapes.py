"""The tables of layers: what they count is what the networks have."""

from __future__ import annotations

import itertools

import pytest

from harness.shapes import MOBILENETV2, RESNET50, SETS, TINY, Layer, conv, gemm
from prunus.compiler.integer import graph as ir

ALL = [layer for layers in SETS.values() for layer in layers]


def test_names_are_unique_in_a_set() -> None:
    for layers in SETS.values():
        assert len({layer.name for layer in layers}) == len(layers)


@pytest.mark.parametrize("layer", ALL, ids=lambda layer: layer.name)
def test_output_sizes_agree_with_the_integer_graph(layer: Layer) -> None:
    window = ir.Window(kernel=layer.kernel, strides=(layer.stride, layer.stride), pads=layer.pads)
    assert window.output_size(layer.height, layer.width) == (layer.out_height, layer.out_width)


def test_well_known_counts() -> None:
    by_name = {layer.name: layer for layer in RESNET50 + MOBILENETV2}
    assert by_name["stem 7x7/2"].macs == 118_013_952
    assert by_name["r4 3x3"].macs == 115_605_504
    assert by_name["pw 96-576"].macs == 10_838_016
    assert gemm("ffn", 128, 768, 3072).macs == 301_989_888
    assert by_name["dw 144"].weight_shape == (144, 1, 3, 3)
    assert by_name["stem 7x7/2"].pads == (3, 3, 3, 3)
    assert next(layer for layer in TINY if layer.name == "kws 10x4/2").pads == (4, 1, 5, 1)


@pytest.mark.parametrize("layer", [conv("a", 1, 1, 7, 3), conv("b", 1, 1, 8, 3, 2), conv("c", 1, 1, 9, 7, 2)])
def test_useful_macs_leave_out_padding(layer: Layer) -> None:
    inside = range(layer.height)
    starts = [out * layer.stride - layer.pads[0] for out in range(layer.out_height)]
    taps = sum(start + tap in inside for start, tap in itertools.product(starts, range(layer.kernel[0])))
    assert layer.useful_macs == taps**2 < layer.macs


def test_every_set_has_layers_to_prune() -> None:
    assert all(any(layer.prunable for layer in layers) for layers in SETS.values())
    assert not next(layer for layer in RESNET50 if layer.name == "stem 7x7/2").prunable
