"""From a Keras or TensorFlow model to a device: tf2onnx writes the file, Prunus takes it from there.

    pip install tensorflow tf2onnx 'prunus[tvm]'
    python examples/from_keras.py [OUT]

Keras keeps images channels-last; the compiler removes the transposes that the conversion leaves.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf2onnx

from prunus.compiler import Request, compile


def network() -> tf.keras.Model:
    """[n, 16, 16, 3] -> [n, 5] probabilities."""
    tf.keras.utils.set_random_seed(0)
    image = tf.keras.Input((16, 16, 3), name="image")
    x = tf.keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(image)
    x = tf.keras.layers.DepthwiseConv2D(3, padding="same")(x)
    x = tf.keras.layers.BatchNormalization()(x)
    x = tf.keras.layers.ReLU()(x)
    x = tf.keras.layers.GlobalAveragePooling2D()(x)
    return tf.keras.Model(image, tf.keras.layers.Dense(5, activation="softmax")(x))


def main(out: Path) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    model, data = out.parent / "keras.onnx", out.parent / "keras.npz"
    signature = (tf.TensorSpec((None, 16, 16, 3), tf.float32, name="image"),)
    tf2onnx.convert.from_keras(network(), input_signature=signature, opset=15, output_path=str(model))
    np.savez(data, x=np.random.default_rng(0).standard_normal((64, 16, 16, 3)).astype(np.float32))
    report = compile(Request(model=model, target="host-cpu", out=out, data=data)).report
    assert report.accuracy and report.fidelity
    print(f"same decision as in Keras' file on {report.accuracy.after:.1%} of {report.accuracy.samples} samples")
    print(f"SQNR {report.fidelity.sqnr_db:.1f} dB, exact {report.fidelity.exact_fraction:.2%}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "out/keras/compiled"))
