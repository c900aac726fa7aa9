"""A small network, compressed for a GPU with sparse tensor cores, and its bundle."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from prunus.compiler.data import Data, load_data
from prunus.compiler.integer.from_qdq import read_qdq
from prunus.compiler.integer.graph import Graph
from prunus.compiler.model.load import load
from prunus.compiler.passes.base import Context, Options
from prunus.compiler.pipeline import Pipeline
from prunus.compiler.target import Artifact, Device, Networks
from prunus.targets.catalog import device_files
from prunus.targets.gpu import GpuTarget

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits"


def device_of(name: str) -> Device:
    return device_files()[name].device("gpu")


@dataclass(frozen=True, eq=False)
class Compressed:
    networks: Networks
    graph: Graph


def compress(weight_sparsity: float, device: Device) -> Compressed:
    """The digits CNN for a device; `auto` is the pattern of zeros."""
    model = load(DIGITS / "cnn.onnx")
    data = load_data(DIGITS / "digits.npz", model).first(64)
    formats = GpuTarget().formats(device)
    options = Options(weight_sparsity=weight_sparsity, ranges="minmax")
    context = Context(formats, options, calibration=Data(data.inputs), target=GpuTarget(), device=device)
    result = Pipeline.default(skip=("equalise",)).run(model, context)
    return Compressed(Networks(result.float_model, result.model), read_qdq(result.model, formats))


@pytest.fixture(scope="session")
def dense() -> Compressed:
    return compress(0.0, device_of("cuda"))


@pytest.fixture(scope="session")
def sparse() -> Compressed:
    return compress(0.5, device_of("jetson-orin-gpu"))


@pytest.fixture(scope="session")
def bundle(dense: Compressed, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    pytest.importorskip("tvm", reason="the extra 'tvm' is not installed")
    out = tmp_path_factory.mktemp("cuda")
    return GpuTarget().lower_networks(dense.networks, dense.graph, device_of("cuda"), out)
