"""The device and one library with every operator, built once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prunus.compiler.integer import graph as ir
from prunus.compiler.target import Artifact, Device
from prunus.targets import catalog
from prunus.targets.tvm import TvmTarget
from prunus.tests import graphs
from prunus.tests.targets.tvm import cases, float_cases

pytest.importorskip("tvm", reason="the extra 'tvm' is not installed")


@pytest.fixture(scope="session")
def device() -> Device:
    return catalog.device_files()["host-cpu"].device("tvm")


@dataclass(frozen=True)
class Built:
    """A lowered graph with inputs for it."""

    graph: ir.Graph
    feeds: dict[str, np.ndarray]
    artifact: Artifact


def _lower(case: tuple[ir.Graph, dict[str, np.ndarray]], device: Device, out: Path) -> Built:
    graph, feeds = case
    return Built(graph, feeds, TvmTarget().lower(graph, device, out))


@pytest.fixture(scope="session")
def everything(device: Device, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """All operators, three small networks in all schemes, and all float islands, side by side in one library."""
    makers: list[Any] = [graphs.mlp, graphs.residual_cnn, graphs.depthwise_cnn]
    networks = [make(scheme) for make in makers for scheme in cases.SCHEMES]
    networks = [(graph, {name: x[: cases.BATCH] for name, x in feeds.items()}) for graph, feeds in networks]
    union = cases.union([cases.every_operator(), *networks, *float_cases.every_island(cases.BATCH)])
    return _lower(union, device, tmp_path_factory.mktemp("everything"))


@pytest.fixture(scope="session")
def small(device: Device, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A multilayer perceptron with a terminal Softmax."""
    return _lower(graphs.mlp(), device, tmp_path_factory.mktemp("small"))
