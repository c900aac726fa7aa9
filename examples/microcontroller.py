"""A microcontroller: the digits CNN as C for a Cortex-M4, without allocation or floating point, run in an emulator.

    python examples/microcontroller.py [OUT]

Needs gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm to run it; without them the C code is written all
the same. OUT/artifact/README.md shows how to call it from a program.
"""

from __future__ import annotations

import sys
from pathlib import Path

from prunus.compiler import Options, Request, compile

HERE = Path(__file__).resolve().parent


def main(out: Path) -> None:
    request = Request(
        model=HERE / "digits" / "cnn.onnx",
        target="cortex-m4",
        out=out,
        data=HERE / "digits" / "digits.npz",
        calibration=HERE / "digits" / "calibration.npz",
        options=Options(sparsity=0.5, max_drop=0.02),
        verify_samples=4,
    )
    report = compile(request).report
    assert report.accuracy and report.fidelity
    print(f"top-1 {report.accuracy.before:.4f} -> {report.accuracy.after:.4f} on {report.accuracy.samples} images")
    if report.fidelity.exact_fraction is None:
        print(report.notes[-1])
    else:
        print(
            f"equals the integer reference in {report.fidelity.exact_fraction:.2%} of the elements, on the core's board"
        )
    for row in report.estimate:
        print(f"{row.name:15} {row.value:12,.6g} {row.unit:7} [{row.low:,.6g}, {row.high:,.6g}] {row.basis}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/microcontroller"))
