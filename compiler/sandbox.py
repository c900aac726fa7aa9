"""Runs the command line in a child process with hard limits, for models that nobody vouches for."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys

from .errors import LimitError

_MARK = "PRUNUS_CONTAINED"
MEMORY_BYTES = 8 * 2**30
FILE_BYTES = 4 * 2**30
SECONDS = 1800


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES, FILE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def contained(seconds: float = SECONDS) -> bool:
    """False inside the child; in the parent, runs the same command line in the child and exits with its code.

    The child has its own process group and is ended as a whole when it takes longer than `seconds`. Raises
    LimitError on a time-out or when the child was killed by a limit.
    """
    if os.environ.get(_MARK):
        return False
    command = [sys.executable, "-m", "prunus.compiler.cli", *sys.argv[1:]]
    environment = {**os.environ, _MARK: "1"}
    child = subprocess.Popen(command, env=environment, start_new_session=True, preexec_fn=_limit)
    try:
        code = child.wait(timeout=seconds)
    except (subprocess.TimeoutExpired, KeyboardInterrupt) as error:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        if isinstance(error, KeyboardInterrupt):
            raise
        raise LimitError("The compilation took too long.", code="timeout", why=f"Limit: {seconds:.0f} s.") from error
    if code < 0:
        raise LimitError(
            "The compilation was stopped by a limit.",
            code="killed",
            why=f"Signal {signal.Signals(-code).name}; limits: {MEMORY_BYTES >> 30} GiB of memory.",
            hint="A trusted model can be compiled without --untrusted.",
        )
    raise SystemExit(code)
