"""`read_qdq`: standard QDQ ONNX in, integer graph out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx_ir as onnx

from ...errors import UnsupportedError
from ...model.model import Model
from ...target import Formats
from .. import graph as ir
from .islands import add_islands
from .reader import INT_TYPES, Reader
from .table import READERS, SPLITTERS
from .values import Constant, Float, Integer, NotIntegerError, Value, View

_GRAPHS = (onnx.AttributeType.GRAPH, onnx.AttributeType.GRAPHS)


def read_qdq(model: Model, formats: Formats) -> ir.Graph:
    """The integer graph of a QDQ model.

    Accepts the quantizer's own dialect and onnxruntime's (`quantize_static`, QDQ format): activations quantized per
    tensor to u8 or s8, int8 weights behind a DequantizeLinear (per tensor or per output channel), biases as int32
    constants or floats, Relu and Clip before the QuantizeLinear, data movement on any side of it. What cannot be
    integer stays float in islands that carry a reason code and a hint.

    Tensors keep the names of the model's values: an integer tensor is named after the output of its QuantizeLinear. An
    operator has its node's name; `origin` lists the nodes that were fused into it, quantizers left out.

    Raises:
        UnsupportedError: a scale or zero point breaks the device's scheme (`scale-not-pow2`, `zero-point-not-zero`),
            the model uses integer operators other than QDQ (`integer-operator`) or branches (`control-flow`), an
            output is constant (`constant-output`), or a graph input or output lacks the batch (`batch-not-leading`).
    """
    reader = Reader(model, formats)
    _add_inputs(reader)
    for node in reader.model.graph:
        try:
            results = _read(reader, node)
        except NotIntegerError as refusal:
            reader.refusals[str(node.name)] = refusal
            results = _as_float(reader, node)
        for output, result in zip(node.outputs, results, strict=True):
            if output.name:
                reader.values[str(output.name)] = result
    return add_islands(reader)


def _add_inputs(reader: Reader) -> None:
    for value in reader.model.graph.inputs:
        name = str(value.name)
        if name in reader.values:  # an initializer that is also an input
            continue
        try:
            shape = reader.sample_shape(value)
        except NotIntegerError as refusal:
            raise UnsupportedError(
                "A graph input has no batch dimension, or a dimension of unknown size.",
                code="batch-not-leading",
                where=reader.model.original(name),
                why=f"Its shape is {value.shape}; the other inputs have the batch as dimension 0.",
                hint="Export the model with a batch dimension on every input; fix the others with --shape.",
            ) from refusal
        dtype = onnx.DataType.FLOAT if value.dtype is None else value.dtype
        reader.tensors[name] = ir.Tensor(name, shape, None, str(dtype.numpy()))
        reader.values[name] = Float(name, shape)


def _as_float(reader: Reader, node: onnx.Node) -> list[Value]:
    """The outputs of a node that stays in floating point."""
    if any(attribute.type in _GRAPHS for attribute in node.attributes.values()):
        raise UnsupportedError(
            f"The operator {node.op_type} branches at run time.",
            code="control-flow",
            where=reader.model.original(str(node.name)),
            why="An integer graph is the same for every input.",
            hint="Export the model for inference, with its branches resolved.",
        )
    if any(isinstance(reader.values.get(str(v.name)), Integer) for v in node.inputs if v is not None):
        raise UnsupportedError(
            f"The operator {node.op_type} works on quantized integers directly.",
            code="integer-operator",
            where=reader.model.original(str(node.name)),
            why="Only QuantizeLinear, DequantizeLinear and data movement may do that in a QDQ model.",
            hint="Quantize to the QDQ format (onnxruntime: quant_format=QuantFormat.QDQ), per tensor, to 8 bits.",
        )
    results: list[Value] = []
    for output in node.outputs:
        try:
            shape = reader.sample_shape(output)
        except NotIntegerError:
            shape = ()  # checked again where the value crosses an island's border
        results.append(Float(str(output.name), shape))
    return results


def _read(reader: Reader, node: onnx.Node) -> list[Value]:
    """What the node's outputs are. Raises NotIntegerError for a node that stays in floating point."""
    if node.domain not in ("", "ai.onnx"):
        raise NotIntegerError("no-integer-form")
    if node.op_type == "QuantizeLinear":
        return [_quantize(reader, node)]
    if node.op_type == "DequantizeLinear":
        return [_dequantize(reader, node)]
    if node.op_type in SPLITTERS:
        return SPLITTERS[node.op_type](reader, node)
    function = READERS.get(node.op_type)
    if function is None:
        raise NotIntegerError("no-integer-form")
    return [function(reader, node)]


