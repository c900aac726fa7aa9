"""Runs a bundle in a process of its own: `worker.py JOB`, with JOB a JSON file.

JOB: {bundle, models, inputs, outputs, batch, time_budget_s}. `inputs` and `outputs` are .npz files; `inputs` holds one
array per graph input, by name. Every model is run on all samples, `batch` at a time; a later one's result replaces an
earlier one's of the same name. With a time budget, the last model is timed on the first sample: `seconds` of each run.
The bundle's own loader is used, so that what is verified is what is shipped. Needs numpy and onnxruntime only.
"""

import json
import runpy
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

WARM_UP_RUNS = 3
MIN_RUNS, MAX_RUNS = 7, 1000


def run_batches(session: Any, inputs: Mapping[str, Array], batch: int) -> dict[str, Array]:
    """All outputs over the samples, concatenated, by name."""
    count = len(next(iter(inputs.values())))
    names = [value.name for value in session.get_outputs()]
    starts = range(0, count, batch)
    pieces = [session.run(names, {key: x[start : start + batch] for key, x in inputs.items()}) for start in starts]
    return {name: np.concatenate(parts) for name, parts in zip(names, zip(*pieces, strict=True), strict=True)}


def time_sample(session: Any, inputs: Mapping[str, Array], budget_s: float) -> Array:
    """Seconds of every run on the first sample: after a warm-up, as many as the budget allows within the bounds."""
    sample = {name: x[:1] for name, x in inputs.items()}
    for _ in range(WARM_UP_RUNS):
        session.run(None, sample)
    seconds: list[float] = []
    while len(seconds) < MIN_RUNS or (len(seconds) < MAX_RUNS and sum(seconds) < budget_s):
        start = time.perf_counter()
        session.run(None, sample)
        seconds.append(time.perf_counter() - start)
    return np.asarray(seconds)


def main(path: str) -> None:
    """Carries out one job."""
    job = json.loads(Path(path).read_text())
    load = runpy.run_path(str(Path(job["bundle"], "loader.py")))["load"]
    with np.load(job["inputs"]) as stored:
        inputs = {name: stored[name] for name in stored.files}
    results: dict[str, Array] = {}
    for model in job["models"]:
        results |= run_batches(load(model), inputs, job["batch"])
    if job["time_budget_s"] > 0:
        results["seconds"] = time_sample(load(job["models"][-1]), inputs, job["time_budget_s"])
    np.savez(job["outputs"], allow_pickle=False, **results)


if __name__ == "__main__":
    main(sys.argv[1])
