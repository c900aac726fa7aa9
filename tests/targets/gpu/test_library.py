"""The float library: kernels for the device that was asked for, the right numbers, and no name from outside."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prunus.compiler.errors import InvalidModelError, ToolError, UsageError
from prunus.compiler.lowering import with_float_type
from prunus.compiler.model.load import load
from prunus.compiler.target import Artifact
from prunus.targets.gpu.bundle import LIBRARY, TVM_LOADER, VECTORS
from prunus.targets.gpu.library import build_library, read_model, refuse_unsafe_names, settings_of
from prunus.targets.gpu.schedules import _Guarded
from prunus.tests.targets.gpu.conftest import DIGITS, Compressed, device_of

pytestmark = pytest.mark.toolchain
tvm = pytest.importorskip("tvm", reason="the extra 'tvm' is not installed")


def test_opencl_kernels(dense: Compressed, tmp_path: Path) -> None:
    source = build_library(dense.networks.unquantized, settings_of(device_of("opencl")), tmp_path / LIBRARY).source
    assert source.count("__kernel") > 5
    assert "__global__" not in source
    assert "half" not in source
    assert (tmp_path / LIBRARY).stat().st_size > 1e5


def test_half_precision(dense: Compressed, tmp_path: Path) -> None:
    device = with_float_type(device_of("opencl"), "float16")
    source = build_library(dense.networks.unquantized, settings_of(device), tmp_path / LIBRARY).source
    assert source.count("half") > 50


def test_cuda_source_is_what_a_compiler_takes(bundle: Artifact, tmp_path: Path) -> None:
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not on the PATH")
    argv = ["nvcc", "-w", "--cubin", "-arch=sm_75", "-o", str(tmp_path / "kernels.cubin"), "kernels.cu"]
    done = subprocess.run(argv, cwd=bundle.root, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def on_cpu(compressed: Compressed, bundle: Artifact, out: Path) -> Path:
    """The bundle with the very module that was emitted, built for this CPU instead: its loader runs it unchanged."""
    shutil.copytree(bundle.root, out)
    module = read_model(compressed.networks.unquantized, settings_of(device_of("cuda")))
    tvm.compile(module, target=tvm.target.Target("llvm")).export_library(str(out / LIBRARY))
    description = json.loads((out / "bundle.json").read_text())
    (out / "bundle.json").write_text(json.dumps({**description, "api": "cpu"}))
    return out


@pytest.mark.slow
def test_the_network_computes_what_onnxruntime_does(dense: Compressed, bundle: Artifact, tmp_path: Path) -> None:
    folder = on_cpu(dense, bundle, tmp_path / "cpu")
    argv = [sys.executable, TVM_LOADER]
    done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["relative_error"] < 1e-5
    with np.load(folder / VECTORS) as stored:
        vectors = dict(stored)
    key = next(name for name in vectors if name.startswith("float."))
    vectors[key][0, 0] += 0.01 * np.abs(vectors[key]).max()
    np.savez(folder / VECTORS, **vectors)
    assert subprocess.run(argv, cwd=folder, capture_output=True, timeout=300, check=False).returncode == 1


def test_hostile_names_never_reach_the_source(tmp_path: Path) -> None:
    import onnx

    hostile = 'x"); system("id"); //'
    proto = onnx.load(DIGITS / "mlp.onnx")
    proto.graph.node[0].name = hostile
    old = proto.graph.input[0].name
    proto.graph.input[0].name = hostile
    for node in proto.graph.node:
        node.input[:] = [hostile if name == old else name for name in node.input]
    onnx.save(proto, tmp_path / "hostile.onnx")
    model = load(tmp_path / "hostile.onnx")
    source = build_library(model, settings_of(device_of("cuda")), tmp_path / LIBRARY).source
    assert "system" not in source
    assert b"system(" not in (tmp_path / LIBRARY).read_bytes()
    with pytest.raises(InvalidModelError, match="not a plain identifier"):
        refuse_unsafe_names(proto)


def test_a_rule_that_fails_leaves_the_kernel_to_the_next() -> None:
    class Failing:
        def apply(self, function: object, target: object, tunable: bool) -> None:
            raise AttributeError("no such extent")

    guarded = _Guarded(Failing())
    assert guarded.apply(None, None, False) is None
    assert guarded.failed == 1


def test_a_missing_linker_names_its_package(dense: Compressed, tmp_path: Path) -> None:
    settings = replace(settings_of(device_of("cuda")), host="riscv64-unknown-elf-none")
    with pytest.raises(ToolError) as caught:
        build_library(dense.networks.unquantized, settings, tmp_path / LIBRARY)
    assert caught.value.code == "missing-compiler"
    assert "apt install gcc-riscv64-unknown-elf-none" in (caught.value.hint or "")


@pytest.mark.parametrize("change", [{"api": "metal"}, {"float_type": "int4"}, {"batch": 0}, {"arch": "sm_75; id"}])
def test_settings_of_a_device_are_checked(change: dict[str, object]) -> None:
    device = device_of("cuda")
    with pytest.raises(UsageError) as caught:
        settings_of(replace(device, data={**device.data, **change}))
    assert caught.value.code == "device-setting"
