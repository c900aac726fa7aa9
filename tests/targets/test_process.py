"""External programs that fail, hang or abort."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prunus.compiler.errors import LimitError, ToolError
from prunus.targets.process import run


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def test_a_time_out_ends_the_whole_process_group(tmp_path: Path) -> None:
    script = "sleep 600 & echo $! > child.pid; wait"
    with pytest.raises(LimitError, match="took longer than 1 s") as caught:
        run(["/bin/sh", "-c", script], what="Sleeping", cwd=tmp_path, timeout_s=1, code="x")
    assert caught.value.code == "time-out"
    child = int((tmp_path / "child.pid").read_text())
    for _ in range(100):
        if not alive(child):
            break
        time.sleep(0.05)
    assert not alive(child)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent ended")
def test_a_program_ends_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    script = (
        "from pathlib import Path; from prunus.targets.process import run; "
        "run(['/bin/sh', '-c', 'echo $$ > child.pid; exec sleep 600'], what='', cwd=Path('.'), timeout_s=600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path)
    pid = tmp_path / "child.pid"
    while not (pid.is_file() and pid.read_text().strip()):
        assert parent.poll() is None
        time.sleep(0.05)
    child = int(pid.read_text())
    assert alive(child)
    parent.kill()
    parent.wait()
    for _ in range(200):
        if not alive(child):
            break
        time.sleep(0.05)
    assert not alive(child)


def test_a_failure_quotes_the_tail_of_the_log(tmp_path: Path) -> None:
    script = "i=0; while [ $i -lt 900 ]; do echo line $i; i=$((i+1)); done; echo last words >&2; exit 3"
    with pytest.raises(ToolError) as caught:
        run(["/bin/sh", "-c", script], what="Talking", cwd=tmp_path, timeout_s=60, code="talk")
    assert caught.value.code == "talk"
    why = caught.value.why or ""
    assert "status 3" in why and why.endswith("last words") and len(why) < 2100


def test_an_abort_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="Aborting failed") as caught:
        run(["/bin/sh", "-c", "kill -6 $$"], what="Aborting", cwd=tmp_path, timeout_s=60, code="abort")
    assert "Signal 6" in (caught.value.why or "")


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="could not be started") as caught:
        run(["/no/such/program"], what="Nothing", cwd=tmp_path, timeout_s=5)
    assert caught.value.code == "tool-missing"
    assert caught.value.where == "/no/such/program"
