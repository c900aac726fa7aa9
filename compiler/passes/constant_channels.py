"""Which channels carry the same number whatever the input: a forward walk over the graph.

A value's entry is float64 [channels] along axis 1, NaN where the channel depends on the input. Values without any
constant channel have no entry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
import onnx_ir as ir

from ..executor import run_model
from ..model.edit import weight
from ..model.match import Array, attribute_ints, dims, is_op, is_plain_gemm, operand
from .affine import per_channel, read_affine
from .layout import UNARY

_UNARY = UNARY - {"Cast", "DequantizeLinear", "QuantizeLinear", "Not"}
_PASSING = ("GlobalAveragePool", "GlobalMaxPool", "Resize")
_BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "Add": np.add,
    "Div": np.divide,
    "Max": np.maximum,
    "Min": np.minimum,
    "Mul": np.multiply,
    "Sub": np.subtract,
}


@dataclass
class Constants:
    """Constant channels by value. `lost` counts, per padded convolution, the constants that its border makes vary."""

    values: dict[ir.Value, Array] = field(default_factory=dict)
    lost: dict[ir.Node, int] = field(default_factory=dict)

    def of(self, value: ir.Value | None) -> Array | None:
        """[channels], or None where no channel is constant."""
        return None if value is None else self.values.get(value)


def is_padded(node: ir.Node) -> bool:
    """Whether the window reads zeros beyond the border."""
    automatic = node.attributes.get_string("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
    return automatic or any(attribute_ints(node, "pads") or ())


def small_slices(w: Array, axis: int, threshold: float) -> Array:
    """Which slices of a weight along `axis` have no element above `threshold` times the largest of the whole weight."""
    flat = np.abs(np.moveaxis(w, axis, 0)).reshape(w.shape[axis], -1)
    peaks = flat.max(axis=1, initial=0.0)
    return np.asarray(peaks <= threshold * peaks.max(initial=0.0))


def constant_channels(graph: ir.Graph, threshold: float) -> Constants:
    """Walks the main graph. A row of weights up to `threshold` times the layer's largest weight counts as zero."""
    found = Constants()
    for node in graph:
        if node.domain:
            continue
        result = _channels(node, found, threshold)
        if result is not None and not np.isnan(result).all():
            found.values[node.outputs[0]] = result
    return found


def _channels(node: ir.Node, found: Constants, threshold: float) -> Array | None:
    kind = node.op_type
    inputs = [found.of(value) for value in node.inputs]
    if kind == "Conv" or is_plain_gemm(node):
        return _linear(node, inputs[0], found, threshold)
    if kind in _BINARY:
        return _binary(node, inputs)
    if kind == "Concat":
        return _concat(node, inputs)
    if inputs[0] is None:
        return None
    if kind in _UNARY:
        return _unary(node, inputs[0])
    if kind == "BatchNormalization":
        affine = read_affine(node, 1, len(inputs[0]))
        return None if affine is None else affine[1].scale * inputs[0] + affine[1].shift
    if kind in _PASSING or (kind == "MaxPool" and len(node.outputs) == 1):
        return inputs[0]
    if kind == "AveragePool":
        counts_zeros = node.attributes.get_int("count_include_pad", 0) and is_padded(node)
        return np.where(inputs[0] == 0, 0.0, np.nan) if counts_zeros else inputs[0]
    return _reshape(node, inputs[0]) if kind == "Reshape" else None


