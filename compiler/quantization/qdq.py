"""Writes quantization into a graph as standard ONNX: QuantizeLinear and DequantizeLinear around float operators.

* activations: [Clip, when narrower than 8 bits] -> QuantizeLinear -> DequantizeLinear, per tensor;
* weights: int8 initializer -> DequantizeLinear, zero point 0, per output channel or per tensor;
* biases: int32 initializer -> DequantizeLinear with scale s_x * s_w.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..integer.graph import NUMPY_TYPE, QType
from ..target import Formats
from .operators import Linear, constant, float_attribute
from .plan import Plan, Point
from .preprocess import Affine, Folded
from .scales import QuantizedWeights, quantize_weights

Array = npt.NDArray[Any]


class Writer:
    """Rewrites one graph in place; call `activation` for every point, then `weights` for every linear operator."""

    def __init__(self, graph: ir.Graph, plan: Plan) -> None:
        self.graph = graph
        self.readers = {operator.node for operator in plan.integer}
        self.taken = {value.name for value in graph.initializers.values()} | {value.name for value in graph.inputs}
        self.taken |= {value.name for node in graph for value in node.outputs} | {node.name for node in graph}

    # -- activations ----------------------------------------------------------------------------------------------

    def activation(self, point: Point, type_: QType, folded: tuple[Affine, Folded] | None = None) -> ir.Value:
        """Puts a Q/DQ pair behind a tensor; returns the dequantized value.

        `folded`: the graph input itself is quantized, with the arithmetic between it and the tensor folded in.
        """
        value, prefix = point.value, str(point.value.name)
        users = [(user, index) for user, index in value.uses() if point.source == "integer" or user in self.readers]
        leaving = self._parameters(prefix, type_.dtype, type_.scale, type_.zero_point)
        if folded is None:
            start, scale, zero_point, entering = value, type_.scale, type_.zero_point, leaving
        else:
            start, scale, zero_point = folded[0].x, folded[1].scale, folded[1].zero_point
            entering = self._parameters(f"{prefix}_input", type_.dtype, scale, zero_point)
        nodes: list[ir.Node] = []
        if start.dtype != ir.DataType.FLOAT:
            nodes.append(self._node("Cast", [start], f"{prefix}_float", {"to": int(ir.DataType.FLOAT)}, value))
        if type_.bits < 8:
            ends = [np.asarray((end - zero_point) * scale, np.float32) for end in (type_.qmin, type_.qmax)]
            limits = [self._constant(f"{prefix}_low", ends[0]), self._constant(f"{prefix}_high", ends[1])]
            source = nodes[-1].outputs[0] if nodes else start
            nodes.append(self._node("Clip", [source, *limits], f"{prefix}_clipped", {}, value))
        source = nodes[-1].outputs[0] if nodes else start
        nodes.append(self._node("QuantizeLinear", [source, *entering], f"{prefix}_q", {}, value))
        nodes[-1].outputs[0].dtype = ir.DataType.from_numpy(np.dtype(NUMPY_TYPE[type_.dtype]))
        nodes.append(self._node("DequantizeLinear", [nodes[-1].outputs[0], *leaving], f"{prefix}_dq", {}, value))
        self._insert(start, nodes)
        real = nodes[-1].outputs[0]
        for user, index in users:
            user.replace_input_with(index, real)
        if value.is_graph_output() and point.source == "integer":
            self._take_over_output(value, real)
        return real

    def _insert(self, after: ir.Value, nodes: list[ir.Node]) -> None:
        producer = after.producer()
        if producer is not None:
            self.graph.insert_after(producer, nodes)
        else:
            self.graph.insert_before(self.graph[0], nodes)

    def _take_over_output(self, old: ir.Value, new: ir.Value) -> None:
        """Makes `new` the graph output in place of `old`, under the same name."""
        name = str(old.name)
        old.name = self._fresh(f"{name}_float")
        new.name = name
        self.graph.outputs[:] = [new if output is old else output for output in self.graph.outputs]

    def _parameters(self, prefix: str, dtype: str, scale: float, zero_point: int) -> list[ir.Value]:
        return [
            self._constant(f"{prefix}_scale", np.asarray(scale, np.float32)),
            self._constant(
                f"{prefix}_zero_point", np.asarray(zero_point, dtype=np.uint8 if dtype == "u8" else np.int8)
            ),
        ]

    # -- weights --------------------------------------------------------------------------------------------------

    def weights(self, linear: Linear, x: QType, formats: Formats) -> QuantizedWeights:
        """Replaces the weight and the bias of an operator whose input has the type `x` by dequantized integers."""
        node, weight, bias = linear.node, constant(linear.weight), constant(linear.bias)
        assert weight is not None
        if node.op_type == "Gemm":  # alpha and beta go into the constants
            weight = weight * np.float32(float_attribute(node, "alpha", 1.0))
            bias = None if bias is None else bias * np.float32(float_attribute(node, "beta", 1.0))
            for name in ("alpha", "beta"):
                node.attributes.pop(name, None)
        found = quantize_weights(weight, linear.axis, bias, x, formats)
        prefix = self._fresh(f"{node.name}_weight")
        real = self._dequantized(prefix, node, found.weight, found.scale, linear.axis, zero_point=True)
        node.replace_input_with(1, real)
        if found.bias is not None:
            holder = linear.bias_node or node
            real = self._dequantized(
                self._fresh(f"{node.name}_bias"), holder, found.bias, found.bias_scale, 0, zero_point=False
            )
            index = next(i for i, value in enumerate(holder.inputs) if value is linear.bias)
            holder.replace_input_with(index, real)
        return found

    def _dequantized(
        self, prefix: str, before: ir.Node, integers: Array, scale: Array, axis: int, zero_point: bool
    ) -> ir.Value:
        """An integer initializer and its DequantizeLinear in front of a node."""
        per_channel = scale.size > 1
        inputs = [
            self._constant(prefix, integers),
            self._constant(f"{prefix}_scale", scale if per_channel else scale.reshape(())),
        ]
        if zero_point:
            zeros = np.zeros(inputs[1].const_value.shape.numpy(), integers.dtype)  # type: ignore[union-attr]
            inputs.append(self._constant(f"{prefix}_zero_point", zeros))
        node = self._node("DequantizeLinear", inputs, f"{prefix}_dq", {"axis": axis} if per_channel else {}, None)
        node.outputs[0].shape = ir.Shape(integers.shape)
        node.outputs[0].dtype = ir.DataType.FLOAT
        self.graph.insert_before(before, [node])
        return node.outputs[0]

    # -- building blocks ------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Removes what nothing reads any more: float weights, and preprocessing folded into a quantizer."""
        for node in reversed(list(self.graph)):
            if all(not value.is_graph_output() and not any(True for _ in value.uses()) for value in node.outputs):
                self.graph.remove(node, safe=True)
        for name, value in list(self.graph.initializers.items()):
            if not value.is_graph_output() and not any(True for _ in value.uses()):
                del self.graph.initializers[name]

    def _fresh(self, name: str) -> str:
        """The name itself, or with a number where it is taken."""
        candidate, number = name, 1
        while candidate in self.taken:
            number += 1
            candidate = f"{name}_{number}"
        self.taken.add(candidate)
        return candidate

    def _constant(self, name: str, array: Array) -> ir.Value:
        name = self._fresh(name)
        tensor = ir.tensor(np.ascontiguousarray(array).reshape(array.shape), name=name)
        value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
        self.graph.register_initializer(value)
        return value

    def _node(
        self, op: str, inputs: list[ir.Value], output: str, attributes: Mapping[str, int], like: ir.Value | None
    ) -> ir.Node:
        """A node with one float32 output of the shape of `like`."""
        name = self._fresh(output)
        value = ir.Value(name=name, shape=None if like is None else like.shape, type=ir.TensorType(ir.DataType.FLOAT))
        return ir.node(op, inputs, dict(attributes), outputs=[value], name=self._fresh(f"{name}_node"))
