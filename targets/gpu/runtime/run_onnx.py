"""Runs model_int8.onnx in onnxruntime: `python run_onnx.py` compares it with the test vectors beside it.

Needs numpy and onnxruntime-gpu; other builds of onnxruntime run it on what they have, in the last place on the CPU.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort

HERE = Path(__file__).resolve().parent
PREFERRED = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "OpenVINOExecutionProvider", "CPUExecutionProvider")
OPTIONS = {
    "TensorrtExecutionProvider": {"trt_int8_enable": True, "trt_fp16_enable": True},
    "OpenVINOExecutionProvider": {"device_type": "GPU"},
}
MIN_SQNR_DB = 20.0  # each engine rounds in its own way


def load(model: Path = HERE / "model_int8.onnx") -> ort.InferenceSession:
    """A session on the best device that this onnxruntime knows."""
    providers = [(name, OPTIONS.get(name, {})) for name in PREFERRED if name in ort.get_available_providers()]
    # onnxruntime would quantize layers that the model keeps in floating point between two quantizers
    return ort.InferenceSession(str(model), providers=providers, disabled_optimizers=["WeightBiasQuantization"])


def main() -> int:
    """Compares the outputs with vectors.npz; returns the exit status."""
    with np.load(HERE / "vectors.npz") as vectors:
        inputs = [vectors[key] for key in vectors.files if key.startswith("in.")]
        expected = [vectors[key] for key in vectors.files if key.startswith("int8.")]
    session = load()
    found = session.run(None, {value.name: x for value, x in zip(session.get_inputs(), inputs, strict=True)})
    noise = sum(float(((y.astype("f8") - want) ** 2).sum()) for y, want in zip(found, expected, strict=True))
    signal = sum(float((want.astype("f8") ** 2).sum()) for want in expected)
    sqnr_db = 10 * np.log10(max(signal, 1e-300) / noise) if noise else np.inf
    sys.stdout.write(f"{session.get_providers()[0]}: {sqnr_db:.1f} dB from the integer reference\n")
    return int(sqnr_db < MIN_SQNR_DB)


if __name__ == "__main__":
    sys.exit(main())
