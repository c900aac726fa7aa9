"""The bundle on this machine: complete, exact, reproducible, honest about what is wrong or missing."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import graphs
import integer_nets
import numpy as np
import pytest

from prunus.compiler.errors import UsageError
from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops
from prunus.compiler.target import Emitted
from prunus.targets.bundle import digest
from prunus.targets.c import CTarget, toolchain
from prunus.tests.targets.c.conftest import BOARDS, SHARED, Arrays, Built, device_of, differing, lowered, need
from prunus.tests.targets.tvm import unions

pytestmark = pytest.mark.toolchain


def test_files_and_description(small: Built) -> None:
    root = small.artifact.root
    assert set(small.artifact.files) >= {
        "LICENSE",
        "Makefile",
        "CMakeLists.txt",
        "README.md",
        "board/linux.c",
        "bundle.json",
        "kernels/conv.c",
        "kernels/include/prunus/kernels.h",
        "main.c",
        "model.c",
        "model.h",
        "model_float.c",
        "model_weights.h",
        "vectors.h",
    }
    assert "kernels/softmax.c" not in small.artifact.files
    description = json.loads((root / "bundle.json").read_text())
    assert description == json.loads(json.dumps(small.artifact.manifest))
    assert description["memory"]["arena_bytes"] == description["memory"]["live_bytes"]
    assert description["sha256"]["model.c"] == digest(root / "model.c")
    assert f"#define PRUNUS_ARENA_BYTES {description['memory']['arena_bytes']}\n" in (root / "model.h").read_text()
    assert "Apache License" in (root / "LICENSE").read_text()


def test_a_network_is_exact(small: Built) -> None:
    need("cc")
    assert differing(small.artifact, small.graph, small.feeds, small.expected) == []


def test_every_golden_case_is_exact(tmp_path: Path) -> None:
    """Every operator in every scheme, in one program."""
    need("cc")
    case = unions.union(unions.golden_cases())
    built = lowered(case.graph, case.feeds, "linux", tmp_path)
    assert differing(built.artifact, case.graph, case.feeds, case.expected) == []


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_are_exact(seed: int, tmp_path: Path) -> None:
    need("cc")
    graph, feeds, expected = integer_nets.random_net(100 + seed, length=12)
    built = lowered(graph, feeds, "linux", tmp_path)
    assert differing(built.artifact, graph, feeds, expected) == []


def test_pictures_need_no_floating_point(tmp_path: Path) -> None:
    """uint8 and int8 inputs become a table."""
    need("cc")
    graph, _ = graphs.mlp("fixed")
    for dtype, low in (("uint8", 0), ("int8", -128)):
        tensors = {**graph.tensors, "t0000": replace(graph.tensors["t0000"], dtype=dtype)}
        first = replace(graph.ops[0], scale=16.0, zero_point=3)  # type: ignore[call-arg]
        pictures = replace(graph, tensors=tensors, ops=(first, *graph.ops[1:]))
        feeds = {"t0000": np.arange(low, low + 256).astype(dtype).reshape(16, 16)}
        built = lowered(pictures, feeds, "linux", tmp_path / dtype)
        assert differing(built.artifact, pictures, feeds, built.expected) == []
        assert "prunus_quantize" not in (built.artifact.root / "model_float.c").read_text()


def test_a_seeded_fault_is_found(small: Built, tmp_path: Path) -> None:
    """One weight changed in the generated code changes results."""
    need("cc")
    root = tmp_path / "bundle"
    shutil.copytree(small.artifact.root, root)
    text = (root / "model_weights.h").read_text()
    start = text.index("_weight[")
    at = text.index("\n  ", start) + 3
    number = text[at:].split(",")[0]
    (root / "model_weights.h").write_text(f"{text[:at]}{(int(number) + 30) % 100}{text[at + len(number) :]}")
    digests = {**small.artifact.manifest["sha256"], "model_weights.h": digest(root / "model_weights.h")}
    broken = replace(small.artifact, root=root, manifest={**small.artifact.manifest, "sha256": digests})
    assert differing(broken, small.graph, small.feeds, small.expected)
    assert subprocess.run(["make", "-s", "run"], cwd=root, capture_output=True, check=False).returncode != 0


def test_a_changed_bundle_is_refused(small: Built, tmp_path: Path) -> None:
    root = tmp_path / "bundle"
    shutil.copytree(small.artifact.root, root)
    (root / "model.c").write_text("int x;\n")
    with pytest.raises(UsageError, match="changed since it was built"):
        CTarget().run(replace(small.artifact, root=root), small.graph, small.feeds)


def test_its_own_example_passes(small: Built, tmp_path: Path) -> None:
    need("cc", "make")
    root = tmp_path / "bundle"
    shutil.copytree(small.artifact.root, root)
    done = subprocess.run(["make", "run"], cwd=root, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "wrong elements 0\n" in done.stdout


def test_equal_graphs_give_equal_bytes(small: Built, tmp_path: Path) -> None:
    again = CTarget().lower(small.graph, device_of("linux"), tmp_path)
    assert again.files == small.artifact.files
    assert all((tmp_path / name).read_bytes() == (small.artifact.root / name).read_bytes() for name in again.files)


def test_a_missing_tool_names_its_package(small: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain.shutil, "which", lambda _name: None)
    found = CTarget().run(small.artifact, small.graph, small.feeds)
    assert isinstance(found, Emitted)
    assert "apt install gcc" in found.reason
    assert "gcc-arm-none-eabi" in toolchain.missing_tool(toolchain.toolchain_of(device_of("cortex-m4")))


@pytest.mark.parametrize("name", [*BOARDS, *(pytest.param(name, marks=pytest.mark.slow) for name in SHARED)])
def test_boards_with_linux_are_exact(name: str, tmp_path: Path) -> None:
    """Cross-compiled and emulated."""
    _run(name, *graphs.depthwise_cnn("fixed"), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", BOARDS)
def test_every_golden_case_is_exact_on_boards(name: str, tmp_path: Path) -> None:
    case = unions.union(unions.golden_cases())
    _run(name, case.graph, case.feeds, tmp_path)


def _run(name: str, graph: ir.Graph, feeds: Arrays, out: Path) -> None:
    tools = toolchain.toolchain_of(device_of(name))
    need(tools.compiler, tools.emulator)
    built = lowered(graph, feeds, name, out)
    assert differing(built.artifact, graph, feeds, built.expected) == []


def test_devices_of_other_backends_give_their_processor() -> None:
    """Compiler, package and flags follow from what they say of C++."""
    settings = {"compiler": "aarch64-linux-gnu-g++", "packages": "g++-aarch64-linux-gnu", "cpu": "cortex-a72"}
    settings |= {"triple": "aarch64-linux-gnu", "emulator": "qemu-aarch64"}
    tools = toolchain.toolchain_of(replace(device_of("linux"), data=settings))
    assert (tools.compiler, tools.packages) == ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu")
    assert tools.flags == ("-O3", "-static", "-mcpu=cortex-a72")
    here = toolchain.toolchain_of(replace(device_of("linux"), data={"triple": "x86_64-linux-gnu", "cpu": "x86-64-v3"}))
    assert (here.compiler, here.flags) == ("cc", ("-O3", "-march=x86-64-v3"))


@pytest.mark.parametrize("name", BOARDS)
def test_a_missing_tool_of_a_board_names_its_package(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tools = toolchain.toolchain_of(device_of(name))
    monkeypatch.setattr(toolchain.shutil, "which", lambda _name: None)
    assert f"apt install gcc-{tools.compiler.removesuffix('-gcc')}" in toolchain.missing_tool(tools)
    monkeypatch.setattr(toolchain.shutil, "which", lambda command: command if command == tools.compiler else None)
    assert toolchain.missing_tool(tools) == f"{tools.emulator} is missing (Debian: apt install qemu-user)"


def test_the_border_is_the_reference_s(small: Built) -> None:
    """Quantized inputs and dequantized outputs are shown and compared, too."""
    need("cc")
    found = CTarget().run(small.artifact, small.graph, small.feeds)
    assert not isinstance(found, Emitted)
    (output,) = small.graph.outputs
    assert isinstance(small.graph.producers[output], ir.Dequantize)
    assert np.array_equal(found[output], ops.run(small.graph, small.feeds)[output])
