"""Runs a bundle in a worker process: a crash, a hang or a leak of the library stays there."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from ..process import run

Array = npt.NDArray[Any]
WORKER = Path(__file__).parent / "runtime" / "worker.py"
RUN_TIMEOUT_S = 600.0
BATCH = 16  # samples per call: bounds the memory of a trace


def run_bundle(
    bundle: Path,
    inputs: Mapping[str, Array],
    *,
    trace: onnx.ModelProto | None = None,
    time_budget_s: float = 0.0,
    timeout_s: float = RUN_TIMEOUT_S,
) -> dict[str, Array]:
    """The outputs of `trace`, if given, and of the bundle's model, on all samples, through the bundle's own loader.

    With a time budget, `seconds` holds timings of the bundle's model on the first sample. Raises ToolError, LimitError.
    """
    with tempfile.TemporaryDirectory(prefix="prunus-ort-") as name:
        folder = Path(name)
        models = [str(bundle.absolute() / "model.onnx")]
        if trace is not None:
            onnx.save(trace, folder / "trace.onnx")
            models.insert(0, str(folder / "trace.onnx"))
        job = {
            "bundle": str(bundle.absolute()),
            "models": models,
            "inputs": str(folder / "inputs.npz"),
            "outputs": str(folder / "outputs.npz"),
            "batch": BATCH,
            "time_budget_s": time_budget_s,
        }
        np.savez(folder / "inputs.npz", allow_pickle=False, **inputs)
        (folder / "job.json").write_text(json.dumps(job))
        argv = [sys.executable, str(WORKER), str(folder / "job.json")]
        run(argv, what="Running the model in onnxruntime", cwd=folder, timeout_s=timeout_s)
        with np.load(folder / "outputs.npz") as stored:
            return {key: stored[key] for key in stored.files}
