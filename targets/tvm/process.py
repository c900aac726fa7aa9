"""External programs: argument lists, a time limit, a process group of their own that ends with them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...compiler.errors import LimitError, ToolError

_TAIL = 2000  # characters of a failed program's output that an error carries


def run(argv: Sequence[str], *, what: str, cwd: Path, timeout_s: float, env: Mapping[str, str] | None = None) -> str:
    """Runs a program in `cwd` and returns its standard output; `env` adds to the environment.

    Raises ToolError when it is missing or fails, LimitError when it exceeds its time (the whole group is killed).
    """
    try:
        process = subprocess.Popen(
            list(argv),
            cwd=cwd,
            env={**os.environ, "LC_ALL": "C", **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except OSError as error:
        raise ToolError(
            f"{what} could not be started.", code="tool-missing", where=str(argv[0]), why=error.strerror or str(error)
        ) from error
    try:
        stdout, stderr = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired as error:
        raise LimitError(
            f"{what} took longer than {timeout_s:g} s.", code="tool-timeout", hint="Try a smaller model or batch."
        ) from error
    finally:
        _end_group(process)
    if process.returncode != 0:
        raise ToolError(
            f"{what} failed.",
            code="tool-failed",
            why=f"It ended with status {process.returncode}: {(stderr or stdout)[-_TAIL:].strip()}",
        )
    return stdout


def _end_group(process: subprocess.Popen[str]) -> None:
    """Kills what is still running of the program's group, after a time-out or an interrupt."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
