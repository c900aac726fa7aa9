"""C simulation against the integer reference: every element of every layer, under the settings that are emitted."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import graphs
import hls_graphs
import numpy as np
import pytest

from prunus.compiler.data import Data
from prunus.compiler.errors import UnsupportedError
from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops
from prunus.compiler.target import Artifact
from prunus.compiler.verify import verify_artifact
from prunus.targets.catalog import resolve
from prunus.targets.fpga.hls import HlsTarget
from prunus.targets.process import run

pytestmark = [
    pytest.mark.toolchain,
    pytest.mark.skipif(importlib.util.find_spec("hls4ml") is None, reason="hls4ml is not installed"),
    pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++"),
]
SAMPLES = 1000
_, DEVICE = resolve("pynq-z2")


@pytest.fixture(scope="module")
def target() -> HlsTarget:
    return HlsTarget()


def samples(graph: ir.Graph, count: int) -> dict[str, np.ndarray]:
    """Normal inputs, three of them far out of range."""
    rng = np.random.default_rng(1)
    feeds = {name: rng.normal(size=(count, *graph.tensors[name].shape)).astype(np.float32) for name in graph.inputs}
    for array in feeds.values():
        array[:3] *= np.array([0, 100, 1e-3], np.float32).reshape(3, *[1] * (array.ndim - 1))
    return feeds


def assert_exact(target: HlsTarget, artifact: Artifact, graph: ir.Graph, count: int) -> None:
    """Every layer's tensor is shown and equals the reference in value and type."""
    feeds = samples(graph, count)
    expected, shown = ops.run(graph, feeds, keep=True), target.run(artifact, graph, feeds)
    findings = {finding.layer: finding for finding in target.check(graph, DEVICE)}
    inputs = {op.output for op in graph.ops if isinstance(op, ir.Quantize)}
    computed = [op for op in graph.ops if findings[op.name].placement == "integer" and not set(op.inputs) <= inputs]
    assert {op.output for op in computed} <= set(shown)
    for name, value in shown.items():
        assert value.dtype == expected[name].dtype
        np.testing.assert_array_equal(value, expected[name], err_msg=name)


def test_mlp_is_exact_and_one_lsb_of_one_weight_is_noticed(target: HlsTarget, tmp_path: Path) -> None:
    graph, _ = graphs.mlp("pow2")
    artifact = target.lower(graph, DEVICE, tmp_path)
    assert artifact.manifest["io_type"] == "io_parallel"
    assert_exact(target, artifact, graph, SAMPLES)
    data = Data(samples(graph, 200))
    assert verify_artifact(target, artifact, graph, data).fraction == 1.0
    weights = tmp_path / "project" / "firmware" / "weights" / "w2.txt"
    first, _, rest = weights.read_text().partition(",")
    lsb = 2.0 ** -int(weight_fraction(artifact, "t0002_dense"))
    weights.write_text(f"{float(first) + lsb:.12f},{rest}")
    assert (target.run(artifact, graph, data.inputs)["t0002"] != ops.run(graph, data.inputs, keep=True)["t0002"]).any()
    spoiled = verify_artifact(target, artifact, graph, data)
    assert spoiled.fraction is not None and 0.5 < spoiled.fraction < 1.0


def weight_fraction(artifact: Artifact, layer: str) -> int:
    """Fraction bits of a layer's weights, from the manifest."""
    kind = next(entry["types"]["weight"] for entry in artifact.manifest["layers"] if entry["name"] == layer)
    width, integer = kind.removeprefix("fixed<").removesuffix(">").split(",")
    return int(width) - int(integer)


@pytest.mark.parametrize(
    ("make", "shape"),
    [(graphs.residual_cnn, (3, 8, 8)), (graphs.depthwise_cnn, (3, 9, 7))],
    ids=["residual", "depthwise"],
)
def test_cnn_is_exact(
    target: HlsTarget,
    tmp_path: Path,
    make: Callable[..., tuple[ir.Graph, graphs.Feeds]],
    shape: tuple[int, int, int],
) -> None:
    graph, _ = make("pow2", shape=shape, width=4)
    artifact = target.lower(graph, DEVICE, tmp_path)
    assert artifact.manifest["io_type"] == "io_stream"
    assert_exact(target, artifact, graph, SAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["pow2", "fixed"])
@pytest.mark.parametrize("make", [hls_graphs.mlp, hls_graphs.cnn, hls_graphs.sequence, hls_graphs.two_ended])
def test_every_operator_is_exact(
    target: HlsTarget, tmp_path: Path, make: Callable[..., tuple[ir.Graph, graphs.Feeds]], scheme: ir.Scheme
) -> None:
    graph, _ = make(scheme)
    assert_exact(target, target.lower(graph, DEVICE, tmp_path), graph, 200)


@pytest.mark.slow
@pytest.mark.parametrize("make", [graphs.residual_cnn, graphs.depthwise_cnn])
def test_other_seeds_and_weights_per_tensor(
    target: HlsTarget, tmp_path: Path, make: Callable[..., tuple[ir.Graph, graphs.Feeds]]
) -> None:
    graph, _ = make("pow2", 7, per_channel=False)
    assert_exact(target, target.lower(graph, DEVICE, tmp_path), graph, 200)


@pytest.mark.slow
def test_the_vendor_test_bench_gives_the_stored_outputs(target: HlsTarget, tmp_path: Path) -> None:
    graph, _ = hls_graphs.two_ended("pow2")
    project = target.lower(graph, DEVICE, tmp_path).root / "project"
    sources = ["firmware/firmware.cpp", "firmware_test.cpp", "-o", str(tmp_path / "bench")]
    argv = ["g++", "-O1", "-std=c++17", "-w", "-Ifirmware/ap_types", '-DWEIGHTS_DIR="firmware/weights"', *sources]
    run(argv, what="Compiling", cwd=project, timeout_s=600)
    run([str(tmp_path / "bench")], what="Simulating", cwd=project, timeout_s=600)
    want = (project / "tb_data" / "tb_output_predictions.dat").read_text().split()
    found = (project / "tb_data" / "csim_results.log").read_text().split()
    np.testing.assert_allclose(np.array(found, float), np.array(want, float), rtol=1e-5)  # printed with 6 digits


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["Vivado", "Catapult"])
@pytest.mark.parametrize("make", [graphs.mlp, graphs.residual_cnn])
def test_other_backends_are_exact(
    target: HlsTarget, tmp_path: Path, make: Callable[..., tuple[ir.Graph, graphs.Feeds]], backend: str
) -> None:
    graph, _ = make("pow2")
    device = replace(DEVICE, data={**DEVICE.data, "hls_backend": backend})
    assert_exact(target, target.lower(graph, device, tmp_path), graph, 200)


def test_catapult_refuses_depthwise_layers_that_share_multipliers(target: HlsTarget, tmp_path: Path) -> None:
    device = replace(DEVICE, data={**DEVICE.data, "hls_backend": "Catapult"})
    with pytest.raises(UnsupportedError) as caught:
        target.lower(graphs.depthwise_cnn("pow2")[0], device, tmp_path)
    assert caught.value.code == "catapult-depthwise"
    assert not any(tmp_path.iterdir())


@pytest.mark.slow
def test_a_large_device_unrolls_and_stays_exact(target: HlsTarget, tmp_path: Path) -> None:
    graph, _ = graphs.residual_cnn("pow2")
    _, device = resolve("alveo-u250")
    artifact = target.lower(graph, device, tmp_path)
    assert artifact.manifest["strategy"] == "mixed"
    assert_exact(target, artifact, graph, 200)
