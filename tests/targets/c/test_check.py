"""Findings, refusals and costs: what builds nothing."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import graphs
import pytest

from prunus.compiler.errors import UnsupportedError, UsageError
from prunus.compiler.integer import graph as ir
from prunus.compiler.model.load import load
from prunus.compiler.model.workload import workload
from prunus.compiler.quantity import Quantity
from prunus.compiler.target import Measures, Target
from prunus.targets.c import CTarget
from prunus.targets.c.toolchain import toolchain_of
from prunus.tests.targets.c.conftest import CORES, device_of
from prunus.tests.targets.ort import cases

SLOWER = 2.0  # than the slowest kernels on that chip: allowed at the modelled interval's lower end
ROOT = Path(__file__).resolve().parents[3]


def test_is_a_target() -> None:
    target = CTarget()
    assert isinstance(target, Target)
    assert isinstance(target, Measures)
    formats = target.formats(device_of("cortex-m3"))
    assert (formats.scheme, formats.requant_bits, formats.softmax) == ("fixed", 31, "host")
    assert set(formats.reasons) >= {"scheme", "activation", "zero_point", "per_channel", "block", "softmax"}


def test_the_ends_are_the_host_s() -> None:
    graph, _ = graphs.mlp("fixed")
    found = CTarget().check(graph, device_of("cortex-m4"))
    assert [finding.layer for finding in found] == [op.name for op in graph.ops]
    codes = [(finding.placement, finding.reason_code) for finding in found]
    assert codes[0] == ("integer", "border")
    assert codes[1:4] == [("integer", "kernel")] * 3
    assert codes[4:] == [("host", "border"), ("host", "terminal-softmax")]


def test_float_layers_inside_are_refused(tmp_path: Path) -> None:
    graph, _ = cases.with_islands()
    refused = [finding for finding in CTarget().check(graph, device_of("linux")) if finding.placement == "unsupported"]
    assert {finding.reason_code for finding in refused} == {"inner-island"}
    with pytest.raises(UnsupportedError) as caught:
        CTarget().lower(graph, device_of("linux"), tmp_path)
    assert caught.value.code == "inner-island"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("key", "code"), [("flash_bytes", "flash-too-small"), ("ram_bytes", "ram-too-small")])
def test_a_network_too_large_names_the_binding_resource(key: str, code: str, tmp_path: Path) -> None:
    device = device_of("cortex-m4")
    tiny = replace(device.resources[key], value=2000.0)
    cramped = replace(device, resources={**device.resources, key: tiny})
    with pytest.raises(UnsupportedError) as caught:
        CTarget().lower(graphs.residual_cnn("fixed")[0], cramped, tmp_path)
    assert caught.value.code == code
    assert f"{key} is the binding resource" in (caught.value.why or "")
    assert caught.value.where == "cortex-m4"
    assert list(tmp_path.iterdir()) == []


def test_settings_cannot_smuggle_options() -> None:
    device = device_of("cortex-m4")
    bad = replace(device, data={**device.data, "flags": ["-O2", "-B/tmp; rm"]})
    with pytest.raises(UsageError, match="plain word"):
        toolchain_of(bad)


def test_nothing_integer_is_refused(tmp_path: Path) -> None:
    graph, _ = graphs.mlp("fixed")
    first, last = graph.ops[0], graph.ops[-2]
    empty = ir.Graph(
        "g", graph.inputs, (last.output,), graph.tensors, (first, replace(last, inputs=(first.output,))), "fixed"
    )
    with pytest.raises(UnsupportedError) as caught:
        CTarget().lower(empty, device_of("linux"), tmp_path)
    assert caught.value.code == "nothing-integer"


@pytest.mark.parametrize("name", CORES)
def test_costs_are_modelled_with_ranges(name: str) -> None:
    work = workload(load(ROOT / "examples" / "digits" / "cnn.onnx"))
    (found,) = CTarget().cost([work], device_of(name))
    assert set(found.costs) == {"latency_cycles", "latency_s", "flash_bytes", "ram_bytes"}
    for quantity in found.costs.values():
        assert quantity.basis == "modelled"
        assert 0 < quantity.low <= quantity.value <= quantity.high
    cycles = found.costs["latency_cycles"]
    assert cycles.low < 0.9 * cycles.high
    parts = sum(layer.costs["latency_cycles"].value for layer in found.layers)
    assert parts == pytest.approx(cycles.value)
    clock = device_of(name).data["clock_hz"]
    assert isinstance(clock, Quantity)
    assert found.costs["latency_s"].value == pytest.approx(cycles.value / clock.value)


# MLPerf Tiny tasks whose networks are these very models, and how the boards' names of the results contain the core
BOARDS = {"cortex-m4": "L4R5ZI", "cortex-m33": "U575ZI", "cortex-m7": "H7A3ZI"}


@pytest.mark.parametrize("name", sorted(BOARDS))
@pytest.mark.parametrize(("task", "file"), [("ic", "ic_resnet8"), ("kws", "kws_dscnn"), ("ad", "ad_autoencoder")])
def test_the_model_agrees_with_published_boards(name: str, task: str, file: str, models: Path) -> None:
    """The modelled interval meets the span of what others measured on the same chip with their own kernels, which lie
    up to four times apart. It is no measurement of this code."""
    table = (models / "board_results_mlperf_tiny_v05_v07_v10.csv").read_text().splitlines()
    published = [
        float(row["median_inf_per_s"])
        for row in csv.DictReader(table)
        if row["division"] == "closed" and row["task"] == task and BOARDS[name] in row["system"].replace("_", "-")
    ]
    assert published
    (found,) = CTarget().cost([workload(load(models / f"mlperf_{file}_fp32.onnx"))], device_of(name))
    latency = found.costs["latency_s"]
    assert latency.low <= 1 / min(published) * SLOWER
    assert latency.high >= 1 / max(published)


def test_fewer_channels_cost_less() -> None:
    work = workload(load(ROOT / "examples" / "digits" / "cnn.onnx"))
    halved = replace(work, layers=tuple(replace(layer, macs=layer.macs // 2) for layer in work.layers))
    full, half = CTarget().cost([work, halved], device_of("cortex-m4"))
    assert half.costs["latency_cycles"].value < full.costs["latency_cycles"].value
