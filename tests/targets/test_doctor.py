"""`prunus doctor`: what is missing or broken is named with its fix, and the TVM target refuses for the same reason."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from prunus.compiler import doctor as compiler_doctor
from prunus.compiler.doctor import Check
from prunus.compiler.errors import ToolError
from prunus.targets import doctor
from prunus.targets.tvm import installed, lazy

ROOT = Path(__file__).resolve().parents[2]
EXPLAIN = """
from prunus.targets.tvm.installed import fault
from prunus.targets.tvm.lazy import import_tvm
print(fault())
try:
    import_tvm()
except Exception as error:
    assert str(error) == str(fault()), error
"""


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which nothing but Python is installed."""

    def missing(name: str) -> str:
        raise compiler_doctor.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.shutil, "which", lambda _name: None)
    monkeypatch.setattr(compiler_doctor, "version", missing)
    monkeypatch.setattr(installed, "find_spec", lambda _name: None)
    monkeypatch.setattr(doctor, "cuda_devices", lambda: ())
    monkeypatch.setattr(doctor.ctypes.util, "find_library", lambda _name: None)


def text(checks: list[Check]) -> str:
    return "".join(f"{check.what}: {check.row()['found']} ({check.needed_for})\n" for check in checks)


def test_a_bare_machine(bare: None, golden, monkeypatch: pytest.MonkeyPatch) -> None:
    cross = doctor._cross_compilers()
    monkeypatch.setattr(doctor, "_cross_compilers", list)  # they grow with the catalogue
    golden("doctor/bare-machine.txt", text(compiler_doctor.examine()))
    fixes = {check.what: check.fix for check in cross}
    assert fixes["arm-none-eabi-gcc"] == "apt install gcc-arm-none-eabi libnewlib-arm-none-eabi"
    assert fixes["aarch64-linux-gnu-gcc"] == "apt install gcc-aarch64-linux-gnu"
    assert fixes["qemu-aarch64"] == "apt install qemu-user"
    assert fixes["qemu-system-arm"] == "apt install qemu-system-arm"
    assert not any(check.ok for check in cross)


def test_a_gpu_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "cuda_devices", lambda: ("NVIDIA X", "NVIDIA Y"))
    (found,) = (check for check in doctor.checks() if check.what == "CUDA device")
    assert found.ok
    assert found.found == "NVIDIA X, NVIDIA Y"


def foreign_tvm(folder: Path) -> None:
    """What `pip install tvm` leaves: a module of that name, without a compiler in it."""
    (folder / "tvm").mkdir()
    (folder / "tvm" / "__init__.py").write_text("def time_value(): ...\n")
    (folder / "tvm-1.0.0.dist-info").mkdir()
    (folder / "tvm-1.0.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: tvm\nVersion: 1.0.0\n")


def test_pypi_s_tvm_is_another_project(tmp_path: Path, golden) -> None:
    foreign_tvm(tmp_path)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", EXPLAIN], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    golden("errors/tvm-foreign.txt", done.stdout)


def test_another_ffi_than_the_tested_one(monkeypatch: pytest.MonkeyPatch, golden) -> None:
    pytest.importorskip("tvm", reason="the extra 'tvm' is not installed")
    versions = {"apache-tvm-ffi": "0.1.15.post2", "apache-tvm": "0.27.0.post1"}
    monkeypatch.setattr(installed, "version", versions.__getitem__)
    with pytest.raises(ToolError) as caught:
        lazy.import_tvm()
    golden("errors/tvm-ffi-version.txt", f"{caught.value}\n")
    (check,) = (check for check in doctor.checks() if check.what == "apache-tvm")
    assert not check.ok
    assert check.row()["found"].startswith("broken (The installed version of 'apache-tvm-ffi'")
    assert check.fix == "pip install 'apache-tvm-ffi==0.1.14.post0'"


def test_the_right_one_is_fine() -> None:
    pytest.importorskip("tvm", reason="the extra 'tvm' is not installed")
    assert installed.fault() is None


def test_the_version_is_the_extra_s_own() -> None:
    project = ROOT / "pyproject.toml"
    if not project.is_file():
        pytest.skip("the sources are not beside the tests")
    assert re.findall(r"apache-tvm-ffi==([\w.]+)", project.read_text()) == [installed.FFI_VERSION]
