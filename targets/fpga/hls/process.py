"""Runs a tool in a process group of its own, with a time-out and a memory limit, and keeps what it printed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ....compiler.errors import LimitError, ToolError

MEMORY_BYTES = 8 << 30
_TAIL = 2000  # characters of a log that an error quotes


def _limit() -> None:
    """Runs in the child: bounds its memory, within what it was given itself, and leaves no core file."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    memory = MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(argv: Sequence[str], folder: Path, *, what: str, code: str, timeout_s: float) -> str:
    """Runs `argv` in `folder` and returns its output.

    Raises ToolError(code) with the tail of the log when it fails, LimitError("time-out") when it takes too long.
    """
    with tempfile.TemporaryFile() as log:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        process = subprocess.Popen(
            list(argv),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_limit,
        )
        try:
            status = process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired as expired:
            raise LimitError(
                f"{what} took longer than {timeout_s:g} s.",
                code="time-out",
                where=Path(argv[0]).name,
                hint="Allow more time, or compile a smaller model.",
            ) from expired
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        log.seek(0)
        text = log.read().decode("utf-8", "replace")
    if status != 0:
        ended = f"It ended with status {status}" if status > 0 else f"Signal {-status} ended it"
        raise ToolError(
            f"{what} failed.", code=code, where=Path(argv[0]).name, why=f"{ended}:\n{text[-_TAIL:].strip()}"
        )
    return text


def worker(arguments: Sequence[str], folder: Path, *, what: str, code: str, timeout_s: float) -> str:
    """Runs this package's worker module; `-P` keeps `folder` off the import path."""
    module = f"{__package__}.worker"
    return run([sys.executable, "-P", "-m", module, *arguments], folder, what=what, code=code, timeout_s=timeout_s)
