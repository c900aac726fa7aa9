"""Tools that fail, hang or are missing."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import graphs
import pytest

from prunus.compiler.errors import ToolError
from prunus.targets.catalog import resolve
from prunus.targets.fpga.hls import HlsTarget, csim

_, DEVICE = resolve("pynq-z2")


@pytest.mark.toolchain
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no g++")
def test_sources_that_do_not_compile(tmp_path: Path) -> None:
    (tmp_path / "firmware").mkdir()
    (tmp_path / "firmware" / "top.cpp").write_text("#error broken on purpose\n")
    (tmp_path / "top_bridge.cpp").write_text("")
    with pytest.raises(ToolError) as caught:
        csim.compile_project(tmp_path, tmp_path / "top.so")
    assert caught.value.code == "csim-compile"
    assert "broken on purpose" in (caught.value.why or "")


def test_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError) as caught:
        csim.compile_project(tmp_path, tmp_path / "top.so")
    assert caught.value.code == "missing-compiler"


def test_without_hls4ml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match="hls4ml") as caught:
        HlsTarget().lower(graphs.mlp("pow2")[0], DEVICE, tmp_path)
    assert caught.value.code == "missing-extra"
    assert "prunus[fpga]" in (caught.value.hint or "")
    assert not any(tmp_path.iterdir())
