"""Libraries for other processors: executed where everything for it is here, otherwise the reason is said."""

from __future__ import annotations

import platform
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

from prunus.compiler.errors import UsageError
from prunus.compiler.target import Emitted
from prunus.targets.catalog import device_files
from prunus.targets.tvm import TvmTarget, emulate, fetch
from prunus.targets.tvm.platform import Platform, platform_of
from prunus.tests.targets.tvm.conftest import Built
from prunus.tests.targets.tvm.test_exact import differing

BOARD = Platform(compiler="cat", packages="g++-other", triple="other-linux", emulator="cat")


def reason(built: Built, there: Platform) -> str:
    """What the target answers for the library, had it been built for the platform."""
    artifact = replace(built.artifact, manifest={**built.artifact.manifest, "platform": there.as_dict()})
    found = TvmTarget().run(artifact, built.graph, built.feeds)
    assert isinstance(found, Emitted)
    assert TvmTarget().measure(artifact, built.graph, built.feeds) == {}
    return found.reason


@pytest.mark.toolchain
def test_what_is_missing_is_named(small: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PRUNUS_CACHE", str(tmp_path))
    assert reason(small, replace(BOARD, compiler="no-g++")) == "no-g++ is missing (Debian: apt install g++-other)."
    assert reason(small, replace(BOARD, emulator="no-qemu")) == "no-qemu is missing (Debian: apt install qemu-user)."
    assert "python -m prunus.targets.tvm.fetch other" in reason(small, BOARD)
    faster = Platform(triple=f"{platform.machine()}-linux-gnu", needs="no-such-instructions")
    assert "no-such-instructions" in reason(small, faster)


def test_every_board_says_what_it_needs():
    boards = {
        name: platform_of(entry.device("tvm")) for name, entry in device_files().items() if entry.backend == "tvm"
    }
    assert {"host-cpu", "x86-64-v3", "raspberry-pi-4", "aarch64"} <= set(boards)
    for name, board in boards.items():
        assert board.cpu, name
        assert bool(board.emulator) == bool(board.compiler), name
        assert (board.isas == ()) == (name == "host-cpu"), name
    assert boards["raspberry-pi-4"].isas == ("neon",)  # Cortex-A72 has no dot products
    assert "neondot" in boards["raspberry-pi-5"].isas


def test_pruning_follows_the_instruction_sets():
    blocks = {
        name: TvmTarget().formats(device_files()[name].device("tvm")).block for name in ("raspberry-pi-4", "x86-64-v3")
    }
    assert blocks == {"raspberry-pi-4": (4, 4), "x86-64-v3": (16, 4)}


def test_only_the_runtime_is_taken_from_a_package(tmp_path: Path):
    with ZipFile(tmp_path / "p.whl", "w") as wheel:
        wheel.writestr("tvm/lib/libtvm_runtime.so", "r")
        wheel.writestr("tvm/lib/libtvm_compiler.so", "c")
        wheel.writestr("../libtvm_ffi.so", "f")
    target = tmp_path / "target"
    target.mkdir()
    fetch._take(tmp_path / "p.whl", target)
    assert sorted(path.name for path in tmp_path.rglob("*.so")) == ["libtvm_ffi.so", "libtvm_runtime.so"]
    assert {path.parent for path in tmp_path.rglob("*.so")} == {target}


def test_unknown_processors_are_refused():
    with pytest.raises(UsageError) as caught:
        fetch.fetch("../../etc")
    assert caught.value.code == "unknown-processor"


@pytest.mark.toolchain
def test_the_example_program_equals_the_reference(small: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The C++ program of the bundle, run on this machine: what an emulator runs elsewhere."""
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    processor = platform.machine()
    runtime = tmp_path / "tvm-runtime" / processor
    runtime.mkdir(parents=True)
    for package, name in (("tvm", "libtvm_runtime.so"), ("tvm_ffi", "libtvm_ffi.so")):
        origin = str(find_spec(package).origin)
        (runtime / name).symlink_to(Path(origin).parent / "lib" / name)
    monkeypatch.setenv("PRUNUS_CACHE", str(tmp_path))
    here = Platform(compiler="g++", triple=f"{processor}-linux-gnu", emulator=str(wrapper(tmp_path)))
    entries = [emulate.Entry(name, tuple(names)) for name, names in small.artifact.manifest["entries"].items()]
    found = emulate.run_emulated(small.artifact.root / "model.so", here, small.graph, small.feeds, entries)
    assert set(small.graph.integer_tensors()) <= set(found)
    assert differing(small.graph, found, small.expected) == []


def wrapper(folder: Path) -> Path:
    """Takes an emulator's options, runs the program itself."""
    script = folder / "emulator"
    script.write_text('#!/bin/sh\nexport "$4"\nshift 4\nexec "$@"\n')
    script.chmod(0o755)
    return script
