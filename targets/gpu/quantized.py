"""The int8 network for GPU runtimes: the standard QDQ model, its biases in floating point.

TensorRT takes QDQ models whose activations and weights are s8 with zero point 0. It refuses the int32 biases behind a
DequantizeLinear that onnxruntime's tools write ("only activation types allowed as input to this layer"), so these
become the real numbers that they stand for; onnxruntime's GPU providers take both forms.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from ...compiler.errors import ToolError, UnsupportedError
from ...compiler.executor import Session
from ...compiler.integer import graph as ir
from ...compiler.integer import ops
from ...compiler.model.model import Model
from ...compiler.model.save import with_user_names
from ..bundle import sample_inputs

Array = npt.NDArray[Any]
MIN_SQNR_DB = 20.0  # of onnxruntime's outputs against the reference: rounding alone leaves far more


def quantized_model(model: Model) -> onnx.ModelProto:
    """The QDQ model with float biases, the user's safe input and output names back."""
    return with_float_biases(with_user_names(model).to_proto())


def with_float_biases(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Replaces every DequantizeLinear of an int32 constant by the float constant that it computes.

    Raises UnsupportedError where an activation or a weight has another zero point than 0: TensorRT refuses it.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    constants = {tensor.name: tensor for tensor in copy.graph.initializer}
    kept = []
    for node in copy.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            _refuse_offset(node, constants)
        source = constants.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if source is None or source.data_type != onnx.TensorProto.INT32:
            kept.append(node)
            continue
        integers, scale = numpy_helper.to_array(source), numpy_helper.to_array(constants[node.input[1]])
        floats = (integers.astype(np.float32) * scale).astype(np.float32)
        copy.graph.initializer.append(numpy_helper.from_array(floats, node.output[0]))
    del copy.graph.node[:]
    copy.graph.node.extend(kept)
    used = {name for node in kept for name in node.input}
    for tensor in [tensor for tensor in copy.graph.initializer if tensor.name not in used]:
        copy.graph.initializer.remove(tensor)
    return copy


def _refuse_offset(node: onnx.NodeProto, constants: Mapping[str, onnx.TensorProto]) -> None:
    zero_point = constants.get(node.input[2]) if len(node.input) > 2 else None
    if zero_point is not None and np.any(numpy_helper.to_array(zero_point)):
        raise UnsupportedError(
            "A quantized tensor has a zero point other than 0.",
            code="zero-point",
            where=node.name,
            why="TensorRT takes symmetric quantization alone.",
            hint="Give the float model: it is then quantized the way the device wants.",
        )


@dataclass(frozen=True)
class Agreement:
    """How onnxruntime's outputs of the int8 model compare with the integer reference, on the CPU."""

    equal: float  # share of equal elements
    sqnr_db: float | None  # None: no difference at all

    def as_dict(self) -> dict[str, float | None]:
        return {"equal": self.equal, "sqnr_db": self.sqnr_db}


def agreement(proto: onnx.ModelProto, graph: ir.Graph, samples: int = 8) -> Agreement:
    """Runs the int8 model in onnxruntime on the CPU beside the integer reference. Raises ToolError where the outputs
    differ by more than rounding can explain (below MIN_SQNR_DB)."""
    feeds = sample_inputs(graph, samples)
    expected = ops.run(graph, feeds)
    session = Session(proto)
    found = session.run(dict(zip(session.inputs, feeds.values(), strict=True)))
    pairs = [(found[name], expected[own]) for name, own in zip(session.outputs, graph.outputs, strict=True)]
    equal = sum(int((a == b).sum()) for a, b in pairs) / max(sum(b.size for _, b in pairs), 1)
    noise = sum(float(((a.astype(np.float64) - b) ** 2).sum()) for a, b in pairs)
    signal = sum(float((b.astype(np.float64) ** 2).sum()) for _, b in pairs)
    sqnr_db = 10 * float(np.log10(max(signal, 1e-300) / noise)) if noise else None
    if sqnr_db is not None and sqnr_db < MIN_SQNR_DB:
        raise ToolError(
            "onnxruntime computes something else from the int8 model than the integer reference.",
            code="qdq-differs",
            why=f"Outputs are {sqnr_db:.1f} dB from the reference; rounding alone leaves {MIN_SQNR_DB:g} dB or more.",
            hint="Please report it with the model.",
        )
    return Agreement(equal, sqnr_db)
