"""Runs a bundle in a worker process: a crash, a hang or a leak of the library stays there."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..process import run

Array = npt.NDArray[Any]
WORKER = Path(__file__).parent / "runtime" / "worker.py"
RUN_TIMEOUT_S = 600.0
BATCH = 32  # samples per call: bounds the memory of a trace

# one thread, and no import of torch by the FFI package
ENVIRONMENT = {"TVM_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "TVM_FFI_DISABLE_TORCH_C_DLPACK": "1"}


@dataclass(frozen=True)
class Run:
    """One entry function and the tensor names of its results, in order."""

    entry: str
    names: tuple[str, ...]


def run_bundle(
    bundle: Path,
    inputs: Sequence[Array],
    runs: Sequence[Run],
    *,
    time_budget_s: float = 0.0,
    timeout_s: float = RUN_TIMEOUT_S,
) -> dict[str, Array]:
    """Runs entries of a bundle on all samples; a later entry's result replaces an earlier one of the same name.

    With a time budget, `seconds` holds timings of `main` on the first sample. Raises ToolError, LimitError.
    """
    with tempfile.TemporaryDirectory(prefix="prunus-tvm-") as name:
        folder = Path(name)
        job: Mapping[str, Any] = {
            "bundle": str(bundle.absolute()),
            "inputs": str(folder / "inputs.npz"),
            "outputs": str(folder / "outputs.npz"),
            "runs": [{"entry": item.entry, "names": item.names} for item in runs],
            "batch": BATCH,
            "time_budget_s": time_budget_s,
        }
        np.savez(job["inputs"], *inputs)
        (folder / "job.json").write_text(json.dumps(job))
        argv = [sys.executable, str(WORKER), str(folder / "job.json")]
        run(argv, what="Running the TVM library", cwd=folder, timeout_s=timeout_s, env=ENVIRONMENT)
        with np.load(job["outputs"]) as stored:
            return {key: stored[key] for key in stored.files}
