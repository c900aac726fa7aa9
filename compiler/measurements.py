"""`prunus bench kernels` and `prunus bench models`: the measurements of tests/bench, in a process of their own.

They need the source tree, since they bring networks, other engines' adapters and a C file that nobody deploys.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import ToolError, UsageError

SCRIPTS = Path(__file__).resolve().parents[1] / "tests" / "bench"
WRONG_OPTION = 2  # the exit status of argparse
MEASUREMENTS: Mapping[str, str] = {"kernels": "--set", "models": "--network"}  # name -> the option that selects


def measure(
    name: str, only: Sequence[str], rounds: int, threads: int, as_json: bool, words: Sequence[str] = ()
) -> Any | None:
    """Runs the measurement, which prints as it goes; with `as_json` it prints nothing and its result is returned.

    `words` are further words of its command line.

    Raises UsageError for threads that the measurement does not know, ToolError where it is missing or fails.
    """
    script = SCRIPTS / f"{name}.py"
    if not script.is_file():
        raise ToolError(
            f"The measurement '{name}' is not installed.",
            code="missing-measurement",
            where=str(script),
            why="It belongs to the source tree, not to the package.",
            hint="Get the sources and run `pip install -e .` there, or `make bench`.",
        )
    if name == "kernels" and threads != 1:
        raise UsageError(
            "Kernels are measured on one thread.", code="one-thread", hint="prunus bench models --threads 2"
        )
    command = [sys.executable, str(script), *words, "--rounds", str(rounds)]
    command += [word for each in only for word in (MEASUREMENTS[name], each)]
    command += ["--threads", str(threads)] if name == "models" else []
    with tempfile.TemporaryDirectory(prefix="prunus-bench-") as folder:
        result = Path(folder) / "result.json"
        if as_json:
            command += ["--out", str(result)]
        done = subprocess.run(command, stdout=subprocess.PIPE if as_json else None, stderr=None, check=False)
        if done.returncode == WRONG_OPTION:
            raise UsageError(
                f"The measurement '{name}' does not know what it was asked for.",
                code="bench-option",
                why="Its own message stands above.",
            )
        if done.returncode:
            raise ToolError(
                f"The measurement '{name}' failed.",
                code="measurement-failed",
                where=str(script),
                why=f"It ended with status {done.returncode}; its own message stands above.",
            )
        return json.loads(result.read_text(encoding="utf-8")) if as_json else None
