"""One layer as a standard QDQ model, u8 in and u8 out, with the channels last at its borders.

Engines for convolutions keep activations with the channels last inside of a network. With a Transpose on either side
they cancel it against their own, and what is timed is the layer as it runs between two others.
"""

from __future__ import annotations

import numpy as np
import onnx
from harness.problem import SCALE, Problem
from onnx import TensorProto, helper, numpy_helper


def qdq_layer(problem: Problem, alone: bool = False) -> onnx.ModelProto:
    """x (NHWC, or rows by channels) -> y in the same layout; `alone`: NCHW on both sides, without the transposes."""
    layer = problem.layer
    scale = problem.weight_scale
    constants = {
        "s": SCALE,
        "z": np.uint8(0),
        "w": problem.weight,
        "ws": scale,
        "wz": np.zeros(scale.shape, np.int8),
        "b": problem.bias,
        "bs": SCALE * scale,
        "bz": np.zeros(scale.shape, np.int32),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], axis=0),
        helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["bf"], axis=0),
    ]
    if layer.kind == "gemm":
        x_shape, y_shape = [layer.height, layer.in_c], [layer.height, layer.out_c]
        nodes += [
            helper.make_node("DequantizeLinear", ["x", "s", "z"], ["xf"]),
            helper.make_node("Gemm", ["xf", "wf", "bf"], ["af"], transB=1),
            helper.make_node("Relu", ["af"], ["rf"]),
            helper.make_node("QuantizeLinear", ["rf", "s", "z"], ["y"]),
        ]
    else:
        x_shape = [1, layer.height, layer.width, layer.in_c]
        y_shape = [1, layer.out_height, layer.out_width, layer.out_c]
        window = {
            "kernel_shape": layer.kernel,
            "strides": [layer.stride] * 2,
            "pads": layer.pads,
            "group": layer.in_c if layer.kind == "depthwise" else 1,
        }
        if alone:
            x_shape = [1, layer.in_c, layer.height, layer.width]
            y_shape = [1, layer.out_c, layer.out_height, layer.out_width]
        layers = [
            helper.make_node("DequantizeLinear", ["x", "s", "z"], ["x_real"]),
            helper.make_node("Transpose", ["x_real"], ["xf"], perm=[0, 3, 1, 2]),  # ahead of it OpenVINO leaves int8
            helper.make_node("Conv", ["x_real" if alone else "xf", "wf", "bf"], ["af"], **window),
            helper.make_node("Relu", ["af"], ["rf"]),
            helper.make_node("QuantizeLinear", ["rf", "s", "z"], ["y" if alone else "y_nchw"]),
            helper.make_node("Transpose", ["y_nchw"], ["y"], perm=[0, 2, 3, 1]),
        ]
        nodes += [node for node in layers if not (alone and node.op_type == "Transpose")]
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, x_shape)],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, y_shape)],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
