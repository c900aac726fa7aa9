"""Small networks to train, and their samples."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx

from prunus.compiler.data import Data
from prunus.compiler.executor import run_model
from prunus.compiler.model.edit import set_weight, weight
from prunus.compiler.model.load import load_proto
from prunus.compiler.model.model import Model


def unlabelled(data: Data) -> Data:
    return Data(data.inputs)


def accuracy(model: Model, data: Data) -> float:
    (output,) = run_model(model, data.inputs).values()
    return float((output.argmax(axis=1) == data.labels).mean())


def perceptron(seed: int = 0, hidden: int = 24, classes: int = 5) -> Model:
    """8 -> hidden -> classes with random weights."""
    rng = np.random.default_rng(seed)
    shapes = {"a": (8, hidden), "b": (hidden,), "c": (hidden, classes), "d": (classes,)}
    node = onnx.helper.make_node
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            node("Gemm", ["x", "a", "b"], ["g"], "first"),
            node("Relu", ["g"], ["r"]),
            node("Gemm", ["r", "c", "d"], ["y"], "last"),
        ],
        "perceptron",
        [value("x", 1, ["batch", 8])],
        [value("y", 1, ["batch", classes])],
        [
            onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
            for name, shape in shapes.items()
        ],
    )
    return load_proto(onnx.helper.make_model(graph, ir_version=10, opset_imports=[onnx.helper.make_opsetid("", 21)]))


def samples(model: Model, count: int, seed: int) -> Data:
    """Normal inputs, labelled by the model itself."""
    feeds = {model.graph.inputs[0].name: np.random.default_rng(seed).normal(size=(count, 8)).astype(np.float32)}
    (output,) = run_model(model, feeds).values()
    return Data(feeds, output.argmax(axis=1))


def named(model: Model, name: str) -> str:
    return next(plain for plain, original in model.names.items() if original == name)


def with_zeros(model: Model, share: float, seed: int = 0) -> Model:
    """The model with a share of its matrices' weights zeroed at random."""
    copy, rng = model.clone(), np.random.default_rng(seed)
    for value in copy.graph.initializers.values():
        data = weight(value)
        if data.ndim == 2:
            set_weight(value, np.where(rng.random(data.shape) < share, np.float32(0), data))
    return copy


def stop_at(fraction: float) -> Callable[[str, float], None]:
    def progress(_what: str, done: float) -> None:
        if done >= fraction:
            raise KeyboardInterrupt

    return progress
