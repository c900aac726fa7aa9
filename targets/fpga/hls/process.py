"""Starts this package's worker: hls4ml and simulations run in processes of their own, since they may abort."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ...process import run


def worker(arguments: Sequence[str], folder: Path, *, what: str, code: str, timeout_s: float) -> str:
    """Runs the worker module in `folder`; `-P` keeps that folder off the import path. Errors as in `process.run`."""
    argv = [sys.executable, "-P", "-m", f"{__package__}.worker", *arguments]
    return run(argv, what=what, cwd=folder, timeout_s=timeout_s, code=code, env={"PYTHONHASHSEED": "0"})
