"""The border of the generated code: what a program hands in and gets back.

The model in C computes on integers alone. A float input's quantization is a function beside it, which the caller may
use; an 8-bit input's (a picture) is a table of 256 entries inside. Dequantization is a function, too; a terminal
Softmax is the caller's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ...compiler.integer import graph as ir
from ...compiler.integer import ops
from ..network import integer_part

BYTE_TYPES: Mapping[str, ir.IntType] = MappingProxyType({"uint8": "u8", "int8": "s8"})


@dataclass(frozen=True)
class Interface:
    """`core`: the integer operators; its inputs and outputs are integer tensors. `quantize`: core input -> the operator
    that makes it of a graph input. `dequantize`: core output -> the operators that make it float again."""

    core: ir.Graph
    quantize: Mapping[str, ir.Quantize]
    dequantize: Mapping[str, ir.Dequantize]

    def inputs(self) -> list[tuple[str, str]]:
        """(`input_0`, tensor) and so on: what C calls an input, and its tensor in the core."""
        return [(f"input_{index}", name) for index, name in enumerate(self.core.inputs)]

    def outputs(self) -> list[tuple[str, str]]:
        """(`output_0`, tensor) and so on."""
        return [(f"output_{index}", name) for index, name in enumerate(self.core.outputs)]

    def values(self) -> list[tuple[str, str]]:
        """Inputs, then outputs."""
        return [*self.inputs(), *self.outputs()]


def interface(graph: ir.Graph) -> Interface:
    """Splits a graph that `check` has accepted. Raises UnsupportedError where a float layer stands inside."""
    part = integer_part(graph)
    tensors = dict(part.tensors)
    quantize: dict[str, ir.Quantize] = {}
    inputs: dict[str, None] = {}
    body: list[ir.Op] = []
    for op in part.ops:
        source = part.tensors[op.inputs[0]]
        if not isinstance(op, ir.Quantize):
            body.append(op)
        elif source.quant is None and source.dtype in BYTE_TYPES:
            tensors[source.name] = ir.Tensor(source.name, source.shape, ir.QType(BYTE_TYPES[source.dtype], 1.0))
            body.append(_table(part, op))
        else:
            quantize[op.output] = op
            inputs[op.output] = None
    used = {name for op in body for name in op.inputs}
    own = [name for name in part.inputs if name in used and tensors[name].quant is not None]
    produced = {op.output for op in body}
    names = {*own, *inputs, *produced}
    outer = {name: op.inputs[0] for name, op in quantize.items()}
    core = ir.Graph(
        part.name,
        tuple(sorted((*own, *inputs), key=lambda name: part.inputs.index(outer.get(name, name)))),
        part.outputs,
        {name: tensor for name, tensor in tensors.items() if name in names},
        tuple(body),
        scheme=part.scheme,
    )
    dequantize = {op.inputs[0]: op for op in graph.ops if isinstance(op, ir.Dequantize) and op.inputs[0] in names}
    return Interface(core, quantize, dequantize)


def _table(graph: ir.Graph, op: ir.Quantize) -> ir.QLut:
    """The quantization of 8-bit integers as a table."""
    signed = graph.tensors[op.inputs[0]].dtype == "int8"
    values = np.arange(-128, 128) if signed else np.arange(256)
    (table,) = ops.evaluate(graph, op, (values.astype(np.float32),))
    return ir.QLut(name=op.name, inputs=op.inputs, output=op.output, origin=op.origin, table=table)
