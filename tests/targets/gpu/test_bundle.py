"""The bundle: complete, labelled for what it is, checked by its own loaders."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from prunus.compiler.errors import UsageError
from prunus.compiler.target import Artifact, Emitted, LowersNetworks
from prunus.targets.gpu import GpuTarget
from prunus.targets.gpu.bundle import ONNX_LOADER, VECTORS
from prunus.targets.gpu.execute import cuda_devices
from prunus.tests.targets.gpu.conftest import Compressed, device_of


def test_files_and_description(bundle: Artifact, dense: Compressed) -> None:
    assert bundle.files == (
        "README.txt", "bundle.json", "kernels.cu", "model_float.so", "model_int8.onnx", "run_onnx.py", "run_tvm.py",
        "vectors.npz",
    )  # fmt: skip
    assert json.loads((bundle.root / "bundle.json").read_text()) == bundle.manifest
    readme = (bundle.root / "README.txt").read_text()
    assert all(word in readme for word in ("trtexec", "run_onnx.py", "run_tvm.py", bundle.manifest["status"]))
    assert bundle.manifest["inputs"][0]["shape"] == ["n", 1, 8, 8]


def test_without_a_device_it_says_so(bundle: Artifact, dense: Compressed) -> None:
    found = GpuTarget().run(bundle, dense.graph, {})
    assert isinstance(found, Emitted)
    if cuda_devices():
        assert bundle.manifest["executed"]["relative_error"] <= 1e-3
    else:
        assert found.reason.startswith("emitted, not executed: this machine has no CUDA device")
        assert "equal the reference" in found.reason


def test_a_changed_artefact_is_refused(bundle: Artifact, dense: Compressed, tmp_path: Path) -> None:
    copy = shutil.copytree(bundle.root, tmp_path / "copy")
    (copy / "model_int8.onnx").write_bytes(b"")
    with pytest.raises(UsageError, match="has changed"):
        GpuTarget().run(Artifact(copy, bundle.files, bundle.manifest), dense.graph, {})


def test_onnx_loader_accepts_the_model_and_finds_wrong_vectors(bundle: Artifact, tmp_path: Path) -> None:
    folder = shutil.copytree(bundle.root, tmp_path / "bundle")
    argv = [sys.executable, ONNX_LOADER]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "dB from the integer reference" in done.stdout
    with np.load(folder / VECTORS) as stored:
        vectors = dict(stored)
    key = next(name for name in vectors if name.startswith("int8."))
    vectors[key] = -vectors[key]
    np.savez(folder / VECTORS, **vectors)
    assert subprocess.run(argv, cwd=folder, capture_output=True, check=False).returncode == 1


def test_the_integer_graph_alone_is_not_enough(dense: Compressed, tmp_path: Path) -> None:
    target = GpuTarget()
    assert isinstance(target, LowersNetworks)
    with pytest.raises(UsageError) as caught:
        target.lower(dense.graph, device_of("cuda"), tmp_path)
    assert caught.value.code == "needs-networks"
