"""The device, and two libraries that most tests share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import graphs
import pytest

from prunus.compiler.integer import graph as ir
from prunus.compiler.target import Artifact, Device, Emitted
from prunus.targets import catalog
from prunus.targets.tvm import TvmTarget
from prunus.tests.targets.tvm import float_cases, unions
from prunus.tests.targets.tvm.unions import Arrays, Case

pytest.importorskip("tvm", reason="the extra 'tvm' is not installed")


@pytest.fixture(scope="session")
def device() -> Device:
    return catalog.device_files()["host-cpu"].device("tvm")


@dataclass(frozen=True)
class Built:
    """A lowered case; `found` is what its library computes."""

    graph: ir.Graph
    feeds: Arrays
    expected: Arrays
    artifact: Artifact
    found: Arrays


def _lower(case: Case, device: Device, out: Path) -> Built:
    artifact = TvmTarget().lower(case.graph, device, out)
    found = TvmTarget().run(artifact, case.graph, case.feeds)
    assert not isinstance(found, Emitted)
    return Built(case.graph, case.feeds, case.expected, artifact, found)


@pytest.fixture(scope="session")
def everything(device: Device, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """All golden vectors, three small networks in all schemes and common float islands in one library."""
    union = unions.union([*unions.golden_cases(), *unions.networks(), *float_cases.common_islands(3)])
    return _lower(union, device, tmp_path_factory.mktemp("everything"))


@pytest.fixture(scope="session")
def small(device: Device, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A multilayer perceptron with a terminal Softmax."""
    return _lower(unions.evaluated(*graphs.mlp()), device, tmp_path_factory.mktemp("small"))
