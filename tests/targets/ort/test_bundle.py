"""The bundle: complete, reproducible, checked by its own loader, run at arm's length."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import graphs
import numpy as np
import onnx
import pytest

from prunus import kernels
from prunus.compiler.errors import LimitError, ToolError, UsageError
from prunus.compiler.integer import graph as ir
from prunus.compiler.integer import ops
from prunus.compiler.target import Device
from prunus.targets.bundle import digest
from prunus.targets.ort import OrtTarget, bundle
from prunus.targets.ort.execute import run_bundle
from prunus.tests.targets.ort import cases
from prunus.tests.targets.ort.conftest import Built

FILES = ("README.txt", "bundle.json", "libprunus_ort.so", "loader.py", "model.onnx", "vectors.npz")
LOWER = """
import pathlib, sys
from prunus.targets import catalog
from prunus.targets.ort import OrtTarget
import graphs
out = pathlib.Path(sys.argv[1])
out.mkdir()
OrtTarget().lower(graphs.mlp()[0], catalog.device_files()["host-cpu"].device("ort"), out)
"""


def copied(small: Built, folder: Path) -> Path:
    shutil.copytree(small.artifact.root, folder)
    return folder


def test_files_and_description(small: Built) -> None:
    root = small.artifact.root
    assert small.artifact.files == FILES
    description = json.loads((root / "bundle.json").read_text())
    assert description == small.artifact.manifest
    assert description["inputs"] == [{"name": "t0000", "dtype": "float32", "shape": ["n", 16]}]
    assert [part["name"] for part in description["parts"]] == ["region0", small.graph.ops[-1].name]
    assert description["sha256"]["libprunus_ort.so"] == digest(bundle.find_library())
    assert "output t" in (root / "README.txt").read_text()
    sizes = sum((root / name).stat().st_size for name in ("model.onnx", "libprunus_ort.so"))
    assert small.artifact.costs["flash_bytes"].value == sizes


def test_the_model_is_valid_onnx_with_one_operator_of_ours(small: Built) -> None:
    model = onnx.load(small.artifact.root / "model.onnx")
    onnx.checker.check_model(model)
    assert [(node.domain, node.op_type) for node in model.graph.node] == [("prunus", "Network"), ("", "Softmax")]


def test_equal_input_gives_equal_bytes(small: Built, tmp_path: Path) -> None:
    """Another process, folder and hash seed."""
    out = tmp_path / "elsewhere"
    support = str(Path(graphs.__file__).parent)
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": support}
    subprocess.run([sys.executable, "-c", LOWER, str(out)], check=True, env=environment, cwd=tmp_path)
    for name in FILES:
        assert digest(out / name) == digest(small.artifact.root / name), name


def test_loader_accepts_the_model_and_finds_wrong_vectors(small: Built, tmp_path: Path) -> None:
    folder = copied(small, tmp_path / "moved")
    argv = [sys.executable, "loader.py"]
    first = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    assert first.stdout == "largest error: 0\n"
    with np.load(folder / "vectors.npz") as stored:
        vectors = dict(stored)
    (key,) = (name for name in vectors if name.startswith("out."))
    vectors[key][0, 0] += 1e-3
    np.savez(folder / "vectors.npz", **vectors)
    assert subprocess.run(argv, cwd=folder, capture_output=True, check=False).returncode == 1


def test_the_artefact_shows_every_integer_tensor(small: Built) -> None:
    found = OrtTarget().run(small.artifact, small.graph, small.feeds)
    assert isinstance(found, dict)
    expected = ops.run(small.graph, small.feeds, keep=True)
    assert set(found) == {*small.graph.integer_tensors(), *small.graph.outputs}
    for name in small.graph.integer_tensors():
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_islands_in_the_middle(device: Device, tmp_path: Path) -> None:
    graph, feeds = cases.with_islands()
    found = OrtTarget().run(OrtTarget().lower(graph, device, tmp_path), graph, feeds)
    assert isinstance(found, dict)
    expected = ops.run(graph, feeds, keep=True)
    assert all(np.array_equal(found[name], expected[name]) for name in graph.integer_tensors())
    assert all(np.abs(found[name] - expected[name]).max() <= 1e-5 for name in graph.outputs)


@pytest.mark.parametrize("isa", kernels.isas())
def test_every_instruction_set_of_this_machine(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, isa: str
) -> None:
    """The bundle's process takes the variable over."""
    graph, feeds = graphs.residual_cnn("f32")
    artifact = OrtTarget().lower(graph, device, tmp_path)
    monkeypatch.setenv("PRUNUS_ISA", isa)
    found = OrtTarget().run(artifact, graph, feeds)
    assert isinstance(found, dict)
    expected = ops.run(graph, feeds, keep=True)
    assert all(np.array_equal(found[name], expected[name]) for name in graph.integer_tensors())


def test_inputs_of_other_element_types_are_converted(device: Device, tmp_path: Path) -> None:
    graph, _ = graphs.mlp("f32")
    tensors = {**graph.tensors, "t0000": ir.Tensor("t0000", (16,), None, "uint8")}
    bytes_in = replace(graph, tensors=tensors)
    feeds = {"t0000": np.random.default_rng(0).integers(0, 4, (5, 16)).astype(np.uint8)}
    artifact = OrtTarget().lower(bytes_in, device, tmp_path)
    found = OrtTarget().run(artifact, bytes_in, feeds)
    assert isinstance(found, dict)
    assert artifact.manifest["inputs"][0]["dtype"] == "uint8"
    expected = ops.run(bytes_in, feeds, keep=True)
    assert all(np.array_equal(found[name], expected[name]) for name in graph.integer_tensors())


def test_latency_is_measured(small: Built) -> None:
    latency = OrtTarget().measure(small.artifact, small.graph, small.feeds)["latency_s"]
    assert latency.basis == "measured"
    assert 0 < latency.low <= latency.value <= latency.high < 1
    assert "one thread" in latency.source
    assert "onnxruntime 1." in latency.source


@pytest.mark.parametrize("name", ["model.onnx", "libprunus_ort.so", "loader.py"])
def test_a_changed_file_is_not_run(small: Built, tmp_path: Path, name: str) -> None:
    folder = copied(small, tmp_path / "bundle")
    with (folder / name).open("ab") as stream:
        stream.write(b"\0")
    changed = replace(small.artifact, root=folder)
    for use in (OrtTarget().run, OrtTarget().measure):
        with pytest.raises(UsageError) as caught:
            use(changed, small.graph, small.feeds)
        assert caught.value.code == "artifact-changed"


def test_a_missing_library_is_an_error(monkeypatch: pytest.MonkeyPatch, device: Device, tmp_path: Path) -> None:
    monkeypatch.setattr(bundle, "LIBRARY", "libabsent.so")
    with pytest.raises(ToolError) as caught:
        OrtTarget().lower(graphs.mlp()[0], device, tmp_path)
    assert caught.value.code == "missing-library"


def fake_bundle(folder: Path, body: str) -> Path:
    (folder / "loader.py").write_text(f"import time, os, signal\ndef load(model):\n    {body}\n")
    return folder


def test_a_hanging_library_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(LimitError) as caught:
        run_bundle(fake_bundle(tmp_path, "time.sleep(600)"), {"x": np.zeros((1, 2))}, timeout_s=3)
    assert caught.value.code == "time-out"


def test_a_crashing_library_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ToolError) as caught:
        run_bundle(fake_bundle(tmp_path, "os.kill(os.getpid(), signal.SIGSEGV)"), {"x": np.zeros((1, 2))})
    assert caught.value.code == "tool-failed"
