"""Metrics of the user's own: what they may do without taking the compiler down."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest

from prunus.compiler.errors import LimitError, PrunusError, UsageError
from prunus.compiler.metric import IsolatedMetric, Judge, r2, score, top1

MODULE = """
import os, subprocess, sys, time
import numpy as np

calls = 0

def share(outputs, labels):
    print("this must not look like an answer")
    return (outputs.argmax(axis=1) == labels).mean()

def count(outputs, labels):
    global calls
    calls += 1
    return calls

def hangs(outputs, labels):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    open("pids", "w").write(f"{os.getpid()} {child.pid}")
    time.sleep(600)

def spins(outputs, labels):
    while True:
        np.linalg.svd(np.ones((300, 300)))

def raises(outputs, labels):
    return {}["missing"]

def dies(outputs, labels):
    os.kill(os.getpid(), 11)

def leaves(outputs, labels):
    sys.exit(3)

def nothing(outputs, labels):
    pass

def not_a_number(outputs, labels):
    return float("nan")

no_function = 3
"""
OUTPUTS = np.eye(4, dtype=np.float32)
LABELS = np.array([0, 1, 2, 0])


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mine.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_runs_elsewhere_and_keeps_its_state(module: Path) -> None:
    assert score(IsolatedMetric("mine:share", 60), OUTPUTS, LABELS) == 0.75
    count = IsolatedMetric("mine:count", 60)
    assert [score(count, OUTPUTS, LABELS) for _ in range(3)] == [1, 2, 3]
    assert count.__name__ == "count"


@pytest.mark.parametrize(
    ("name", "code", "where", "why"),
    [
        ("raises", "metric-failed", "mine.py, line 26", "KeyError: 'missing'"),
        ("dies", "metric-failed", "mine:dies", "signal SIGSEGV"),
        ("leaves", "metric-failed", "mine:leaves", "exit status 3"),
        ("nothing", "metric-failed", "", "It gives None, not a number."),
        ("not_a_number", "metric-not-finite", "", "nan on 4 samples"),
    ],
)
def test_failures_are_named(module: Path, name: str, code: str, where: str, why: str) -> None:
    with pytest.raises(UsageError) as caught:
        score(IsolatedMetric(f"mine:{name}", 60), OUTPUTS, LABELS)
    assert caught.value.code == code
    assert where in (caught.value.where or "")
    assert why in (caught.value.why or "")


@pytest.mark.parametrize("spec", ["mine:missing", "mine:no_function", "no_such_module:f", "mine", ""])
def test_what_cannot_be_imported_is_refused_at_once(module: Path, spec: str) -> None:
    with pytest.raises(UsageError) as caught:
        IsolatedMetric(spec, 60)
    assert caught.value.code == "bad-function"


@pytest.mark.parametrize("name", ["hangs", "spins"])
def test_one_that_hangs_is_stopped(module: Path, name: str) -> None:
    metric = IsolatedMetric(f"mine:{name}", 60)
    metric.timeout_s = 2
    start = time.monotonic()
    with pytest.raises(LimitError) as caught:
        score(metric, OUTPUTS, LABELS)
    assert caught.value.code == "metric-timeout" and caught.value.exit_code == 7
    assert time.monotonic() - start < 60
    if name == "hangs":
        for pid in map(int, (module / "pids").read_text().split()):
            while running(pid) and time.monotonic() - start < 60:  # killed, but not yet gone
                time.sleep(0.05)
            assert not running(pid), "the metric, or what it started, still runs"


def running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_its_process_ends_with_it(module: Path) -> None:
    metric = IsolatedMetric("mine:share", 60)
    child, folder = metric._child, metric._folder
    del metric
    assert child.poll() is not None
    assert not folder.exists()


def test_a_function_of_this_process_is_guarded_too() -> None:
    for function, code in (
        (lambda outputs, labels: 1 / 0, "metric-failed"),
        (lambda outputs, labels: "good", "metric-failed"),
        (lambda outputs, labels: float("inf"), "metric-not-finite"),
    ):
        with pytest.raises(PrunusError) as caught:
            score(function, OUTPUTS, LABELS)  # type: ignore[arg-type]
        assert caught.value.code == code


def test_without_a_metric_labels_or_the_original_judge() -> None:
    other = OUTPUTS[[1, 0, 2, 3]]
    assert (Judge(OUTPUTS).name, Judge(OUTPUTS)(OUTPUTS), Judge(OUTPUTS)(other)) == ("agreement", 1.0, 0.5)
    assert (Judge(OUTPUTS, LABELS).name, Judge(OUTPUTS, LABELS)(OUTPUTS)) == ("top1", 0.75)
    signal = np.arange(8.0).reshape(4, 2, 1)
    assert (Judge(signal).name, Judge(signal)(signal)) == ("r2", 1.0)
    assert Judge(signal)(np.full_like(signal, signal.mean())) == pytest.approx(0.0)
    assert r2(signal, signal + 1) == pytest.approx(1 - 8 / np.square(signal - 3.5).sum())
    assert Judge(OUTPUTS, LABELS, top1).name == "top1"
