"""C simulation against the integer reference over more than 1,000 inputs: the jet tagging MLP and the digits CNN.

    python tests/bench/fpga_exactness.py [--device pynq-z2]

The jet network comes from the folder of real models; it has no public inputs of that size, so standard normal ones
(its inputs are standardised) are drawn. The digits are the test images and their copies moved by one pixel.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from prunus.compiler import Data, Options, ReportData, Request, compile, load

ROOT = Path(__file__).resolve().parents[2]
DIGITS = ROOT / "examples" / "digits"
SAMPLES = 1080


def digits() -> tuple[Path, np.ndarray]:
    """The CNN and 1,080 images."""
    with np.load(DIGITS / "digits.npz") as arrays:
        images = arrays["x"]
    return DIGITS / "cnn.onnx", np.concatenate([images, np.roll(images, 1, axis=3)])


def jet() -> tuple[Path, np.ndarray]:
    """The MLP and 1,080 standard normal inputs."""
    folder = Path(os.environ.get("PRUNUS_MODELS", ROOT.parent / "shared" / "models"))
    return folder / "jet_mlp3_fp32.onnx", np.random.default_rng(0).standard_normal((SAMPLES, 16)).astype(np.float32)


CASES = {"jet MLP": (jet, 0.0), "digits CNN": (digits, 0.0), "digits CNN, 40 % pruned": (digits, 0.4)}


def run(name: str, device: str, out: Path) -> ReportData:
    source, sparsity = CASES[name]
    path, x = source()
    key = str(load(path).graph.inputs[0].name)
    calibration, scoring = Data({key: x[::4]}), Data({key: x})
    request = Request(
        model=path,
        target=device,
        out=out,
        data=scoring,
        calibration=calibration,
        options=Options(sparsity=sparsity),
        verify_samples=SAMPLES,
    )
    return compile(request).report


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="pynq-z2")
    device = parser.parse_args().device
    exact = True
    for name in CASES:
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            fidelity = run(name, device, Path(folder) / "out").fidelity
        assert fidelity
        exact = exact and fidelity.exact_fraction == 1.0
        print(
            f"{name:<24} {device}  {SAMPLES} inputs  csim = reference on {fidelity.exact_fraction:.4%} of"
            f" {fidelity.compared_elements:,} integer elements  SQNR {fidelity.sqnr_db:.1f} dB"
            f"  {time.perf_counter() - start:.0f} s",
            flush=True,
        )
    return 0 if exact else 1


if __name__ == "__main__":
    sys.exit(main())
