"""A model as compact text, one line per node: for golden files, and for reading.

    t0001: float32[batch,3,32,32] -> t0009: float32[batch,10]
    n0001: t0005 = Conv(t0001, float32[16,3,3,3], float32[16]) group=1 pads=[1,1,1,1]

Constants of at most eight elements are shown with their values. Attributes are sorted by name.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from .model import Model

_SHOWN_ELEMENTS = 8
_NUMPY_NAMES = {"FLOAT": "float32", "DOUBLE": "float64"}


def dump(model: Model) -> str:
    """The whole main graph, in topological order, as text with a final newline."""
    graph = model.graph
    inputs = ", ".join(_signature(value) for value in graph.inputs)
    outputs = ", ".join(_signature(value) for value in graph.outputs)
    return "\n".join([f"{inputs} -> {outputs}", *(_node(node) for node in graph)]) + "\n"


def _signature(value: ir.Value) -> str:
    return f"{value.name}: {_type(value.dtype, value.shape)}"


def _type(dtype: ir.DataType | None, shape: Iterable[object] | None) -> str:
    name = "?" if dtype is None else _NUMPY_NAMES.get(dtype.name, dtype.name.lower())
    dims = "?" if shape is None else ",".join(str(dim) for dim in shape)
    return f"{name}[{dims}]"


def _node(node: ir.Node) -> str:
    outputs = ", ".join(value.name or "_" for value in node.outputs)
    inputs = ", ".join(_operand(value) for value in node.inputs)
    attributes = "".join(f" {name}={_attribute(node.attributes[name])}" for name in sorted(node.attributes))
    domain = f"{node.domain}::" if node.domain else ""
    return f"{node.name}: {outputs} = {domain}{node.op_type}({inputs}){attributes}"


def _operand(value: ir.Value | None) -> str:
    if value is None:
        return "-"
    if value.const_value is None:
        return value.name or "_"
    tensor = value.const_value
    text = _type(tensor.dtype, tensor.shape)
    if tensor.size > _SHOWN_ELEMENTS:
        return text
    items = ", ".join(_number(item) for item in np.atleast_1d(tensor.numpy()).reshape(-1))
    return f"{text}{{{items}}}"


def _number(item: object) -> str:
    return f"{item:.5g}" if isinstance(item, float | np.floating) else str(item)


def _attribute(attribute: ir.Attr) -> str:
    if attribute.type == ir.AttributeType.GRAPH:
        return "<graph>"
    if attribute.type == ir.AttributeType.TENSOR:
        tensor = attribute.as_tensor()
        return _type(tensor.dtype, tensor.shape)
    value = attribute.value
    if isinstance(value, list | tuple):
        return "[" + ",".join(_number(item) for item in value) + "]"
    return _number(value)
