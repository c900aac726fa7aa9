"""The bundle: complete, reproducible, checked by its own loader, run at arm's length."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import graphs
import numpy as np
import pytest

from prunus.compiler.errors import LimitError, ToolError, UsageError
from prunus.compiler.integer import ops
from prunus.targets.bundle import digest
from prunus.targets.process import run
from prunus.targets.tvm import TvmTarget, build
from prunus.targets.tvm.execute import Run, run_bundle
from prunus.tests.targets.tvm.conftest import Built

pytestmark = pytest.mark.toolchain

LOWER = """
import pathlib, sys
from prunus.targets import catalog
from prunus.targets.tvm import TvmTarget
import graphs
out = pathlib.Path(sys.argv[1])
out.mkdir()
TvmTarget().lower(graphs.mlp()[0], catalog.device_files()["host-cpu"].device("tvm"), out)
"""


def test_files_and_description(small: Built):
    root = small.artifact.root
    assert small.artifact.files == ("README.txt", "bundle.json", "main.cc", "model.so", "run.py", "vectors.npz")
    description = json.loads((root / "bundle.json").read_text())
    assert description == small.artifact.manifest
    assert description["inputs"] == [{"name": "t0000", "dtype": "float32", "shape": ["n", 16]}]
    assert description["entries"]["trace"] == list(small.graph.integer_tensors())
    assert description["sha256"]["model.so"] == digest(root / "model.so")
    assert "output t" in (root / "README.txt").read_text()


def test_vectors_come_from_the_reference(small: Built):
    with np.load(small.artifact.root / "vectors.npz") as vectors:
        expected = ops.run(small.graph, {"t0000": vectors["in.t0000"]})
        (output,) = small.graph.outputs
        assert np.array_equal(vectors[f"out.{output}"], expected[output])


def test_library_needs_no_tvm_to_link(small: Built):
    names = subprocess.run(
        ["readelf", "-d", "model.so"], cwd=small.artifact.root, capture_output=True, text=True, check=True
    ).stdout
    needed = [line.split("[")[1].rstrip("]") for line in names.splitlines() if "(NEEDED)" in line]
    own = ("libc.", "libm.", "libstdc++.", "libgcc_s.", "ld-linux")
    assert all(name.startswith(own) for name in needed), needed
    sources = str(Path(build.__file__).resolve().parents[2])
    assert sources.encode() not in (small.artifact.root / "model.so").read_bytes()


def test_loader_accepts_the_library_and_finds_wrong_vectors(small: Built, tmp_path: Path):
    bundle = tmp_path / "bundle"
    shutil.copytree(small.artifact.root, bundle)
    argv = [sys.executable, "run.py"]
    first = subprocess.run(argv, cwd=bundle, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    with np.load(bundle / "vectors.npz") as stored:
        vectors = dict(stored)
    (key,) = (name for name in vectors if name.startswith("out."))
    vectors[key][0, 0] += 1e-3
    np.savez(bundle / "vectors.npz", **vectors)
    assert subprocess.run(argv, cwd=bundle, capture_output=True, check=False).returncode == 1


def test_the_loader_takes_the_current_folder(small: Built):
    """A bare file name would be sought among the system's libraries."""
    program = "import run; run.load('.'); run.load('.', 'trace')"
    subprocess.run([sys.executable, "-c", program], cwd=small.artifact.root, check=True)


def test_equal_input_gives_equal_bytes(small: Built, tmp_path: Path):
    """Another process, folder and hash seed."""
    out = tmp_path / "somewhere" / "else"
    out.parent.mkdir()
    support = str(Path(graphs.__file__).parent)
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "PYTHONPATH": support}
    subprocess.run([sys.executable, "-c", LOWER, str(out)], check=True, env=environment, cwd=tmp_path)
    for name in small.artifact.files:
        assert digest(out / name) == digest(small.artifact.root / name), name


def test_latency_is_measured(small: Built):
    latency = TvmTarget().measure(small.artifact, small.graph, small.feeds)["latency_s"]
    assert latency.basis == "measured"
    assert 0 < latency.low <= latency.value <= latency.high < 1
    assert "native" in latency.source
    assert "one thread" in latency.source
    assert small.artifact.costs["flash_bytes"].value == (small.artifact.root / "model.so").stat().st_size


def test_a_changed_library_is_not_run(small: Built, tmp_path: Path):
    bundle = tmp_path / "bundle"
    shutil.copytree(small.artifact.root, bundle)
    with (bundle / "model.so").open("ab") as stream:
        stream.write(b"\0")
    with pytest.raises(UsageError) as caught:
        TvmTarget().run(replace(small.artifact, root=bundle), small.graph, small.feeds)
    assert caught.value.code == "artifact-changed"


def test_the_packed_function_refuses_wrong_arguments(small: Built):
    """No call with too few, too many or misshapen arguments reaches a kernel."""
    tvm_ffi = pytest.importorskip("tvm_ffi")
    module = tvm_ffi.load_module(str(small.artifact.root / "model.so"))
    network = module.get_function("prunus_network", query_imports=True)
    x = np.zeros((2, 16), np.float32)
    y = np.zeros((2, *small.expected[small.graph.ops[-2].output].shape[1:]), np.float32)

    def call(region: int, trace: int, *arrays: np.ndarray) -> None:
        network(region, trace, *(tvm_ffi.from_dlpack(array) for array in arrays))

    call(0, 0, x, y)
    assert y.any()
    wrong = [
        (1, 0, x, y),
        (-1, 0, x, y),
        (0, 1, x, y),
        (0, 0, x),
        (0, 0, x, y, y),
        (0, 0, x[:, ::2], y),
        (0, 0, x[:1], y),
        (0, 0, x.astype(np.uint8), y),
        (0, 0, x, y.astype(np.float64)),
    ]
    for arguments in wrong:
        with pytest.raises(RuntimeError, match="prunus_network"):
            call(*arguments)


def fake_bundle(folder: Path, body: str) -> Path:
    (folder / "run.py").write_text(f"import time, os, signal\ndef load(folder, entry='main'):\n    {body}\n")
    return folder


def test_a_hanging_library_is_stopped(tmp_path: Path):
    bundle = fake_bundle(tmp_path, f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(600)")
    with pytest.raises(LimitError) as caught:
        run_bundle(bundle, [np.zeros((1, 2))], [Run("main", ("y",))], timeout_s=3)
    assert caught.value.code == "time-out"
    pid = int((tmp_path / "pid").read_text())
    for _ in range(50):
        if not Path(f"/proc/{pid}").exists():
            break
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()


def test_a_crashing_library_is_an_error(tmp_path: Path):
    bundle = fake_bundle(tmp_path, "os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(ToolError) as caught:
        run_bundle(bundle, [np.zeros((1, 2))], [Run("main", ("y",))])
    assert caught.value.code == "tool-failed"


def test_a_missing_program_is_an_error(tmp_path: Path):
    with pytest.raises(ToolError) as caught:
        run(["no-such-program-here"], what="Nothing", cwd=tmp_path, timeout_s=1)
    assert caught.value.code == "tool-missing"
