"""Timing of a compiled artefact beside onnxruntime, on the same sample in one run; for people, never for tests."""

from __future__ import annotations

import json
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np

from .errors import UnsupportedError, UsageError
from .executor import Session
from .integer.from_qdq import read_qdq
from .model.load import load
from .output import MANIFEST
from .registry import resolve
from .target import Artifact, Measures

REPEATS = 25


def _onnxruntime_ms(session: Session, feeds: dict[str, Any]) -> tuple[float, float, float]:
    """(median, minimum, maximum) wall time of one inference in milliseconds, after one to warm up."""
    session.run(feeds)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        session.run(feeds)
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times), min(times), max(times)


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if os.name == "posix" else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown CPU"


def bench_artifact(folder: Path) -> list[dict[str, Any]]:
    """Rows {what, median_ms, min_ms, max_ms, ratio, on}; the ratio is onnxruntime's median over the row's.

    Both run the same int8 network on one seeded sample with one thread. Raises UsageError when `folder` is not the
    result of a compilation, UnsupportedError when its artefact cannot be timed here.
    """
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            "This folder holds no finished compilation.",
            code="no-report",
            where=str(folder),
            hint="Give a folder that `prunus compile` wrote.",
        ) from error
    target, device = resolve(f"{report['target']['backend']}:{report['device']['name']}")
    if not isinstance(target, Measures):
        raise UnsupportedError(
            f"An artefact for {device.name} cannot be timed on this machine.",
            code="not-measurable",
            hint="Its report states the modelled cost.",
        )
    model = load(folder / "model.onnx")
    graph = read_qdq(model, target.formats(device))
    rng = np.random.default_rng(0)
    feeds = {
        name: rng.standard_normal((1, *graph.tensors[name].shape)).astype(graph.tensors[name].dtype)
        for name in graph.inputs
    }
    artifact = Artifact(folder / "artifact", tuple(manifest["artifact"]["files"]), manifest["artifact"])
    latency = target.measure(artifact, graph, feeds)["latency_s"]
    ours = (latency.value * 1e3, latency.low * 1e3, latency.high * 1e3)
    theirs = _onnxruntime_ms(Session(model, threads=1), feeds)
    return [
        {
            "what": what,
            "median_ms": round(times[0], 4),
            "min_ms": round(times[1], 4),
            "max_ms": round(times[2], 4),
            "ratio": round(theirs[0] / times[0], 2),
            "on": f"{_cpu()}, 1 thread, batch 1",
        }
        for what, times in ((f"prunus {target.name}", ours), ("onnxruntime, QDQ", theirs))
    ]
