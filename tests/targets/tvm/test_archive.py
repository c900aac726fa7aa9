"""Where the kernels that are linked into a library come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from prunus.targets.catalog import resolve
from prunus.targets.tvm import archive
from prunus.targets.tvm.platform import platform_of


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PRUNUS_CACHE", str(tmp_path))
    return tmp_path


def test_this_machine_takes_the_kernels_that_were_installed(empty_cache: Path) -> None:
    """Nothing is compiled: no compiler of that name exists."""
    found = archive.archives("no-compiler", "1", platform_of(resolve("host-cpu")[1]))
    assert [path.name for path in found] == list(archive.ARCHIVES)
    assert not list(empty_cache.iterdir())


@pytest.mark.parametrize("device", ["x86-64-v3", "raspberry-pi-5"])
def test_other_machines_get_kernels_of_their_own(
    device: str, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Path] = []
    monkeypatch.setattr(archive, "_build", lambda _sources, _compiler, _platform, folder: built.append(folder))
    platform = platform_of(resolve(f"tvm:{device}")[1])
    assert archive.archives("g++", "1", platform)[0].parent == built[0]
    assert built[0].is_relative_to(empty_cache)
    archive.archives("g++", "2", platform)
    assert built[1] != built[0]  # another compiler, another entry
