"""The workload under other widths equals what is read from the network that was really cut."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from light import random_light_model
from pruning_nets import NETS
from search_target import half_redundant

from prunus.compiler.analysis.channels import channel_groups
from prunus.compiler.model.load import load_proto
from prunus.compiler.model.model import Model
from prunus.compiler.model.workload import Layer, workload
from prunus.compiler.model.zeros import Sparsity
from prunus.compiler.passes.base import Context
from prunus.compiler.pipeline import Pipeline
from prunus.compiler.pruning.cut import cut
from prunus.compiler.pruning.sparsify import sparsify
from prunus.compiler.quantization.outlook import quantized_workload
from prunus.compiler.search.widths import WidthModel, full_widths, removal
from prunus.compiler.target import Formats, quantized_like


def check(model: Model, seed: int) -> None:
    channels = channel_groups(model)
    rng = np.random.default_rng(seed)
    widths = tuple(int(rng.integers(1, size, endpoint=True)) for size in full_widths(channels))
    removed = removal(channels, widths, rng.random(channels.count))
    expected = quantized_like(workload(cut(model, channels, removed)), Formats())
    found = WidthModel(model, channels, Formats()).workload(widths)
    assert [plain(layer) for layer in found.layers] == [plain(layer) for layer in expected.layers]


def plain(layer: Layer) -> Layer:
    """Without what is measured on the weights, which depends on the channels that go."""
    return replace(layer, sparsity=Sparsity(), zero_fraction=0.0, weight_digits=None)


@pytest.mark.parametrize("name", sorted(NETS))
def test_equals_the_cut_network_for_every_family_of_rules(name: str) -> None:
    for seed in range(3):
        check(NETS[name](), seed)


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "shufflenet"])
def test_equals_the_cut_network_on_real_topologies(name: str) -> None:
    model = load_proto(random_light_model(name))
    check(Pipeline.default(last="fold_batch_norm").run(model, Context()).model, seed=0)


def test_full_widths_change_nothing() -> None:
    model = NETS["residual"]()
    channels = channel_groups(model)
    found = WidthModel(model, channels, Formats())
    assert found.workload(full_widths(channels)) == found.base


@pytest.mark.parametrize("block", [(4, 4), (16, 4), (1, 1)])
@pytest.mark.parametrize("width", [16, 8])
def test_zeros_are_counted_as_in_the_network_that_really_has_them(block: tuple[int, int], width: int) -> None:
    model, formats = half_redundant(), Formats(block=block)
    channels = channel_groups(model)
    works = WidthModel(model, channels, formats)
    assert works.pattern is not None
    widths = (width, 16, 16)
    layers = [layer.origin for layer in works.narrowable if layer.in_channels > 3]
    found = works.workload(widths, densities=tuple((name, 50) for name in layers))
    small = cut(model, channels, removal(channels, widths, np.zeros(channels.count)))
    real = sparsify(small, works.pattern, dict.fromkeys(layers, 0.5), "magnitude").model
    for one, other in zip(found.layers, quantized_workload(real, formats).layers, strict=True):
        assert (one.origin in layers and one.op == "conv") <= (one.sparsity.density == pytest.approx(0.5, abs=0.04))
        assert one.sparsity.density == pytest.approx(other.sparsity.density, abs=0.03)
        assert one.zero_fraction == pytest.approx(other.zero_fraction, abs=0.03)
        if one.weight_digits is not None and block == (1, 1):
            assert one.weight_digits == pytest.approx(other.weight_digits, rel=0.1)


def test_a_layer_too_small_for_the_pattern_stays_dense() -> None:
    model = half_redundant()
    works = WidthModel(model, channel_groups(model), Formats(block=(32, 4)))
    every = tuple((layer.origin, 25) for layer in works.narrowable)
    assert works.workload((16, 16, 16), densities=every) == works.base
