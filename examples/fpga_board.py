"""An FPGA board: compiles the digits MLP for a PYNQ-Z2 and says where the Vitis HLS project lies.

    python examples/fpga_board.py [OUT]

Needs the extra `fpga` and g++, no vendor tool. On a machine with Vitis HLS, run OUT/artifact/build.sh.
"""

from __future__ import annotations

import sys
from pathlib import Path

from prunus.compiler import Options, Request, compile

HERE = Path(__file__).resolve().parent


def main(out: Path) -> None:
    request = Request(
        model=HERE / "digits" / "mlp.onnx",
        target="pynq-z2",
        out=out,
        data=HERE / "digits" / "digits_flat.npz",
        verify_samples=100,
        options=Options(max_drop=0.02),
    )
    report = compile(request).report
    assert report.accuracy and report.fidelity
    print(f"top-1 {report.accuracy.before:.4f} -> {report.accuracy.after:.4f} on {report.accuracy.samples} images")
    print(f"C simulation equals the integer reference: {report.fidelity.exact_fraction:.2%} of the elements")
    for row in report.estimate:
        print(f"{row.name:>16} {row.value:12.6g} {row.unit:8} [{row.low:.3g}, {row.high:.3g}] {row.basis}")
    print(f"HLS project: {out / 'artifact'}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/fpga"))
