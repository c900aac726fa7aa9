"""Other tools' files: read what they wrote, write what they read."""

from __future__ import annotations

import pytest
import yaml
from asic_layers import conv
from hypothesis import given
from hypothesis import strategies as st

from prunus.compiler.errors import UsageError
from prunus.compiler.model.workload import Workload
from prunus.targets.asic.architecture_file import ArchitectureError, catalogue, file_data, parse_architecture
from prunus.targets.asic.exchange import scalesim, zigzag
from prunus.targets.asic.exchange.timeloop import write_timeloop
from prunus.targets.asic.model import estimate
from prunus.targets.asic.problem import problem_of

ZIGZAG = """
name: tpu_like
memories:
  rf_128B: {size: 1024, r_cost: 0.095, w_cost: 0.095, operands: [I2], served_dimensions: [],
            ports: [{bandwidth_max: 8}, {bandwidth_max: 8}]}
  sram_2MB:
    size: 16777216
    r_cost: 416.16
    w_cost: 378.4
    operands: [I1, O]
    served_dimensions: [D1, D2]
    ports: [{fh: a}]
    ports: [{bandwidth_max: 2048}, {bandwidth_max: 2048}]
  dram: {size: 10000000000, r_cost: 700, w_cost: 750, operands: [I1, I2, O], served_dimensions: [D1, D2],
         ports: [{bandwidth_max: 64}]}
operational_array: {unit_energy: 0.04, dimensions: [D1, D2], sizes: [32, 16]}
"""


def test_zigzag_hardware_is_read_as_an_architecture_file() -> None:
    chip = parse_architecture(file_data(ZIGZAG, "tpu_like.yaml"), "tpu_like.yaml")
    assert chip.array.kind == "spatial"
    assert dict(chip.array.unroll) == {"K": 32, "C": 16}
    assert chip.buffers[0].size.value == 2 << 20
    assert chip.buffers[0].keeps == ("inputs", "outputs")
    assert chip.per_cycle(chip.dram.bandwidth) == 8
    assert (chip.dram.energy.low, chip.dram.energy.high) == (87.5, 93.75)
    assert chip.array.pe.energy.value == 0.04
    assert estimate(Workload((conv(),)), chip).costs["latency_cycles"].value > conv().macs / 512


def test_a_zigzag_mapping_chooses_the_unrolling_and_notes_what_is_assumed() -> None:
    mapping = [{"spatial_mapping": {"D1": ["OX, 8", "K, 4"], "D2": [["C", 16]]}}]
    data, notes = zigzag.architecture_data(yaml.safe_load(ZIGZAG), "x", mapping)
    array = data["architecture"]["nodes"][-1]
    assert array["unroll"] == {"Q": 8, "K": 4, "C": 16}
    assert any("clock" in note for note in notes)
    with pytest.raises(ArchitectureError) as caught:
        zigzag.architecture_data(yaml.safe_load(ZIGZAG), "x", [{"spatial_mapping": {"D2": ["C, 17"]}}])
    assert caught.value.code == "zigzag-hardware"


@pytest.mark.parametrize("text", ["memories: {}\noperational_array: {}", "memories: 3\noperational_array: 3"])
def test_a_broken_zigzag_file_is_an_error(text: str) -> None:
    with pytest.raises(ArchitectureError):
        file_data(text, "x.yaml")


def test_scalesim_configuration_round_trips() -> None:
    text = scalesim.write_cfg(catalogue()["npu-16nm"])
    chip = parse_architecture(file_data(text, "npu.cfg"), "npu.cfg")
    assert (chip.array.rows, chip.array.columns, chip.array.dataflow) == (32, 32, "ws")
    assert chip.per_cycle(chip.dram.bandwidth) == 13  # 12.8 bytes per cycle, in whole words
    assert scalesim.write_cfg(chip).replace("scalesim", "npu-16nm") == text
    with pytest.raises(UsageError) as caught:
        scalesim.write_cfg(catalogue()["nvdla-small"])
    assert caught.value.code == "scalesim-array"
    with pytest.raises(ArchitectureError):
        scalesim.architecture_data("[architecture_presets]\nArrayHeight: x", "bad.cfg")


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 30), st.sampled_from([1, 3, 7]))
def test_topology_round_trips_without_phantom_outputs(c: int, k: int, size: int, kernel: int) -> None:
    layer = conv(c, k, size, kernel)
    text = scalesim.write_topology(Workload((layer,)))
    for round_up in (False, True):  # both rules agree on what is written
        (back,) = scalesim.read_topology(text, "t.csv", round_up=round_up).layers
        assert back.macs == layer.macs
        assert problem_of(back).outputs == problem_of(layer).outputs


def test_rounding_is_right_by_default() -> None:
    text = "head\nconv1, 230, 230, 7, 7, 3, 64, 2,\n"
    assert scalesim.read_topology(text, "t.csv").layers[0].out_shape == (64, 112, 112)
    assert scalesim.read_topology(text, "t.csv", round_up=True).layers[0].out_shape == (64, 113, 113)


@pytest.mark.parametrize(
    "row", ["a, 1, 1", "a, 3, 3, 5, 5, 1, 1, 1,", "a, 9, 9, 3, 3, 0, 1, 1,", "a, x, 9, 3, 3, 1, 1, 1,"]
)
def test_a_broken_topology_names_the_line(row: str) -> None:
    with pytest.raises(UsageError) as caught:
        scalesim.read_topology(f"head\n{row}\n", "t.csv")
    assert caught.value.where == "t.csv, line 2"


class _Tagged(yaml.SafeLoader):
    pass


_Tagged.add_multi_constructor("!", lambda loader, _tag, node: loader.construct_mapping(node, deep=True))


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_timeloop_export_is_version_0_4_yaml(name: str) -> None:
    chip = catalogue()[name]
    data = yaml.load(write_timeloop(chip), Loader=_Tagged)["architecture"]
    assert data["version"] == 0.4
    nodes = {each["name"]: each for each in data["nodes"]}
    spatial = nodes["PE"]["spatial"]
    assert spatial["meshX"] * spatial["meshY"] == chip.elements
    assert nodes["mac"]["class"] == "intmac"
    for buffer in chip.buffers:
        attributes = nodes["".join(c if c.isalnum() else "_" for c in buffer.name)]["attributes"]
        assert attributes["depth"] * attributes["width"] / 8 == pytest.approx(buffer.size.value, rel=0.01)
    assert write_timeloop(chip) == write_timeloop(chip)
