"""Activation density is measured on the tensors that the layers read."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from prunus.compiler.analysis.activity import with_activation_density
from prunus.compiler.data import Data
from prunus.compiler.model.load import load_proto
from prunus.compiler.model.workload import workload


def test_density_after_a_relu_is_counted() -> None:
    """x in [-1, 1]: conv by +1 and -1, Relu; half of what the second conv reads is zero."""
    weights = [np.ones((2, 1, 1, 1), np.float32), np.ones((1, 2, 1, 1), np.float32)]
    weights[0][1] = -1
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "a"], ["h"]),
            helper.make_node("Relu", ["h"], ["r"]),
            helper.make_node("Conv", ["r", "b"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1, 4, 4])],
        [numpy_helper.from_array(w, name) for w, name in zip(weights, "ab", strict=True)],
    )
    model = load_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))
    x = np.random.default_rng(0).uniform(-1, 1, (3, 1, 4, 4)).astype(np.float32)
    x[:, :, 0] = 0
    name = str(model.graph.inputs[0].name)
    first, second = with_activation_density(workload(model), model, Data({name: x})).layers
    assert first.input_density == 0.75
    assert second.input_density == 0.375
    assert all(layer.input_density == 1.0 for layer in workload(model).layers)
