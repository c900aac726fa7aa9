"""Writes quantization into a graph as standard ONNX: QuantizeLinear and DequantizeLinear around float operators.

* activations: [Clip, when narrower than 8 bits] -> QuantizeLinear -> DequantizeLinear, per tensor;
* weights: int8 initializer -> DequantizeLinear, zero point 0, per output channel or per tensor;
* biases: int32 initializer -> DequantizeLinear with scale s_x * s_w.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..integer.graph import NUMPY_TYPE, QType
from ..model.edit import fresh_name, make_initializer, set_weight, weight
from ..model.rewrite import insert_after, insert_before, sweep
from ..target import Formats
from .correct import mean_shift
from .operators import Linear, float_attribute
from .plan import Plan, Point
from .preprocess import Affine, Folded
from .scales import QuantizedWeights, quantize_weights

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Stored:
    """An operator's weights as they stand in the QDQ graph, beside the real ones.

    `weight` and `bias` (of its own, or made to take up a correction) are those of the float model; `dequantized` and
    `dequantized_bias` are the values that DequantizeLinear nodes make of the integers in `found`.
    """

    linear: Linear
    x: QType
    formats: Formats
    weight: Array
    bias: Array | None
    found: QuantizedWeights
    dequantized: ir.Value
    dequantized_bias: ir.Value | None

    def replaced(self, found: QuantizedWeights) -> Stored:
        """Puts other integers and scales of the same shapes into the graph."""
        for value, integers, scale in (
            (self.dequantized, found.weight, found.scale),
            (self.dequantized_bias, found.bias, found.bias_scale),
        ):
            node = None if value is None else value.producer()
            if node is not None and node.inputs[0] is not None and node.inputs[1] is not None:
                set_weight(node.inputs[0], np.asarray(integers))
                set_weight(node.inputs[1], scale if scale.size > 1 else scale.reshape(()))
        return replace(self, found=found)


class Writer:
    """Rewrites one graph in place: `activation` for every point, `weights` for every linear operator, then `finish`."""

    def __init__(self, graph: ir.Graph, plan: Plan) -> None:
        self.graph = graph
        self.first = graph[0]
        self.readers = {operator.node for operator in plan.integer}
        self.moved = {value for each in plan.integer if each.role == "move" for value in each.node.outputs}

    # -- activations ----------------------------------------------------------------------------------------------

    def activation(self, point: Point, type_: QType, folded: tuple[Affine, Folded] | None = None) -> ir.Value:
        """Puts a Q/DQ pair behind a tensor; returns the dequantized value.

        `folded`: the graph input itself is quantized, with the arithmetic between it and the tensor folded in.
        """
        value = point.value
        users = [(user, index) for user, index in value.uses() if point.source == "integer" or user in self.readers]
        leaving = self._parameters(type_.dtype, type_.scale, type_.zero_point)
        if folded is None:
            start, scale, zero_point, entering = value, type_.scale, type_.zero_point, leaving
        else:
            start, scale, zero_point = folded[0].x, folded[1].scale, folded[1].zero_point
            entering = self._parameters(type_.dtype, scale, zero_point)
        last = start
        if start.dtype != ir.DataType.FLOAT:
            last = self._append(last, "Cast", [], value, {"to": ir.DataType.FLOAT})
        if type_.bits < 8 and value not in self.moved:
            ends = [np.asarray((end - zero_point) * scale, np.float32) for end in (type_.qmin, type_.qmax)]
            last = self._append(last, "Clip", [self._constant(end) for end in ends], value)
        last = self._append(last, "QuantizeLinear", entering, value)
        last.dtype = ir.DataType.from_numpy(np.dtype(NUMPY_TYPE[type_.dtype]))
        last = self._append(last, "DequantizeLinear", leaving, value)
        for user, index in users:
            user.replace_input_with(index, last)
        if value.is_graph_output() and point.source == "integer":
            self._take_over_output(value, last)
        return last

    def _append(
        self,
        after: ir.Value,
        op_type: str,
        parameters: Sequence[ir.Value],
        like: ir.Value,
        attributes: dict[str, ir.DataType] | None = None,
    ) -> ir.Value:
        """The float output of a new node that reads `after`, right behind its producer (or first in the graph)."""
        producer = after.producer()
        place = insert_before if producer is None else insert_after
        output = place(producer or self.first, op_type, [after, *parameters], attributes, like=like)
        output.type = ir.TensorType(ir.DataType.FLOAT)
        return output

    def _take_over_output(self, old: ir.Value, new: ir.Value) -> None:
        """Makes `new` the graph output in place of `old`, under the same name."""
        name = old.name
        old.name = fresh_name(self.graph)
        new.name = name
        self.graph.outputs[:] = [new if output is old else output for output in self.graph.outputs]

    def _parameters(self, dtype: str, scale: float, zero_point: int) -> list[ir.Value]:
        kind = np.uint8 if dtype == "u8" else np.int8
        return [self._constant(np.asarray(scale, np.float32)), self._constant(np.asarray(zero_point, kind))]

    # -- weights --------------------------------------------------------------------------------------------------

    def weights(self, linear: Linear, x: QType, means: Array | None, formats: Formats) -> Stored:
        """Replaces the weight and the bias of an operator by dequantized integers, rounded to the nearest.

        x: type of its input; means: of the input's channels, by which the bias is corrected unless it is None.
        """
        node, real_weight, real_bias = linear.node, weight(linear.weight), weight(linear.bias)
        assert real_weight is not None
        if node.op_type == "Gemm":  # alpha and beta go into the constants
            real_weight = real_weight * np.float32(float_attribute(node, "alpha", 1.0))
            real_bias = None if real_bias is None else real_bias * np.float32(float_attribute(node, "beta", 1.0))
            for name in ("alpha", "beta"):
                node.attributes.pop(name, None)
        found = quantize_weights(real_weight, linear.axis, real_bias, x, formats)
        shift = np.zeros(real_weight.shape[linear.axis])
        if means is not None:
            shift = mean_shift(real_weight, linear.axis, found, means)
        if real_bias is not None or (shift.any() and node.op_type != "MatMul"):
            real_bias = np.zeros(shift.size) if real_bias is None else real_bias.reshape(-1)
            found = quantize_weights(real_weight, linear.axis, real_bias - shift, x, formats)
        dequantized = self._dequantized(node, found.weight, found.scale, linear.axis, zero_point=True)
        node.replace_input_with(1, dequantized)
        bias = None
        if found.bias is not None:
            holder = linear.bias_node or node
            bias = self._dequantized(holder, found.bias, found.bias_scale, 0, zero_point=False)
            if linear.bias is None:
                node.resize_inputs(3)
                node.replace_input_with(2, bias)
            else:
                holder.replace_input_with(list(holder.inputs).index(linear.bias), bias)
        return Stored(linear, x, formats, real_weight, real_bias, found, dequantized, bias)

    def _dequantized(self, before: ir.Node, integers: Array, scale: Array, axis: int, zero_point: bool) -> ir.Value:
        """An integer initializer and its DequantizeLinear in front of a node."""
        per_channel = scale.size > 1
        scale = scale if per_channel else scale.reshape(())
        inputs = [self._constant(integers), self._constant(scale)]
        if zero_point:
            inputs.append(self._constant(np.zeros(scale.shape, integers.dtype)))
        attributes = {"axis": axis} if per_channel else {}
        output = insert_before(before, "DequantizeLinear", inputs, attributes, shape=integers.shape)
        output.type = ir.TensorType(ir.DataType.FLOAT)
        return output

    def _constant(self, array: Array) -> ir.Value:
        return make_initializer(self.graph, fresh_name(self.graph), array)

    def finish(self) -> None:
        """Removes what nothing reads any more: float weights, and preprocessing folded into a quantizer."""
        sweep(self.graph)
        for node in self.graph:
            dilations = node.attributes.get("dilations") if node.op_type == "AveragePool" else None
            if dilations is not None and set(dilations.as_ints()) == {1}:
                # onnxruntime 1.31 fuses DQ -> AveragePool -> Q into an operator that does not know this attribute
                del node.attributes["dilations"]