def _linear(node: ir.Node, x: Array | None, found: Constants, threshold: float) -> Array | None:
    """y_o = b_o + sum_i W_oi c_i, where every input i that W_oi reads is constant, and zero if the border is padded."""
    w, bias = weight(operand(node, 1)), operand(node, 2)
    b = weight(bias)
    if w is None or (bias is not None and b is None):
        return None
    group, outputs = node.attributes.get_int("group", 1), w.shape[0]
    x = np.full(w.shape[1] * group, np.nan) if x is None else x
    usable = np.isfinite(x)
    if node.op_type == "Conv" and is_padded(node):
        border = usable & (x != 0)
        if border.any():
            found.lost[node] = int(border.sum())
        usable &= x == 0
    kernels = w.astype(np.float64).reshape(outputs, w.shape[1], -1)
    rows = np.repeat(np.arange(group), outputs // group)  # the group of each output
    constant, known = np.where(usable, x, 0.0).reshape(group, -1)[rows], usable.reshape(group, -1)[rows]
    reads = kernels.any(axis=2)
    result = (kernels.sum(axis=2) * constant).sum(axis=1)
    result[(reads & ~known).any(axis=1)] = np.nan
    result[small_slices(w, 0, threshold)] = 0.0
    total: Array = result if b is None else result + b.reshape(-1)
    return total


def _binary(node: ir.Node, inputs: list[Array | None]) -> Array | None:
    shape = dims(node.outputs[0])
    if len(node.inputs) != 2 or shape is None or len(shape) < 2 or isinstance(channels := shape[1], str):
        return None
    sides = []
    for value, known in zip(node.inputs, inputs, strict=True):
        array = weight(value)
        if array is not None:
            known = per_channel(array, len(shape), 1, channels)
        elif known is not None and len(dims(value) or ()) != len(shape):
            return None
        sides.append(np.full(channels, np.nan) if known is None else np.broadcast_to(known, (channels,)))
    with np.errstate(divide="ignore", invalid="ignore"):
        result: Array = _BINARY[node.op_type](*sides)
    if node.op_type == "Mul":
        result[(sides[0] == 0) | (sides[1] == 0)] = 0.0
    result[~np.isfinite(result)] = np.nan
    return result


def _concat(node: ir.Node, inputs: list[Array | None]) -> Array | None:
    shapes = [dims(value) for value in node.inputs]
    if node.attributes.get_int("axis", 0) != 1 or all(known is None for known in inputs):
        return None
    parts = []
    for known, shape in zip(inputs, shapes, strict=True):
        if shape is None or isinstance(size := shape[1], str):
            return None
        parts.append(np.full(size, np.nan) if known is None else known)
    return np.concatenate(parts)


def _reshape(node: ir.Node, known: Array) -> Array | None:
    """[n, c, h, w] -> [n, c h w], or to other dimensions behind the same channels."""
    before, after = dims(node.inputs[0]), dims(node.outputs[0])
    if before is None or after is None or len(after) < 2 or isinstance(after[1], str) or before[0] != after[0]:
        return None
    if after[1] == len(known):
        return known
    spread, rest = divmod(after[1], len(known))
    return np.repeat(known, spread) if len(after) == 2 and rest == 0 else None


def _unary(node: ir.Node, known: Array) -> Array | None:
    """The function's value on the constants, as onnxruntime computes it."""
    source, output = node.inputs[0], node.outputs[0]
    others = [value for value in node.inputs[1:] if value is not None]
    if source is None or source.dtype is None or any(weight(value) is None for value in others):
        return None
    copy = ir.to_proto(node)
    graph = onnx.GraphProto(name="unary", node=[copy])
    graph.input.append(onnx.helper.make_tensor_value_info(source.name or "", int(source.dtype), [len(known)]))
    graph.output.append(onnx.helper.make_tensor_value_info(output.name or "", int(source.dtype), [len(known)]))
    for value in others:
        assert value.const_value is not None
        tensor = onnx.numpy_helper.from_array(value.const_value.numpy(), value.name)
        graph.initializer.append(tensor)
    version = node.version or (node.graph.opset_imports[""] if node.graph is not None else 21)
    proto = onnx.ModelProto(ir_version=10, graph=graph, opset_import=[onnx.helper.make_opsetid("", version)])
    numbers = np.nan_to_num(known).astype(source.dtype.numpy())
    result = run_model(proto, {source.name or "": numbers})[output.name or ""].astype(np.float64)
    return np.where(np.isnan(known), np.nan, result)


def folds_constants(node: ir.Node, index: int) -> bool:
    """Whether a constant that input `index` of the node sums over can move into the node's bias."""
    bias = operand(node, 2)
    if index != 0 or weight(operand(node, 1)) is None or (bias is not None and weight(bias) is None):
        return False
    plain_conv = is_op(node, "Conv") and node.attributes.get_int("group", 1) == 1 and not is_padded(node)
    return plain_conv or is_plain_gemm(node)
