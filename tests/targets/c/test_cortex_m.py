"""Cortex-M cores, on the boards that qemu emulates: exact, within the predicted memory, on their own instructions."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import graphs
import pytest
from integer_models import EXAMPLES, LARGE, MLPERF, integer_model

from prunus import kernels
from prunus.compiler.driver import Request, compile
from prunus.compiler.errors import ToolError, UnsupportedError
from prunus.targets.c import CTarget, toolchain
from prunus.targets.c.execute import build, measure_memory, run_bundle
from prunus.targets.c.program import program
from prunus.targets.c.toolchain import toolchain_of
from prunus.tests.targets.c.conftest import (
    CORES,
    EACH_TIER,
    HOSTS,
    Built,
    device_of,
    differing,
    lowered,
    need,
    need_board,
)
from prunus.tests.targets.tvm import unions

pytestmark = pytest.mark.toolchain

ROOT = Path(__file__).resolve().parents[3]
RUNTIME_BYTES = 8192
DOT_INSTRUCTIONS = {"cortex-m3": "mla", "cortex-m4": "smlad", "cortex-m55": "vmladava", "cortex-m55-nomve": "smlad"}


@pytest.mark.parametrize("name", EACH_TIER)
def test_every_golden_case_is_exact(name: str, tmp_path: Path) -> None:
    """Every operator in every scheme; float32 multipliers without a floating-point unit (M3), too."""
    need_board()
    case = unions.union(unions.golden_cases())
    built = lowered(case.graph, case.feeds, name, tmp_path)
    assert differing(built.artifact, case.graph, case.feeds, case.expected) == []


@pytest.mark.parametrize("name", EACH_TIER)
def test_memory_is_as_predicted(name: str, tmp_path: Path) -> None:
    """Convolution, depthwise, pooling and dense: within 10 % of linker and painted stack; kernels in 8 kB."""
    need_board()
    graph, feeds = graphs.depthwise_cnn("fixed")
    built = lowered(graph, feeds, name, tmp_path)
    made = program(graph, toolchain_of(device_of(name)))
    found = measure_memory(tmp_path, made, toolchain_of(device_of(name)))
    _compare(built, found)
    measured = CTarget().measure(built.artifact, graph, feeds)
    assert measured["ram_bytes"].value == found["arena_bytes"] + found["stack_bytes"]
    assert {quantity.basis for quantity in measured.values()} == {"measured"}


def _compare(built: Built, found: dict[str, int]) -> None:
    costs = built.artifact.costs
    assert costs["ram_bytes"].value == pytest.approx(found["arena_bytes"] + found["stack_bytes"], rel=0.1)
    assert costs["flash_bytes"].value == pytest.approx(found["code_bytes"] + found["constant_bytes"], rel=0.1)
    assert found["code_bytes"] <= RUNTIME_BYTES
    memory = built.artifact.manifest["memory"]
    assert found["arena_bytes"] == memory["arena_bytes"] <= 1.1 * memory["live_bytes"]


@pytest.mark.parametrize(("built_for", "board"), [("cortex-m4", "mps2-an385"), ("cortex-m55", "mps2-an500")])
def test_a_program_for_another_core_fails(built_for: str, board: str, tmp_path: Path) -> None:
    need_board()
    graph, feeds = graphs.residual_cnn("fixed")
    lowered(graph, feeds, built_for, tmp_path)
    right = toolchain_of(device_of(built_for))
    made = program(graph, right)
    assert run_bundle(tmp_path, graph, made, right, feeds)
    with pytest.raises(ToolError) as caught:
        run_bundle(tmp_path, graph, made, replace(right, machine=board), feeds)
    assert caught.value.code == "program-failed"


@pytest.mark.parametrize("name", EACH_TIER)
def test_no_loop_computes_in_floating_point(name: str, tmp_path: Path) -> None:
    """Model and kernels without the border: no function of a soft-float library, no instruction of a float unit."""
    need("arm-none-eabi-gcc", "arm-none-eabi-nm", "arm-none-eabi-objdump")
    graph, _ = graphs.residual_cnn("fixed")
    CTarget().lower(graph, device_of(name), tmp_path)
    subprocess.run(["make", "-s", "build/model.elf"], cwd=tmp_path, check=True, capture_output=True)
    symbols = _text(["arm-none-eabi-nm", "build/model.elf"], tmp_path)
    assert "prunus_conv2d" in symbols
    assert not [line for line in symbols.splitlines() if "__aeabi_f" in line or "__aeabi_d" in line]
    code = _text(["arm-none-eabi-objdump", "-d", "build/model.elf"], tmp_path)
    assert not [line for line in code.splitlines() if "\tvmul.f" in line or "\tvadd.f" in line or "\tvcvt" in line]


@pytest.mark.parametrize("name", sorted(DOT_INSTRUCTIONS))
def test_products_use_the_core_s_own_instructions(name: str, tmp_path: Path) -> None:
    need("arm-none-eabi-gcc")
    assert f"\t{DOT_INSTRUCTIONS[name]}" in _assembly(name)
    others = set(DOT_INSTRUCTIONS.values()) - {DOT_INSTRUCTIONS[name], "mla"}
    assert not [word for word in others if f"\t{word}" in _assembly(name)]


def _assembly(name: str) -> str:
    files, include = kernels.sources()
    tile = next(path for path in files if path.name == "tile.c")
    flags = toolchain_of(device_of(name)).compile_flags(())
    return _text(["arm-none-eabi-gcc", *flags, f"-I{include}", "-S", str(tile), "-o", "-"], tile.parent)


def _text(argv: list[str], folder: Path) -> str:
    return subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=True).stdout


def test_the_dsp_and_vector_tiers_execute_fewer_instructions(tmp_path: Path) -> None:
    """Counted by the emulator, which runs one instruction a nanosecond: no statement on time."""
    need_board()
    graph, feeds = graphs.mlp("fixed", features=(256, 256, 10))
    counts = {}
    for name in ("cortex-m3", "cortex-m4", "cortex-m55"):
        lowered(graph, feeds, name, tmp_path / name)
        tools = toolchain_of(device_of(name))
        counts[name] = measure_memory(tmp_path / name, program(graph, tools), tools)["instructions"]
    assert counts["cortex-m55"] < 0.7 * counts["cortex-m4"] < 0.7 * 0.8 * counts["cortex-m3"]


def test_a_missing_emulator_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    here = toolchain.shutil.which
    monkeypatch.setattr(toolchain.shutil, "which", lambda name: "gcc" if name.endswith("gcc") else None)
    assert "apt install qemu-system-arm" in toolchain.missing_tool(toolchain_of(device_of("cortex-m4")))
    assert here is not None


def test_the_linker_refuses_what_does_not_fit(tmp_path: Path) -> None:
    """The board has as much memory as the device says: the prediction is not the only guard."""
    need("arm-none-eabi-gcc")
    graph, feeds = graphs.residual_cnn("fixed")
    lowered(graph, feeds, "cortex-m4", tmp_path)
    script = tmp_path / "board" / "cortex_m.ld"
    script.write_text(script.read_text().replace("LENGTH = 655360", "LENGTH = 4096"))
    tools = toolchain_of(device_of("cortex-m4"))
    with pytest.raises(ToolError, match="Compiling the bundle failed"):
        build(tmp_path, program(graph, tools), tools, "main.c")


@pytest.mark.parametrize("name", ["mlp", "cnn"])
def test_digits_from_the_model_file_to_the_board(name: str, tmp_path: Path) -> None:
    need_board()
    digits = ROOT / "examples" / "digits"
    data = digits / ("digits_flat.npz" if name == "mlp" else "digits.npz")
    request = Request(digits / f"{name}.onnx", "cortex-m4", tmp_path / "out", data=data, verify_samples=4)
    report = compile(request).report
    assert report.fidelity.exact_fraction == 1.0
    assert report.verdict.met
    assert {row.name for row in report.estimate} >= {"ram_bytes", "flash_bytes", "latency_cycles"}
    assert all(layer.placement in ("integer", "host") and layer.reason for layer in report.layers)


@pytest.mark.slow
@pytest.mark.parametrize("name", [*CORES, *HOSTS])
@pytest.mark.parametrize("network", (*MLPERF, *EXAMPLES))
def test_real_networks_are_exact(network: str, name: str, models: Path, tmp_path: Path) -> None:
    built = _run(network, name, models, tmp_path)
    memory = built.artifact.manifest["memory"]
    assert memory["arena_bytes"] <= 1.1 * memory["live_bytes"]
    tools = toolchain_of(device_of(name))
    if tools.embedded:
        _compare(built, measure_memory(tmp_path, program(built.graph, tools), tools))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "name"), [*((network, name) for network in LARGE for name in HOSTS), ("ultraface", "cortex-m7")]
)
def test_large_networks_are_exact(network: str, name: str, models: Path, tmp_path: Path) -> None:
    _run(network, name, models, tmp_path)


@pytest.mark.parametrize(
    "name", [*EACH_TIER, "linux", *(pytest.param(host, marks=pytest.mark.slow) for host in HOSTS[1:])]
)
def test_jets_are_exact(name: str, models: Path, tmp_path: Path) -> None:
    _run("jet", name, models, tmp_path)


def _run(network: str, name: str, models: Path, out: Path) -> Built:
    device = device_of(name)
    if missing := toolchain.missing_tool(toolchain_of(device)):
        pytest.skip(missing)
    graph, feeds = integer_model(network, models, CTarget().formats(device))
    built = lowered(graph, feeds, name, out)
    assert differing(built.artifact, graph, feeds, built.expected) == []
    return built


@pytest.mark.slow
@pytest.mark.parametrize(("network", "binding"), [("espcn", "ram"), ("mobilenetv2", "flash")])
def test_what_is_too_large_for_a_board_is_refused(network: str, binding: str, models: Path, tmp_path: Path) -> None:
    device = device_of("cortex-m7")
    graph, _ = integer_model(network, models, CTarget().formats(device))
    with pytest.raises(UnsupportedError) as caught:
        CTarget().lower(graph, device, tmp_path)
    assert caught.value.code == f"{binding}-too-small"
