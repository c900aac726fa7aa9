"""Architecture files: what is valid, and errors that lead to the place and the nearest key."""

from __future__ import annotations

from pathlib import Path

import pytest
from asic_layers import altered, conv, node

from prunus.compiler.errors import PrunusError
from prunus.compiler.model.workload import Workload
from prunus.targets.asic.architecture_file import (
    ArchitectureError,
    catalogue,
    coefficients,
    load_architecture,
    parse_architecture,
    read_yaml,
)
from prunus.targets.asic.model import estimate
from prunus.targets.asic.units import UnitError, number
from prunus.targets.catalog import resolve


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_every_architecture_states_its_sources_and_gives_an_estimate(name: str) -> None:
    chip = catalogue()[name]
    assert chip.name == name
    for path, each in coefficients(chip).items():
        assert len(each.source) >= 3, path
        assert each.low <= each.value <= each.high, path
    found = estimate(Workload((conv(16, 16, 8),)), chip)
    assert found.costs["latency_s"].value > 0
    _, device = resolve(name)
    assert device.kind == "asic"


@pytest.mark.parametrize(
    ("change", "code", "place", "hint"),
    [
        (lambda a: node(a, "array").update(rows=0), "bad-value", "nodes[2].rows", ""),
        (lambda a: node(a, "array").update(rows="32"), "bad-value", "nodes[2].rows", ""),
        (lambda a: node(a, "buffer").update(siez="1 KiB"), "unknown-key", "nodes[1].siez", "'size'"),
        (lambda a: node(a, "array").update(colums=3), "unknown-key", "nodes[2].colums", "'columns'"),
        (lambda a: a.update(tecnology={}), "unknown-key", "architecture.tecnology", "'technology'"),
        (lambda a: node(a, "array")["pe"].update(enrgy="1 pJ"), "unknown-key", "nodes[2].pe.enrgy", "'energy'"),
        (lambda a: a["technology"].update(clok="1 GHz"), "unknown-key", "technology.clok", "'clock'"),
        (lambda a: node(a, "buffer").update(size=512), "missing-unit", "nodes[1].size", "512 KiB"),
        (lambda a: node(a, "buffer").update(size="512 KB"), "unknown-unit", "nodes[1].size", "KiB"),
        (lambda a: node(a, "buffer").update(size="1 pJ"), "unknown-unit", "nodes[1].size", "B"),
        (lambda a: node(a, "buffer").update(size=float("inf")), "not-a-quantity", "nodes[1].size", "512 KiB"),
        (lambda a: node(a, "DRAM").update(energy="5 pJ/B"), "missing-source", "nodes[0].energy", "source"),
        (lambda a: node(a, "DRAM")["energy"].update(value="-5 pJ/B"), "negative", "nodes[0].energy", "below zero"),
        (lambda a: node(a, "DRAM")["energy"].update(low="200 pJ/B"), "bad-range", "nodes[0].energy", "low"),
        (lambda a: node(a, "DRAM")["energy"].update(sorce="x"), "unknown-key", "nodes[0].energy", "source"),
        (lambda a: node(a, "array").update({"class": "sistolic"}), "unknown-class", "nodes[2].class", "'systolic'"),
        (lambda a: node(a, "array").pop("class"), "unknown-class", "nodes[2].class", "systolic"),
        (lambda a: node(a, "array").update(dataflow="wz"), "bad-value", "nodes[2].dataflow", ""),
        (lambda a: node(a, "buffer").pop("size"), "missing-key", "nodes[1].size", "size"),
        (lambda a: a["nodes"].pop(2), "node-count", "architecture", "exactly one"),
        (lambda a: a["nodes"].append(node(a, "DRAM")), "node-count", "architecture", "exactly one"),
        (lambda a: a.update(version=2), "bad-value", "architecture.version", ""),
        (lambda a: a.update(nodes=3), "bad-value", "architecture.nodes", ""),
    ],
)
def test_a_bad_architecture_is_named_with_its_path(change, code: str, place: str, hint: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        altered(change)
    error = caught.value
    assert error.code == code
    assert (error.where or "").startswith("npu-16nm.yaml: architecture")
    assert place in (error.where or "")
    assert hint in (error.hint or "")
    assert error.exit_code == 2


def test_a_buffer_too_small_for_any_tile() -> None:
    chip = altered(lambda data: node(data, "buffer").update(size="8 B"))
    with pytest.raises(ArchitectureError) as caught:
        estimate(Workload((conv(),)), chip)
    assert caught.value.code == "level-too-small"
    assert "architecture.nodes[1].size" in (caught.value.where or "")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: [", "yaml-syntax"),
        ("a: &x [1]\nb: *x", "yaml-syntax"),
        ("a: 1\na: 2", "yaml-syntax"),
        ("[" * 5000, "yaml-syntax"),
        ("x: !!python/object/apply:os.system [ls]", "yaml-syntax"),
        ("arcitecture: {}", "missing-key"),
        ("- 1", "missing-key"),
        ("", "missing-key"),
        ("architecture: {}\nextra: 1", "unknown-key"),
        ("architecture: 7", "bad-value"),
    ],
)
def test_hostile_or_broken_files(tmp_path: Path, text: str, code: str) -> None:
    path = tmp_path / "chip.yaml"
    path.write_text(text)
    with pytest.raises(ArchitectureError) as caught:
        load_architecture(path)
    assert caught.value.code == code
    assert "chip.yaml" in (caught.value.where or "")


def test_a_missing_file_is_an_error_and_a_user_file_resolves(tmp_path: Path) -> None:
    with pytest.raises(PrunusError) as caught:
        resolve(f"asic:{tmp_path}/none.yaml")
    assert caught.value.code == "architecture-file"
    source = Path(__file__).resolve().parents[3] / "targets/asic/architectures/npu-16nm.yaml"
    if not source.is_file():
        pytest.skip("the sources are not beside the tests")
    copy = tmp_path / "mine.yaml"
    copy.write_text(source.read_text().replace("name: npu-16nm", "name: mine"))
    target, device = resolve(f"asic:{copy}")
    assert (target.name, device.name, device.kind) == ("asic", "mine", "asic")
    (found,) = target.cost([Workload((conv(),))], device)
    assert found.costs == estimate(Workload((conv(),)), catalogue()["npu-16nm"]).costs


@pytest.mark.parametrize(
    ("text", "dimension", "value"),
    [
        ("512 KiB", "size", 524288),
        ("0.5kB", "size", 500),
        ("16 bit", "size", 2),
        ("1.5e3 pJ", "energy", 1500),
        ("80 %", "fraction", 0.8),
        (0.8, "fraction", 0.8),
        ("64 bit/cycle", "port", 8),
        ("1 pJ/bit", "energy_per_byte", 8),
    ],
)
def test_units(text: str | float, dimension: str, value: float) -> None:
    assert number(text, dimension)[0] == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "KiB", "1 KiB KiB", True, None, [1], "nan KiB", "inf KiB", "1,5 KiB", "0x10 B"])
def test_what_is_no_quantity(text) -> None:
    with pytest.raises(UnitError):
        number(text, "size")


def test_yaml_that_is_too_large_is_refused() -> None:
    with pytest.raises(ArchitectureError) as caught:
        read_yaml("a: " + "x" * (1 << 21), "big.yaml")
    assert caught.value.code == "architecture-size"
    with pytest.raises(ArchitectureError):
        parse_architecture(None, "none.yaml")
