"""The pool of threads under the thread sanitizer."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

KERNELS = Path(__file__).parents[2] / "kernels"
pytestmark = [
    pytest.mark.toolchain,
    pytest.mark.skipif(not KERNELS.is_dir(), reason="the sources of the kernels are not beside the tests"),
]


def test_every_task_runs_once_without_races(tmp_path: Path) -> None:
    compiler = shutil.which("g++") or pytest.skip("g++ is not installed")
    program = tmp_path / "pool_check"
    sources = [Path(__file__).parent / "native" / "pool_check.cc", KERNELS / "src" / "network" / "pool.cc"]
    flags = ["-std=c++20", "-O1", "-g", "-fsanitize=thread", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    folders = ["-I", KERNELS / "include", "-I", KERNELS / "src"]
    subprocess.run([compiler, *flags, *folders, *sources, "-o", program, "-pthread"], check=True, timeout=300)
    done = subprocess.run([program], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "every task ran once\n", "")
