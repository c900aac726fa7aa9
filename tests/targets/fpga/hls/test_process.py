"""Tools that fail, hang or are missing."""

from __future__ import annotations

import importlib.util
import os
import shutil
import time
from pathlib import Path

import graphs
import pytest

from prunus.compiler.errors import LimitError, ToolError
from prunus.targets.catalog import resolve
from prunus.targets.fpga.hls import HlsTarget, csim, process

_, DEVICE = resolve("pynq-z2")


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def test_a_time_out_ends_the_whole_process_group(tmp_path: Path) -> None:
    script = "sleep 600 & echo $! > child.pid; wait"
    with pytest.raises(LimitError, match="took longer than 1 s") as caught:
        process.run(["/bin/sh", "-c", script], tmp_path, what="Sleeping", code="x", timeout_s=1)
    assert caught.value.code == "time-out"
    child = int((tmp_path / "child.pid").read_text())
    for _ in range(100):
        if not alive(child):
            break
        time.sleep(0.05)
    assert not alive(child)


def test_a_failure_quotes_the_tail_of_the_log(tmp_path: Path) -> None:
    script = "i=0; while [ $i -lt 900 ]; do echo line $i; i=$((i+1)); done; echo last words >&2; exit 3"
    with pytest.raises(ToolError) as caught:
        process.run(["/bin/sh", "-c", script], tmp_path, what="Talking", code="talk", timeout_s=60)
    assert caught.value.code == "talk"
    why = caught.value.why or ""
    assert "status 3" in why and why.endswith("last words") and len(why) < 2100


def test_an_abort_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="Aborting failed") as caught:
        process.run(["/bin/sh", "-c", "kill -6 $$"], tmp_path, what="Aborting", code="abort", timeout_s=60)
    assert "Signal 6" in (caught.value.why or "")


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
