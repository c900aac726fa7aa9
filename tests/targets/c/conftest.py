"""Devices, tools, and one bundle for this machine that several tests share."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import graphs
import numpy as np
import pytest

from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops
from prunus.compiler.target import Artifact, Device, Emitted
from prunus.targets.c import CTarget
from prunus.targets.catalog import device_files

CORES = ("cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55", "cortex-m55-nomve")
BOARDS = ("linux-aarch64", "armv7", "riscv64")  # with Linux, other than this machine
SHARED = tuple(name for name, entry in device_files().items() if entry.backend != "c" and "c" in entry.backends)
HOSTS = ("linux", *BOARDS)
# one core of each tier of instructions in the fast tests
EACH_TIER = [pytest.param(name, marks=() if name in CORES[:2] + CORES[4:5] else pytest.mark.slow) for name in CORES]
Arrays = Mapping[str, np.ndarray]


def device_of(name: str) -> Device:
    return device_files()[name].device("c")


def need(*tools: str) -> None:
    """Skips where a tool is missing."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


def need_board() -> None:
    need("arm-none-eabi-gcc", "qemu-system-arm")


def differing(artifact: Artifact, graph: ir.Graph, feeds: Arrays, expected: Arrays) -> list[str]:
    """Names of the tensors that the artefact computes differently; it must show every integer tensor."""
    found = CTarget().run(artifact, graph, feeds)
    assert not isinstance(found, Emitted), found.reason
    assert set(graph.integer_tensors()) <= set(found)
    return [name for name in found if name in expected and not np.array_equal(found[name], expected[name])]


@dataclass(frozen=True)
class Built:
    """A lowered network with inputs and the reference's values."""

    graph: ir.Graph
    feeds: Arrays
    expected: Arrays
    artifact: Artifact


def lowered(graph: ir.Graph, feeds: Arrays, device: str, out: Path) -> Built:
    out.mkdir(exist_ok=True)
    expected = ops.run(graph, feeds, keep=True)
    return Built(graph, feeds, expected, CTarget().lower(graph, device_of(device), out))


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A residual network for this machine."""
    return lowered(*graphs.residual_cnn("fixed"), "linux", tmp_path_factory.mktemp("small"))
