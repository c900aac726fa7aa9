"""The device, and a bundle that most tests share."""

from __future__ import annotations

from dataclasses import dataclass

import graphs
import numpy as np
import pytest

from prunus.compiler.integer import graph as ir
from prunus.compiler.target import Artifact, Device
from prunus.targets import catalog
from prunus.targets.ort import OrtTarget


@pytest.fixture(scope="session")
def device() -> Device:
    return catalog.device_files()["host-cpu"].device("ort")


@dataclass(frozen=True)
class Built:
    """A lowered graph and inputs for it."""

    graph: ir.Graph
    feeds: dict[str, np.ndarray]
    artifact: Artifact


@pytest.fixture(scope="session")
def small(device: Device, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A multilayer perceptron with a terminal Softmax."""
    graph, feeds = graphs.mlp()
    return Built(graph, feeds, OrtTarget().lower(graph, device, tmp_path_factory.mktemp("small")))
