"""Scores of outputs against labels: top-1, or the user's own function, guarded against what such a function may do.

A metric given by name (`package.module:function`) runs in a process of its own, which can be ended: one that hangs
becomes an error after a while, and one that crashes takes nothing down with it.
"""

from __future__ import annotations

import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import LimitError, PrunusError, UsageError

Array = npt.NDArray[Any]
Metric = Callable[[Array, Array], float]  # (outputs [n, ...], labels [n]) -> score, higher is better


def top1(outputs: Array, labels: Array) -> float:
    """Share of samples whose largest output is the label. outputs: [n, classes]; labels: [n]."""
    return float(np.mean(outputs.reshape(len(outputs), -1).argmax(axis=1) == labels.reshape(-1)))


def score(metric: Metric, outputs: Array, labels: Array) -> float:
    """What the metric says.

    Raises:
        UsageError: it raises or gives no number (code `metric-failed`), or one that is not finite
            (`metric-not-finite`).
        LimitError: it takes too long (`metric-timeout`).
    """
    try:
        value = _number(metric(outputs, labels))
    except PrunusError:
        raise
    except Exception as error:  # the user's own function may raise anything
        raise _failed(f"{type(error).__name__}: {error}", _place(error)) from error
    if not np.isfinite(value):
        raise UsageError(
            "The metric gives no finite number.",
            code="metric-not-finite",
            why=f"It gives {value} on {len(outputs)} samples.",
            hint="Let it return one finite number, larger for better outputs.",
        )
    return value


def r2(reference: Array, outputs: Array) -> float:
    """Coefficient of determination: one minus the squared error relative to the spread of the reference."""
    spread = np.square(reference - reference.mean(), dtype=np.float64).sum()
    error = np.square(np.subtract(outputs, reference, dtype=np.float64)).sum()
    return float(1 - error / max(spread, np.finfo(np.float64).tiny))


@dataclass(frozen=True, eq=False)
class Judge:
    """How outputs on some samples are scored; `reference` are the original model's.

    `name`: the user's metric's own, `top1` with labels, else `agreement` of the decisions with the original's, or `r2`
    for outputs that are no classes.
    """

    reference: Array
    labels: Array | None = None
    metric: Metric | None = None

    @property
    def name(self) -> str:
        if self.metric is not None:
            return str(getattr(self.metric, "__name__", "custom"))
        if self.labels is not None:
            return "top1"
        return "agreement" if self.reference.ndim == 2 and self.reference.shape[1] > 1 else "r2"

    def __call__(self, outputs: Array) -> float:
        """The score, larger is better. Raises what `score` raises."""
        if self.metric is None and self.labels is None and self.name == "r2":
            return r2(self.reference, outputs)
        decisions = self.reference.reshape(len(self.reference), -1).argmax(axis=1)
        if self.metric is None:
            return top1(outputs, decisions if self.labels is None else self.labels)
        return score(self.metric, outputs, np.zeros(len(outputs)) if self.labels is None else self.labels)


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"It gives {value!r:.60}, not a number.") from None


def _place(error: Exception) -> str:
    """The last line of the user's code that an error passed."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    return f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""


def _failed(why: str, where: str = "") -> UsageError:
    return UsageError(
        "The metric failed.",
        code="metric-failed",
        where=where or None,
        why=why[:300],
        hint="It is called with the outputs [n, ...] and the labels [n], and returns a number.",
    )


class IsolatedMetric:
    """A metric by name, imported and called in a child process that lives as long as this object.

    Raises:
        UsageError: there is no such function (code `bad-function`).
        LimitError: importing it takes longer than `timeout_s` (`metric-timeout`).
    """

    def __init__(self, spec: str, timeout_s: float) -> None:
        self.__name__ = spec.rpartition(":")[2]
        self._spec, self.timeout_s = spec, timeout_s
        folder = tempfile.TemporaryDirectory(prefix="prunus-metric-")
        self._folder = Path(folder.name)
        self._child = subprocess.Popen(
            [sys.executable, "-m", __name__, spec, folder.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *filter(None, sys.path)])},
            start_new_session=True,
        )
        self._end = weakref.finalize(self, _end, self._child, folder)
        self._answer()  # it is imported

    def __call__(self, outputs: Array, labels: Array) -> float:
        assert self._child.stdin is not None
        np.save(self._folder / "outputs.npy", outputs, allow_pickle=False)
        np.save(self._folder / "labels.npy", labels, allow_pickle=False)
        try:
            self._child.stdin.write(b"score\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            pass  # its end is noticed when no answer comes
        return float(self._answer())

    def _answer(self) -> Any:
        """The child's answer to the last request, in time."""
        assert self._child.stdout is not None
        if not select.select([self._child.stdout], [], [], self.timeout_s)[0]:
            self._end()
            raise LimitError(
                "The metric takes too long.",
                code="metric-timeout",
                where=self._spec,
                why=f"No answer after {self.timeout_s:g} s; it was stopped.",
                hint="Allow it more time with --metric-timeout SECONDS, or let it do less.",
            )
        line = self._child.stdout.readline()
        if not line:
            code = self._child.wait()
            how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit status {code}"
            raise _failed(f"Its process ended with {how}.", self._spec)
        answer = json.loads(line)
        if answer["error"] == "import":
            raise UsageError(
                f"The function '{self._spec[:80]}' of --metric cannot be imported.",
                code="bad-function",
                why=answer["why"],
                hint="Give --metric package.module:function; the module must be here or on PYTHONPATH.",
            )
        if answer["error"]:
            raise _failed(answer["why"], answer["where"])
        return answer["value"]


def _end(child: subprocess.Popen[bytes], folder: tempfile.TemporaryDirectory[str]) -> None:
    """Ends the child with everything that it started."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    for stream in (child.stdin, child.stdout):
        if stream is not None and not stream.closed:
            stream.close()
    folder.cleanup()


def _serve(spec: str, folder: Path) -> None:
    """The child: imports the function, then calls it for every line on standard input; answers are lines of JSON."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the function prints must not look like an answer

    def answer(kind: str = "", error: Exception | None = None, value: float = 0.0) -> None:
        told = {"value": value, "error": kind}
        if error is not None:
            told |= {"why": f"{type(error).__name__}: {error}"[:300], "where": _place(error)}
        answers.write(json.dumps(told).encode() + b"\n")
        answers.flush()

    module, _, name = spec.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
        if not callable(function):
            raise TypeError("It is not a function.")
    except Exception as error:  # noqa: BLE001 (the user's module may raise anything)
        answer("import", error)
        return
    answer()
    for _line in sys.stdin:
        try:
            answer(value=_number(function(*(np.load(folder / f"{part}.npy") for part in ("outputs", "labels")))))
        except Exception as error:  # noqa: BLE001 (so may the function)
            answer("call", error)


if __name__ == "__main__":
    _serve(sys.argv[1], Path(sys.argv[2]))
