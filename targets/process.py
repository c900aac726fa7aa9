"""External programs: argument lists, a time limit, a process group of their own that ends with them."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from ..compiler.errors import LimitError, ToolError

MEMORY_BYTES = 8 << 30
_TAIL = 2000  # characters of a log that an error quotes
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PR_SET_PDEATHSIG = 1  # prctl(2)


def _limit(memory_bytes: int | None) -> None:
    """Runs in the child: bounds its address space, within what it was given itself, and leaves no core file.

    On Linux it ends with this process even where that is killed: a router left alone would go on for an hour.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_bytes is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        memory = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def run(
    argv: Sequence[str],
    *,
    what: str,
    cwd: Path,
    timeout_s: float,
    code: str = "tool-failed",
    env: Mapping[str, str] | None = None,
    memory_bytes: int | None = MEMORY_BYTES,
) -> str:
    """Runs a program in `cwd` and returns what it printed on both streams; `env` adds to the environment.

    `memory_bytes` bounds its address space; None for WebAssembly runtimes, which reserve far more than they use.

    Raises ToolError("tool-missing") when it cannot start, ToolError(code) with the tail of the log when it fails, and
    LimitError("time-out") when it takes too long; the whole process group ends with it.
    """
    with tempfile.TemporaryFile() as log:
        try:
            process = subprocess.Popen(
                list(argv),
                cwd=cwd,
                env={**os.environ, "LC_ALL": "C", "OMP_NUM_THREADS": "1", **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(_limit, memory_bytes),
            )
        except OSError as error:
            raise ToolError(
                f"{what} could not be started.",
                code="tool-missing",
                where=str(argv[0]),
                why=error.strerror or str(error),
            ) from error
        status = _wait(process, what, argv[0], timeout_s)
        log.seek(0)
        text = log.read().decode("utf-8", "replace")
    if status != 0:
        ended = f"It ended with status {status}" if status > 0 else f"Signal {-status} ended it"
        raise ToolError(f"{what} failed.", code=code, where=Path(argv[0]).name, why=f"{ended}: {text[-_TAIL:].strip()}")
    return text


def _wait(process: subprocess.Popen[bytes], what: str, program: str, timeout_s: float) -> int:
    """The exit status; kills what is left of the group after a time-out or an interrupt."""
    try:
        return process.wait(timeout=timeout_s)
    except subprocess.TimeoutExpired as expired:
        raise LimitError(
            f"{what} took longer than {timeout_s:g} s.",
            code="time-out",
            where=Path(program).name,
            hint="Try a smaller model or fewer samples.",
        ) from expired
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
