"""The cost model: cheap, monotone where it must be, and honest about what does not fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from prunus.compiler.errors import UsageError
from prunus.compiler.model.load import load
from prunus.compiler.model.workload import Layer, Workload, workload
from prunus.compiler.passes.base import Context, Options
from prunus.compiler.pipeline import Pipeline
from prunus.compiler.quantity import UNITS
from prunus.compiler.target import Device, quantized_like
from prunus.targets.catalog import device_files, resolve
from prunus.targets.fpga.hls import HlsTarget

TARGET, DEVICE = resolve("pynq-z2")


def conv(name: str, inputs: int, outputs: int, size: int, kernel: int = 3, **changes: object) -> Layer:
    layer = Layer(
        name=name,
        op="conv",
        in_shape=(inputs, size, size),
        out_shape=(outputs, size, size),
        macs=inputs * outputs * kernel * kernel * size * size,
        in_channels=inputs,
        out_channels=outputs,
        kernel=(kernel, kernel),
        weights=inputs * outputs * kernel * kernel,
        weight_bits=8,
        input_bits=8,
        output_bits=8,
    )
    return replace(layer, **changes)  # type: ignore[arg-type]


def gemm(name: str, inputs: int, outputs: int, zero_fraction: float = 0.0) -> Layer:
    return Layer(
        name=name,
        op="gemm",
        in_shape=(inputs,),
        out_shape=(outputs,),
        macs=inputs * outputs,
        in_channels=inputs,
        out_channels=outputs,
        weights=inputs * outputs,
        weight_bits=8,
        input_bits=8,
        zero_fraction=zero_fraction,
    )


def network(width: int) -> Workload:
    return Workload((conv("a", 3, width, 16), conv("b", width, width, 16), gemm("c", width, 10)))


def test_every_figure_has_unit_range_and_source() -> None:
    (estimate,) = TARGET.cost([network(16)], DEVICE)
    assert set(estimate.costs) == {
        *("lut", "ff", "dsp", "bram", "interval_cycles", "latency_cycles", "latency_s", "throughput_per_s")
    }
    for key, quantity in estimate.costs.items():
        assert quantity.unit == UNITS[key]
        assert quantity.basis == "modelled"
        assert "hls4ml" in quantity.source
        assert quantity.low <= quantity.value <= quantity.high
    assert [layer.layer for layer in estimate.layers] == ["a", "b", "c"]
    for key in ("lut", "ff", "dsp", "bram"):
        assert estimate.costs[key].value == pytest.approx(sum(layer.costs[key].value for layer in estimate.layers))


def test_fewer_channels_never_cost_more_time() -> None:
    estimates = TARGET.cost([network(width) for width in (8, 16, 24, 32)], DEVICE)
    cycles = [estimate.costs["interval_cycles"].value for estimate in estimates]
    assert cycles == sorted(cycles)
    assert cycles[0] < cycles[-1]


def test_a_larger_device_is_no_slower() -> None:
    _, large = resolve("alveo-u250")
    (here,), (there,) = TARGET.cost([network(32)], DEVICE), TARGET.cost([network(32)], large)
    assert there.costs["interval_cycles"].value < here.costs["interval_cycles"].value


def test_multipliers_stay_within_the_budget_of_the_device() -> None:
    (estimate,) = TARGET.cost([network(64)], DEVICE)
    assert estimate.costs["dsp"].value <= 0.8 * DEVICE.resources["dsp"].value


def test_zeros_are_free_where_weights_are_constants() -> None:
    dense, sparse = (Workload((gemm("a", 8, 8, zeros),)) for zeros in (0.0, 0.75))
    one, other = TARGET.cost([dense, sparse], DEVICE)
    assert "Latency" in one.notes[0]
    assert other.costs["lut"].value < one.costs["lut"].value
    large = [Workload((gemm("a", 64, 64, zeros),)) for zeros in (0.0, 0.75)]
    one, other = TARGET.cost(large, DEVICE)
    assert "Resource" in one.notes[0]
    assert other.costs["lut"].value == one.costs["lut"].value


def test_what_does_not_fit_is_said() -> None:
    (estimate,) = TARGET.cost([Workload((conv("a", 512, 512, 14),))], DEVICE)
    assert any(note.startswith("bram:") for note in estimate.notes)
    assert any("bram of 224" in note and "would fit" in note for note in estimate.notes)


def test_depthwise_layers_cost_less_than_dense_ones() -> None:
    dense = Workload((conv("a", 64, 64, 16),))
    single = conv("a", 64, 64, 16, op="depthwise", group=64, macs=64 * 9 * 256, weights=64 * 9)
    one, other = TARGET.cost([dense, Workload((single,))], DEVICE)
    assert other.costs["interval_cycles"].value < one.costs["interval_cycles"].value


def test_float_models_are_costed_at_the_bits_they_will_have() -> None:
    wide = Workload(tuple(replace(layer, weight_bits=32, input_bits=32) for layer in network(16).layers))
    one, other = TARGET.cost([network(16), wide], DEVICE)
    assert one.costs == other.costs


@pytest.mark.parametrize("name", sorted(n for n, f in device_files().items() if f.backend == "hls"))
def test_every_board_has_what_the_backend_needs(name: str) -> None:
    target, device = resolve(name)
    assert isinstance(target, HlsTarget)
    assert set(device.resources) == {"lut", "ff", "dsp", "bram"}
    assert device.resources["bram"].unit == "BRAM18"
    target.cost([network(8)], device)


def test_a_device_without_a_part_or_with_an_unknown_setting() -> None:
    bare = Device("bare", "fpga", "hls", "no data")
    with pytest.raises(UsageError, match="no resource 'lut'"):
        TARGET.cost([network(8)], bare)
    odd = replace(DEVICE, data={**DEVICE.data, "hls_scheme": "affine"})
    with pytest.raises(UsageError, match="hls_scheme") as caught:
        TARGET.formats(odd)
    assert "pow2" in (caught.value.hint or "")


def digits_intervals(channel_multiple: int) -> list[float]:
    """Modelled initiation intervals of the digits CNN on few multipliers, pruned more and more, in cycles."""
    formats = replace(TARGET.formats(DEVICE), channel_multiple=channel_multiple)
    model = load(Path(__file__).resolve().parents[4] / "examples" / "digits" / "cnn.onnx")
    small = replace(DEVICE, data={**DEVICE.data, "multipliers": 40})
    works = []
    for sparsity in (0.0, 0.1, 0.2, 0.4, 0.5):
        context = Context(formats=formats, options=Options(sparsity=sparsity, criterion="l2"))
        pruned = Pipeline.default(last="prune_channels").run(model, context).model
        works.append(quantized_like(workload(pruned), formats))
    return [each.costs["interval_cycles"].value for each in TARGET.cost(works, small)]


def test_whole_multiples_of_channels_keep_pruning_from_slowing_a_design_down() -> None:
    """Odd channel counts leave few legal reuse factors: without whole multiples, less work may take more cycles."""
    multiple = TARGET.formats(DEVICE).channel_multiple
    assert multiple > 1
    chosen, single = digits_intervals(multiple), digits_intervals(1)
    assert chosen == sorted(chosen, reverse=True)
    assert single != sorted(single, reverse=True)
    assert chosen[-1] < single[-1]
