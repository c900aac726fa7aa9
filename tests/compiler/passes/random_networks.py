"""Random small convolutional networks in the many spellings that exporters use, for tests of all passes together."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


class _Writer:
    """Appends nodes and weights; `value` is the current tensor, of shape [batch, channels, size, size]."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.value, self.channels, self.size = "x", 3, 12

    def weight(self, array: np.ndarray, dtype: type = np.float32) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(array, dtype), name))
        return name

    def normal(self, *shape: int, scale: float = 1.0) -> str:
        return self.weight(self.rng.standard_normal(shape) * scale)

    def op(self, op_type: str, *inputs: str, outputs: int = 1, **attributes: object) -> str:
        names = [f"v{len(self.nodes)}_{index}" for index in range(outputs)]
        self.nodes.append(helper.make_node(op_type, list(inputs), names, **attributes))
        return names[0]

    def chance(self, share: float = 0.5) -> bool:
        return bool(self.rng.random() < share)

    # -- steps ---------------------------------------------------------------------------------------------------

    def conv(self) -> None:
        kernel, outputs = int(self.rng.choice([1, 3])), int(self.rng.choice([4, 6, 8]))
        group = int(self.rng.choice([g for g in (1, 2) if self.channels % g == 0]))
        w = self.rng.standard_normal((outputs, self.channels // group, kernel, kernel)) / np.sqrt(self.channels)
        if self.chance(0.3):
            w[self.rng.random(outputs) < 0.4] = 0
        inputs = [self.value, self.weight(w), *([self.normal(outputs)] if self.chance() else [])]
        padding = {"auto_pad": "SAME_UPPER"} if self.chance() else {"pads": [kernel // 2] * 4}
        self.value, self.channels = self.op("Conv", *inputs, group=group, **padding), outputs

    def depthwise(self) -> None:
        w = self.normal(self.channels, 1, 3, 3, scale=0.5)
        self.value = self.op("Conv", self.value, w, group=self.channels, pads=[1, 1, 1, 1])

    def norm(self) -> None:
        scales = [self.weight(self.rng.uniform(0.5, 1.5, self.channels)) for _ in range(2)]
        shifts = [self.normal(self.channels) for _ in range(2)]
        self.value = self.op("BatchNormalization", self.value, scales[0], *shifts, scales[1])

    def scale(self) -> None:
        constant = self.normal(*([] if self.chance() else [self.channels, 1, 1]))
        inputs = [self.value, constant] if self.chance() else [constant, self.value]
        self.value = self.op(str(self.rng.choice(["Mul", "Add", "Sub"])), *inputs)

    def activation(self) -> None:
        zero, six = self.weight(np.array(0.0)), self.weight(np.array(6.0))
        kinds = [
            ("Relu",),
            ("Clip", zero, six),
            ("Max", zero),
            ("LeakyRelu",),
            ("Sigmoid",),
            ("Identity",),
            ("Min", six),
        ]
        kind, *others = kinds[self.rng.integers(len(kinds))]
        self.value = self.op(kind, self.value, *others)

    def channels_last(self) -> None:
        """Something elementwise on the other layout, as Keras exports have it."""
        last = self.op("Transpose", self.value, perm=[0, 2, 3, 1])
        steps = [
            lambda v: self.op("Relu", v),
            lambda v: self.op("Add", v, self.normal(self.channels)),
            lambda v: self.op("Mul", v, self.op("Sigmoid", v)),
            lambda v: self.op("Concat", v, v, axis=3),
            lambda v: self.op("Softmax", v, axis=-1),
        ]
        for index in self.rng.permutation(len(steps))[:2]:
            last = steps[index](last)
            self.channels *= 2 if index == 3 else 1
        self.value = self.op("Transpose", last, perm=[0, 3, 1, 2])

    def residual(self) -> None:
        skip = self.value
        self.depthwise()
        self.activation()
        self.value = self.op("Sum", self.value, skip, *([skip] if self.chance(0.3) else []))

    def branch(self) -> None:
        trunk, channels = self.value, self.channels
        self.conv()
        self.value, self.channels = self.op("Concat", trunk, self.value, axis=-3), channels + self.channels

    def split(self) -> None:
        first = self.op("Split", self.value, outputs=2, axis=1, num_outputs=2)
        second = first[:-1] + "1"
        self.value = self.op("Concat", second, first, axis=1)

    def pool(self) -> None:
        if self.size < 6:
            return
        kind = str(self.rng.choice(["MaxPool", "AveragePool"]))
        self.value = self.op(kind, self.value, kernel_shape=[2, 2], strides=[2, 2])
        self.size //= 2

    def head(self) -> None:
        kind = self.rng.integers(4)
        if kind == 0:
            self.value = self.op("ReduceMean", self.value, self.weight(np.array([2, 3]), np.int64), keepdims=0)
            features = self.channels
        elif kind == 1:
            pooled = self.op("GlobalAveragePool", self.value)
            self.value, features = self.op("Squeeze", pooled, self.weight(np.array([2, 3]), np.int64)), self.channels
        else:
            last = self.op("Transpose", self.value, perm=[0, 2, 3, 1]) if kind == 2 else self.value
            self.value, features = self.op("Flatten", last), self.channels * self.size**2
        if self.chance():
            product = self.op("MatMul", self.value, self.normal(features, 5, scale=features**-0.5))
            self.value = self.op("Add", product, self.normal(5))
        else:
            w, b = self.normal(features, 5, scale=features**-0.5), self.normal(1, 5)
            self.value = self.op("Gemm", self.value, w, b, alpha=0.5, beta=2.0)


def random_network(seed: int, steps: int = 9) -> onnx.ModelProto:
    """A network of about `steps` random steps on [batch, 3, 12, 12] (or [batch, 12, 12, 3]) with five outputs."""
    writer = _Writer(seed)
    channels_last = writer.chance()
    if channels_last:
        writer.value = writer.op("Transpose", "x", perm=[0, 3, 1, 2])
    kinds = ["conv", "conv", "depthwise", "norm", "norm", "scale", "activation", "activation"]
    kinds += ["channels_last", "residual", "branch", "split", "pool"]
    writer.conv()
    for kind in writer.rng.choice(kinds, steps):
        getattr(writer, kind)()
    writer.head()
    shape = ["N", 12, 12, 3] if channels_last else ["N", 3, 12, 12]
    graph = helper.make_graph(
        writer.nodes,
        "random",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(writer.value, TensorProto.FLOAT, ["N", 5])],
        writer.weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
