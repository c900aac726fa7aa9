"""The five MLPerf Tiny models, unpruned, for host-cpu and npu-16nm: accuracy, exactness and time of each compilation.

    python tests/bench/mlperf_tiny.py [--device DEVICE] [NAME ...]

Models and data come from the folder of real models; tests/support/data_splits.toml says which samples calibrate and
which score. The allowed loss is the larger of one sample and 1 % (autoencoder: 0.01 of AUC).
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS / "support"))

from real_tasks import Task, load_task, task_names

from prunus.compiler import Data, Options, ReportData, Request, compile, load

DEVICES = ("host-cpu", "npu-16nm")


def compile_task(task: Task, device: str, out: Path, verify_samples: int = 16) -> ReportData:
    """Compiles one task's model and scores it with the task's own metric."""
    model = load(task.model)
    request = Request(
        model=task.model,
        target=device,
        out=out,
        data=Data(task.feeds(model)),
        calibration=task.calibration_data(model),
        metric=lambda outputs, _: task.score(outputs),
        options=Options(max_drop=allowed_loss(task)),
        skip=("fit_budget",),  # the bound is for quantization alone
        verify_samples=verify_samples,
    )
    return compile(request).report


def allowed_loss(task: Task) -> float:
    return 0.01 if task.metric == "auc" else max(1 / len(task.labels), 0.01)


def row(task: Task, device: str, report: ReportData, seconds: float) -> str:
    accuracy, fidelity = report.accuracy, report.fidelity
    assert accuracy
    assert fidelity
    return (
        f"{task.name:<13} {device:<9} {task.metric} {accuracy.before:.4f} -> {accuracy.after:.4f}"
        f" on {len(task.labels):>4} (allowed loss {allowed_loss(task):.4f})  logit SQNR {fidelity.sqnr_db:5.1f} dB"
        f"  argmax {fidelity.agreement:.4f}  exact {fidelity.exact_fraction:.4%} of {fidelity.compared_elements:>9,}"
        f"  {seconds:5.1f} s  {'met' if report.verdict.met else 'MISSED: ' + report.verdict.why}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(task_names()))
    parser.add_argument("--device", action="append", choices=DEVICES)
    options = parser.parse_args()
    folder = Path(os.environ.get("PRUNUS_MODELS", TESTS.parent.parent / "shared" / "models"))
    met = True
    for name in options.names:
        task = load_task(name, folder)
        for device in options.device or DEVICES:
            with tempfile.TemporaryDirectory() as scratch:
                start = time.perf_counter()
                report = compile_task(task, device, Path(scratch) / "out")
                print(row(task, device, report, time.perf_counter() - start), flush=True)
            met = met and report.verdict.met
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
