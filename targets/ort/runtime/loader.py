"""Opens model.onnx in onnxruntime; `python loader.py` runs it on the test vectors and prints the largest error."""

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort

HERE = Path(__file__).resolve().parent


def load(model: str | Path = HERE / "model.onnx", threads: int = 1) -> ort.InferenceSession:
    """A session with the operators of libprunus_ort.so; `threads` work on one inference."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.register_custom_ops_library(str(HERE / "libprunus_ort.so"))
    # onnxruntime would quantize layers that the model keeps in floating point between two quantizers
    disabled = ["WeightBiasQuantization"]
    return ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"], disabled_optimizers=disabled)


def main() -> int:
    """Compares the outputs with vectors.npz; returns the exit status."""
    vectors = np.load(HERE / "vectors.npz")
    session = load()
    found = session.run(None, {value.name: vectors[f"in.{value.name}"] for value in session.get_inputs()})
    pairs = zip(found, session.get_outputs(), strict=True)
    worst = max(float(np.abs(y.astype("f8") - vectors[f"out.{value.name}"]).max()) for y, value in pairs)
    sys.stdout.write(f"largest error: {worst:.3g}\n")
    return int(worst > 1e-5)


if __name__ == "__main__":
    sys.exit(main())
