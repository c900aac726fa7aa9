"""Serving on a CPU: prunes and quantizes the digits CNN, then serves it from onnxruntime with the kernels as operators.

    python examples/serve_onnxruntime.py [OUT]

OUT/artifact is all that a server needs, with onnxruntime and numpy: model.onnx, libprunus_ort.so and loader.py, whose
ten lines open the session. Any program that uses onnxruntime can do the same.
"""

from __future__ import annotations

import runpy
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from prunus.compiler import Options, Request, compile

HERE = Path(__file__).resolve().parent


def build(out: Path) -> None:
    """Compiles the model and says what it became."""
    request = Request(
        model=HERE / "digits" / "cnn.onnx",
        target="ort:host-cpu",
        out=out,
        data=HERE / "digits" / "digits.npz",
        calibration=HERE / "digits" / "calibration.npz",
        options=Options(sparsity=0.5, max_drop=0.02),
        measure_latency=True,
    )
    report = compile(request).report
    assert report.accuracy and report.fidelity
    print(f"top-1 {report.accuracy.before:.4f} -> {report.accuracy.after:.4f} on {report.accuracy.samples} images")
    print(f"session equals the integer reference: {report.fidelity.exact_fraction:.2%} of the elements")
    latency = next(row for row in report.estimate if row.name == "latency_s")
    print(f"latency {latency.value * 1e6:.0f} µs ({latency.basis}; {latency.source})")


def serve(artifact: Path) -> None:
    """Four callers share one session; requests have different batch sizes."""
    session = runpy.run_path(str(artifact / "loader.py"))["load"](threads=1)
    (name,) = (value.name for value in session.get_inputs())
    with np.load(HERE / "digits" / "digits.npz") as data:
        images, labels = data["x"].astype(np.float32), data["y"]
    requests = np.split(np.arange(len(images)), [1, 9, 41, 105])
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda rows: session.run(None, {name: images[rows]})[0].argmax(axis=1), requests))
    right = sum(int((answer == labels[rows]).sum()) for answer, rows in zip(answers, requests, strict=True))
    print(f"served {len(images)} images in {len(requests)} requests: {right / len(images):.2%} right")


if __name__ == "__main__":
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "out/serve")
    build(out)
    serve(out / "artifact")
