"""Well-known networks with seeded random weights, made from the weightless topologies that ship in the onnx wheel.

    from light import LIGHT_NAMES, random_light_model
    proto = random_light_model("resnet50", seed=0)

`onnx/backend/test/data/light/*.onnx` hold real architectures whose weights are `ConstantOfShape(initializer)`: every
weight of a tensor is equal, so neither pruning nor an equivalence test says anything about them as shipped.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper, version_converter

LIGHT_FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

LIGHT_FILES = {
    "alexnet": "light_bvlc_alexnet",
    "densenet121": "light_densenet121",
    "inception_v1": "light_inception_v1",
    "inception_v2": "light_inception_v2",
    "resnet50": "light_resnet50",
    "shufflenet": "light_shufflenet",
    "squeezenet": "light_squeezenet",
    "vgg19": "light_vgg19",
    "zfnet512": "light_zfnet512",
}
LIGHT_NAMES = tuple(LIGHT_FILES)
LARGE_LIGHT_NAMES = ("alexnet", "vgg19", "zfnet512")  # 240-570 MB of weights: for tests marked slow
SMALL_LIGHT_NAMES = tuple(name for name in LIGHT_NAMES if name not in LARGE_LIGHT_NAMES)

# Random residual networks amplify: without these factors on the classifier's weights its logits reach 1e4..1e6,
# the final Softmax is exactly one-hot and two different networks look equal.
CLASSIFIER_SCALE = {"inception_v2": 2.0**-4, "resnet50": 2.0**-14, "shufflenet": 2.0**-19}


def light_proto(name: str) -> onnx.ModelProto:
    """The topology as shipped: opset 9, IR 3, initializers among the graph inputs, constant weights."""
    return onnx.load(LIGHT_FOLDER / f"{LIGHT_FILES[name]}.onnx")


def random_light_model(name: str, seed: int = 0, opset: int = 21) -> onnx.ModelProto:
    """The topology with random weights as plain initializers, at `opset` and IR 10; input [1, 3, 224, 224].

    Conv and Gemm weights are He-normal; scales and variances of batch normalisation (and the factors of DenseNet's
    and Inception-v2's own scale layers) uniform in (0.5, 1.5); everything else, biases included, 0.1 * normal.
    The classifier's weights are scaled by CLASSIFIER_SCALE so that the logits stay of order one.
    Same name and seed, same bytes.
    """
    proto = version_converter.convert_version(light_proto(name), opset)
    proto.ir_version = 10
    graph = proto.graph
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    uses: dict[str, tuple[onnx.NodeProto, int]] = {}
    for node in graph.node:
        for index, value in enumerate(node.input):
            uses.setdefault(value, (node, index))
    classifier = next(node.input[1] for node in reversed(graph.node) if node.op_type in ("Conv", "Gemm"))
    rng = np.random.default_rng(seed)
    kept = []
    for node in graph.node:
        if node.op_type != "ConstantOfShape":
            kept.append(node)
            continue
        shape = tuple(int(size) for size in shapes[node.input[0]])
        weight = _random_weight(shape, *_role(node.output[0], uses), rng)
        if node.output[0] == classifier:
            weight *= np.float32(CLASSIFIER_SCALE.get(name, 1.0))
        graph.initializer.append(numpy_helper.from_array(weight, node.output[0]))
    del graph.node[:]
    graph.node.extend(kept)
    _drop_unused(graph)
    return proto


def _role(value: str, uses: dict[str, tuple[onnx.NodeProto, int]]) -> tuple[str, int]:
    """(operator type, input index) of the operator that a weight finally reaches."""
    node, index = uses[value]
    while node.op_type in ("Unsqueeze", "Reshape"):
        node, index = uses[node.output[0]]
    return node.op_type, index


def _random_weight(shape: tuple[int, ...], op_type: str, index: int, rng: np.random.Generator) -> np.ndarray:
    if op_type in ("Conv", "Gemm") and index == 1:
        fan_in = int(np.prod(shape[1:]))
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(2 / fan_in))
    if (op_type == "BatchNormalization" and index in (1, 4)) or op_type == "Mul":
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    return rng.standard_normal(shape, dtype=np.float32) * np.float32(0.1)


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Removes initializers that nothing reads, and initializers' entries among the graph inputs."""
    used = {value for node in graph.node for value in node.input}
    initializers = [tensor for tensor in graph.initializer if tensor.name in used]
    constant = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constant]
    del graph.initializer[:]
    graph.initializer.extend(initializers)
    del graph.input[:]
    graph.input.extend(inputs)
