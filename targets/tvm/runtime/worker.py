"""Runs an exported model in a process of its own: `worker.py JOB`, with JOB a JSON file.

JOB: {bundle, inputs, outputs, runs: [{entry, names}], batch, time_budget_s}. `inputs` and `outputs` are .npz files;
`inputs` holds one array per graph input, in order. Every entry is run on all samples, `batch` at a time, and its
results are stored under `names`. With a time budget, `main` is timed on the first sample: `seconds` of each run.
The bundle's own loader is used, so that what is verified is what is shipped. Needs numpy and the TVM runtime only.
"""

import json
import runpy
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Function = Callable[..., list[Array]]

WARM_UP_RUNS = 3
MIN_RUNS, MAX_RUNS = 7, 1000


def run_batches(function: Function, inputs: Sequence[Array], batch: int) -> list[Array]:
    """All results over the samples, concatenated."""
    count = len(inputs[0])
    pieces = [function(*(array[i : i + batch] for array in inputs)) for i in range(0, count, batch)]
    return [np.concatenate(parts) for parts in zip(*pieces, strict=True)]


def time_sample(function: Function, inputs: Sequence[Array], budget_s: float) -> Array:
    """Seconds of every run on the first sample: after a warm-up, as many as the budget allows within the bounds."""
    sample = [array[:1] for array in inputs]
    for _ in range(WARM_UP_RUNS):
        function(*sample)
    seconds: list[float] = []
    while len(seconds) < MIN_RUNS or (len(seconds) < MAX_RUNS and sum(seconds) < budget_s):
        start = time.perf_counter()
        function(*sample)
        seconds.append(time.perf_counter() - start)
    return np.asarray(seconds)


def main(path: str) -> None:
    """Carries out one job."""
    job = json.loads(Path(path).read_text())
    load = runpy.run_path(str(Path(job["bundle"], "run.py")))["load"]
    with np.load(job["inputs"]) as stored:
        inputs = [stored[name] for name in stored.files]
    results: dict[str, Array] = {}
    for item in job["runs"]:
        found = run_batches(load(job["bundle"], item["entry"]), inputs, job["batch"])
        results |= dict(zip(item["names"], found, strict=True))
    if job["time_budget_s"] > 0:
        results["seconds"] = time_sample(load(job["bundle"]), inputs, job["time_budget_s"])
    np.savez(job["outputs"], allow_pickle=False, **results)


if __name__ == "__main__":
    main(sys.argv[1])
