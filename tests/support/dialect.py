"""Checks that an ONNX model keeps to the QDQ dialect that the quantizer promises and the reader reads."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

from prunus.compiler.integer.graph import QType
from prunus.compiler.integer.ops import INT32_MAX, accumulator_bounds
from prunus.compiler.model.edit import weight
from prunus.compiler.model.model import Model

MOVES = ("Reshape", "Transpose", "MaxPool", "Slice", "Pad", "Resize", "Flatten")


def violations(model: Model) -> list[str]:
    """Everything in the model that breaks the dialect; empty for a good one."""
    proto = model.to_proto()
    found = []
    if (proto.ir_version, {o.domain: o.version for o in proto.opset_import}) != (10, {"": 21}):
        found.append("not opset 21 at IR 10")
    onnx.checker.check_model(proto, full_check=True)
    for node in model.graph:
        if node.op_type == "QuantizeLinear":
            found += _quantize(node)
        elif node.op_type == "DequantizeLinear" and weight(node.inputs[0]) is not None:
            found += _constant(node)
        elif node.op_type in ("Conv", "Gemm", "MatMul"):
            found += _linear(node)
        elif node.op_type in MOVES:
            found += _move(node)
    return found


def qtype(node: ir.Node) -> QType:
    """The type that a QuantizeLinear or DequantizeLinear of an activation states."""
    scale, zero_point = weight(node.inputs[1]), weight(node.inputs[2])
    assert scale is not None and zero_point is not None
    return QType("u8" if zero_point.dtype == np.uint8 else "s8", float(scale), int(zero_point))


def _quantize(node: ir.Node) -> list[str]:
    readers = [user for user, _ in node.outputs[0].uses()]
    if [reader.op_type for reader in readers] != ["DequantizeLinear"]:
        return [f"{node.name}: no single DequantizeLinear behind it"]
    entering, leaving = qtype(node), qtype(readers[0])
    value = node.inputs[0]
    while value is not None and (producer := value.producer()) is not None and producer.op_type in ("Cast", "Clip"):
        value = producer.inputs[0]
    from_input = value is not None and value.is_graph_input()
    return [] if entering == leaving or from_input else [f"{node.name}: {entering} becomes {leaving}"]


def _constant(node: ir.Node) -> list[str]:
    integers, scale = weight(node.inputs[0]), weight(node.inputs[1])
    assert integers is not None and scale is not None
    found = []
    if scale.dtype != np.float32 or not (scale > 0).all():
        found.append(f"{node.name}: scales must be positive float32 numbers")
    if integers.dtype == np.int8:
        zero_point = weight(node.inputs[2])
        if zero_point is None or zero_point.any():
            found.append(f"{node.name}: a weight has a zero point")
        if integers.min(initial=0) < -127:
            found.append(f"{node.name}: a weight is -128")
    elif integers.dtype != np.int32:
        found.append(f"{node.name}: constants are int8 or int32, not {integers.dtype}")
    return found


def _linear(node: ir.Node) -> list[str]:
    """The bias's scale is exactly s_x * s_w, and the accumulator fits."""
    x, w, b = (None if value is None else value.producer() for value in (*node.inputs, None)[:3])
    if b is None and node.op_type == "MatMul":
        users = [user for user, _ in node.outputs[0].uses()]
        if len(users) == 1 and users[0].op_type == "Add":
            b = next((v.producer() for v in users[0].inputs if v is not node.outputs[0] and v is not None), None)
    if node.op_type == "MatMul" and w is not None and (w.op_type != "DequantizeLinear" or weight(w.inputs[0]) is None):
        return []  # a product of two activations
    if x is None or x.op_type != "DequantizeLinear" or w is None or w.op_type != "DequantizeLinear":
        return [f"{node.name}: input or weight is not dequantized"]
    type_, integers, scale = qtype(x), weight(w.inputs[0]), weight(w.inputs[1])
    assert integers is not None and scale is not None
    axis = w.attributes["axis"].as_int() if "axis" in w.attributes else 0 if node.op_type == "Conv" else 1
    if scale.ndim == 0 and node.op_type == "Gemm" and node.attributes["transB"].as_int():
        axis = 0
    rows = np.moveaxis(integers, axis, 0)
    bias = np.zeros(len(rows), np.int32)
    found = []
    if b is not None:
        stored, bias_scale = weight(b.inputs[0]), weight(b.inputs[1])
        if b.op_type != "DequantizeLinear" or stored is None or bias_scale is None:
            return [f"{node.name}: the bias is not an integer constant"]
        bias = stored
        if not np.array_equal(bias_scale, np.float32(type_.scale) * scale):
            found.append(f"{node.name}: the bias's scale is not s_x * s_w")
    if accumulator_bounds(rows, bias, type_).max() > INT32_MAX:
        found.append(f"{node.name}: the accumulator may overflow")
    return found


def _move(node: ir.Node) -> list[str]:
    assert node.inputs[0] is not None
    before = node.inputs[0].producer()
    after = [user for user, _ in node.outputs[0].uses() if user.op_type == "QuantizeLinear"]
    if before is None or before.op_type != "DequantizeLinear" or not after or qtype(before) == qtype(after[0]):
        return []
    return [f"{node.name}: data movement changes the type"]
