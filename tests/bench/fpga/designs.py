"""The networks that the RTL cost model is fitted to and judged by: architecture, bits, density, clock."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from prunus.compiler import Data, Options
from prunus.compiler.integer.from_qdq import read_qdq
from prunus.compiler.integer.graph import Graph
from prunus.compiler.model.load import load
from prunus.compiler.passes import Context
from prunus.compiler.pipeline import Pipeline
from prunus.compiler.target import Formats

SAMPLES = 256


@dataclass(frozen=True)
class Design:
    """`layers`: widths of a perceptron, the input's first; or, with `image` [channels, height, width], output channels
    of 3x3 convolutions, the last one the number of classes behind global pooling."""

    name: str
    layers: tuple[int, ...]
    weight_bits: int
    activation_bits: int
    sparsity: float
    clock_mhz: float = 100.0
    image: tuple[int, int, int] | None = None

    @property
    def architecture(self) -> str:
        """What a design has in common with others of the same shape."""
        image = "" if self.image is None else "x".join(map(str, self.image)) + ":"
        return image + "-".join(map(str, self.layers))

    def graph(self, folder: Path) -> Graph:
        """The integer graph of the network with seeded random weights, compressed by the pipeline."""
        path = folder / f"{self.name}.onnx"
        onnx.save(self._float(), path)
        model = load(path)
        shape = self.image or (self.layers[0],)
        data = np.random.default_rng(1).standard_normal((SAMPLES, *shape)).astype(np.float32)
        formats = Formats(
            scheme="pow2",
            activation="s8",
            zero_point="zero",
            softmax="host",
            weight_bits=self.weight_bits,
            activation_bits=self.activation_bits,
            border_bits=8,
        )
        options = Options(weight_sparsity=self.sparsity, pattern="weight")
        context = Context(formats=formats, options=options, calibration=Data({str(model.graph.inputs[0].name): data}))
        return read_qdq(Pipeline.default().run(model, context).model, formats)

    def _float(self) -> onnx.ModelProto:
        rng = np.random.default_rng(
            reduce(lambda seed, character: seed * 31 + ord(character), self.architecture, 7) % 2**32
        )
        build = _Convolutions(rng, self.image) if self.image else _Perceptron(rng, self.layers[0])
        widths = self.layers if self.image else self.layers[1:]
        for number, width in enumerate(widths):
            build.layer(width, last=number == len(widths) - 1)
        return build.model()


class _Network:
    """Nodes and weights as they are appended."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...]) -> None:
        self.rng, self.width = rng, shape[0]
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.value = "x"
        self.input = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["batch", *shape])

    def add(self, op: str, *arrays: np.ndarray, **attributes: object) -> None:
        names = []
        for array in arrays:
            names.append(f"w{len(self.weights)}")
            self.weights.append(numpy_helper.from_array(array.astype(np.float32), names[-1]))
        output = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, [self.value, *names], [output], **attributes))
        self.value = output

    def model(self) -> onnx.ModelProto:
        output = helper.make_tensor_value_info(self.value, onnx.TensorProto.FLOAT, ["batch", self.width])
        graph = helper.make_graph(self.nodes, "network", [self.input], [output], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


class _Perceptron(_Network):
    def __init__(self, rng: np.random.Generator, features: int) -> None:
        super().__init__(rng, (features,))

    def layer(self, width: int, last: bool) -> None:
        weight = self.rng.standard_normal((self.width, width)) * np.sqrt(2 / self.width)
        self.add("Gemm", weight, self.rng.standard_normal(width) * 0.1)
        self.width = width
        if not last:
            self.add("Relu")


class _Convolutions(_Network):
    def __init__(self, rng: np.random.Generator, image: tuple[int, int, int]) -> None:
        super().__init__(rng, image)

    def layer(self, width: int, last: bool) -> None:
        if last:
            self.add("GlobalAveragePool")
            self.add("Flatten")
            weight = self.rng.standard_normal((self.width, width)) * np.sqrt(2 / self.width)
            self.add("Gemm", weight, self.rng.standard_normal(width) * 0.1)
        else:
            weight = self.rng.standard_normal((width, self.width, 3, 3)) * np.sqrt(2 / (9 * self.width))
            self.add("Conv", weight, self.rng.standard_normal(width) * 0.1, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
            self.add("Relu")
        self.width = width


# What the coefficients of targets/fpga/rtl/cost.py were fitted to …
FITTED = (
    Design("fit-a", (16, 16, 16, 5), 6, 6, 0.5),
    Design("fit-b", (12, 24, 8), 8, 8, 0.5),
    Design("fit-c", (32, 12, 4), 4, 6, 0.25),
    Design("fit-d", (10, 40, 3), 6, 8, 0.75, clock_mhz=60.0),
    Design("fit-e", (3, 4), 6, 6, 0.5, image=(1, 4, 4)),
    Design("fit-f", (20, 20, 20, 20, 5), 5, 5, 0.8),
    Design("fit-g", (8, 8, 4), 6, 6, 0.5),
    Design("fit-h", (8, 32, 2), 6, 6, 0.5),
)
# … and what they are judged by: other architectures.
HELD_OUT = (
    Design("mlp-9-9-9-9", (9, 9, 9, 9), 8, 8, 0.5),
    Design("mlp-10-20-10-3", (10, 20, 10, 3), 6, 6, 0.6),
    Design("mlp-11-33-4", (11, 33, 4), 4, 4, 0.5),
    Design("mlp-13-7-5", (13, 7, 5), 8, 8, 0.0),
    Design("mlp-14-28-6", (14, 28, 6), 5, 7, 0.7),
    Design("mlp-15-10-10-10", (15, 10, 10, 10), 7, 7, 0.6),
    Design("mlp-16-64-5", (16, 64, 5), 6, 6, 0.8),
    Design("mlp-18-18-2", (18, 18, 2), 4, 8, 0.4),
    Design("mlp-20-8-8-2", (20, 8, 8, 2), 6, 6, 0.3),
    Design("mlp-24-16-6", (24, 16, 6), 6, 6, 0.7, clock_mhz=60.0),
    Design("mlp-25-25-3", (25, 25, 3), 6, 6, 0.8, clock_mhz=125.0),
    Design("mlp-28-14-7", (28, 14, 7), 5, 6, 0.6),
    Design("mlp-30-10-2", (30, 10, 2), 8, 6, 0.6),
    Design("mlp-36-12-6", (36, 12, 6), 6, 5, 0.7),
    Design("mlp-40-16-4", (40, 16, 4), 6, 6, 0.85),
    Design("mlp-48-8-2", (48, 8, 2), 6, 8, 0.6),
    Design("mlp-64-10", (64, 10), 6, 8, 0.6),
    Design("mlp-6-48-48-2", (6, 48, 48, 2), 6, 6, 0.93),
    Design("cnn-1x5x5-2-3", (2, 3), 6, 6, 0.4, image=(1, 5, 5)),
    Design("cnn-2x4x4-4-2", (4, 2), 6, 6, 0.7, image=(2, 4, 4)),
)
