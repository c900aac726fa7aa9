"""An edge device: prunes and quantizes the digits CNN, builds a library for this CPU, and runs it like an application.

    python examples/edge_device.py [OUT]

Needs the extra `tvm` and gcc. OUT/artifact/run.py shows the ten lines that an application needs.
"""

from __future__ import annotations

import sys
from pathlib import Path

from prunus.compiler import Options, Request, compile

HERE = Path(__file__).resolve().parent


def main(out: Path) -> None:
    request = Request(
        model=HERE / "digits" / "cnn.onnx",
        target="host-cpu",
        out=out,
        data=HERE / "digits" / "digits.npz",
        calibration=HERE / "digits" / "calibration.npz",
        options=Options(sparsity=0.5, max_drop=0.02),
        measure_latency=True,
    )
    report = compile(request).report
    assert report.accuracy and report.fidelity
    print(f"top-1 {report.accuracy.before:.4f} -> {report.accuracy.after:.4f} on {report.accuracy.samples} images")
    print(f"MACs {report.size.macs_before:,} -> {report.size.macs_after:,}")
    print(f"library equals the integer reference: {report.fidelity.exact_fraction:.2%} of the elements")
    latency = next(row for row in report.estimate if row.name == "latency_s")
    print(f"latency {latency.value * 1e6:.0f} µs ({latency.basis}; {latency.source})")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/edge"))