def _parameters(reader: Reader, node: onnx.Node) -> tuple[np.ndarray, np.ndarray | None, int]:
    """(scale, zero point, axis) of a QuantizeLinear or DequantizeLinear."""
    scale = reader.numbers(node.inputs[1], "q-type")
    zero = reader.numbers(node.inputs[2], "q-type") if len(node.inputs) > 2 else None
    if scale is None or ("block_size" in node.attributes and node.attributes["block_size"].as_int() != 0):
        raise NotIntegerError("q-type")
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 1
    return scale.astype(np.float32), zero, axis


def _activation_type(reader: Reader, node: onnx.Node, integers: onnx.Value) -> ir.QType:
    """The type that an activation's QuantizeLinear or DequantizeLinear states, checked against the device's scheme."""
    return reader.check_type(_stated_type(reader, node, integers), str(node.name))


def _stated_type(reader: Reader, node: onnx.Node, integers: onnx.Value) -> ir.QType:
    """The same unchecked: a QuantizeLinear with preprocessing folded into it scales a graph input, not a tensor."""
    scale, zero, _ = _parameters(reader, node)
    dtype = INT_TYPES.get(onnx.DataType.UNDEFINED if integers.dtype is None else integers.dtype)
    if dtype is None or scale.size != 1:
        raise NotIntegerError("q-type")
    point = 0 if zero is None else int(zero.reshape(()))
    return ir.QType(dtype, float(scale.reshape(())), point)  # type: ignore[arg-type]


def _stored_type(reader: Reader, node: onnx.Node) -> ir.QType | None:
    """The type in which the DequantizeLinear nodes behind a QuantizeLinear read its output; None without any."""
    found: list[ir.QType] = []
    pending = [node.outputs[0]]
    while pending:
        value = pending.pop()
        for consumer in value.consumers():
            if consumer.op_type == "DequantizeLinear" and consumer.inputs[0] is value:
                quant = _activation_type(reader, consumer, value)
                if quant not in found:
                    found.append(quant)
            elif consumer.inputs and consumer.inputs[0] is value:
                pending.extend(consumer.outputs)
    if len(found) > 1:
        raise NotIntegerError("q-dq-mismatch")
    return found[0] if found else None


def _quantize(reader: Reader, node: onnx.Node) -> Value:
    """A QuantizeLinear: gives the pending operator before it its output type."""
    x, output = reader.value(node.inputs[0]), node.outputs[0]
    if isinstance(x, Constant):
        return _quantize_constant(reader, node, x)
    written = _stated_type(reader, node, output)
    stored = _stored_type(reader, node) or reader.check_type(written, str(node.name))
    shape = reader.sample_shape(output)
    if isinstance(x, View):
        held = reader.quant(x.tensor)
        if replace(held, bits=written.bits) == written == stored:
            return Integer(reader.carry_out(x.tensor, x.moves, str(output.name)) if x.moves else x.tensor, shape)
        pending = reader.rescale(reader.tensor(node.inputs[0]), shape)
    else:
        pending = reader.pending(x)
    try:
        return Integer(reader.realise(pending, node, written, stored), shape)
    except NotIntegerError as refusal:
        reader.refusals.setdefault(pending.origin[0] if pending.origin else str(node.name), refusal)
    floating = reader.pending(Float(str(node.inputs[0].name), shape))  # type: ignore[union-attr]
    return Integer(reader.realise(floating, node, written, stored), shape)


def _quantize_constant(reader: Reader, node: onnx.Node, x: Constant) -> Constant:
    scale, zero, axis = _parameters(reader, node)
    dtype = np.uint8 if zero is None else zero.dtype
    spread = Constant(np.asarray(x.real), scale, zero, axis if scale.size > 1 else None)
    steps = np.rint(x.real.astype(np.float32) / spread.spread(scale))
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    points = 0 if zero is None else spread.spread(zero)
    return Constant(np.clip(steps + points, low, high).astype(dtype))


def _dequantize(reader: Reader, node: onnx.Node) -> Value:
    """A DequantizeLinear: of a constant (weights, biases) or of an integer tensor."""
    value = node.inputs[0]
    assert value is not None
    x = reader.value(value)
    if isinstance(x, Constant):
        scale, zero, axis = _parameters(reader, node)
        return Constant(x.q, scale, zero, axis if scale.size > 1 else None)
    quant = _activation_type(reader, node, value)
    if isinstance(x, Integer):
        return View(x.tensor, x.shape, x.moves)
    name = str(value.name)
    if not isinstance(x, Float) or not value.is_graph_input() or reader.tensors[name].quant not in (None, quant):
        raise NotIntegerError("q-type")
    reader.tensors[name] = ir.Tensor(name, x.shape, quant)
    return View(name, x.shape)
