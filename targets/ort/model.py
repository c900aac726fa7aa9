"""The integer graph as an ONNX model: one node of domain `prunus` per integer region, float islands as they were."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ...compiler.errors import LimitError, UnsupportedError
from ...compiler.integer import graph as ir
from ..bundle import element_type
from ..native import pack, split, traced

DOMAIN, OPERATOR, VERSION = "prunus", "Network", 1
IR_VERSION, OPSET = 10, 21
BATCH = "n"
LARGEST_BYTES = (2 << 30) - 1  # of a protobuf file


def build_model(graph: ir.Graph, *, trace: bool = False, timed: int = 0) -> onnx.ModelProto:
    """The model; with `trace`, every integer tensor is an output after the graph's own.

    timed: how many candidate kernels per layer are timed when a session is created; 0 relies on the limit model.
    Raises UnsupportedError, and LimitError where the model does not fit a file.
    """
    builder = _Builder(graph, timed)
    for part in split(graph):
        if isinstance(part, ir.Island):
            builder.add_island(part)
        else:
            builder.add_region(part, traced(part) if trace else part.outputs)
    extra = [name for name in graph.integer_tensors() if name not in graph.outputs] if trace else []
    return builder.finish([*graph.outputs, *extra])


class _Builder:
    def __init__(self, graph: ir.Graph, timed: int) -> None:
        self.graph, self.timed = graph, timed
        self.proto = onnx.GraphProto(name="network")
        self.opsets: dict[str, int] = {}
        self.cast: dict[str, str] = {}  # tensor -> its float32 version

    def add_region(self, region: ir.Graph, outputs: Sequence[str]) -> None:
        """The packed network is an initializer, the node's first input."""
        packed = f"{region.name}_packed"
        data = np.frombuffer(pack(region, outputs), np.uint8)
        self.proto.initializer.append(numpy_helper.from_array(data, packed))
        inputs = [packed, *(self._as_float(region.tensors[name]) for name in region.inputs)]
        node = helper.make_node(OPERATOR, inputs, list(outputs), name=region.name, domain=DOMAIN)
        if self.timed:
            node.attribute.append(helper.make_attribute("timed", self.timed))
        self.proto.node.append(node)
        self.proto.value_info.extend(self._info(name) for name in outputs if name not in self.graph.outputs)

    def _as_float(self, tensor: ir.Tensor) -> str:
        """The float32 version of a float tensor of another type; the same name otherwise."""
        if tensor.quant is not None or tensor.dtype == "float32":
            return tensor.name
        if tensor.name not in self.cast:
            self.cast[tensor.name] = name = f"{tensor.name}_float32"
            cast = helper.make_node("Cast", [tensor.name], [name], name=name, to=onnx.TensorProto.FLOAT)
            self.proto.node.append(cast)
        return self.cast[tensor.name]

    def add_island(self, op: ir.Island) -> None:
        """The island's nodes, its own names behind a prefix."""
        model = onnx.load_model_from_string(op.model)
        for opset in model.opset_import:
            if self.opsets.setdefault(opset.domain, opset.version) != opset.version:
                raise UnsupportedError(
                    "Float regions of the model come from different versions of ONNX.",
                    code="mixed-opsets",
                    where=op.name,
                    why=f"One needs version {self.opsets[opset.domain]}, another version {opset.version}.",
                )
        ends = zip((*model.graph.input, *model.graph.output), (*op.inputs, *op.outputs), strict=True)
        _rename(model.graph, {value.name: name for value, name in ends}, f"{op.name}_")
        self.proto.initializer.extend(model.graph.initializer)
        self.proto.node.extend(model.graph.node)
        self.proto.value_info.extend(self._info(name) for name in op.outputs if name not in self.graph.outputs)

    def _info(self, name: str) -> onnx.ValueInfoProto:
        tensor = self.graph.tensors[name]
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(element_type(tensor)))
        return helper.make_tensor_value_info(name, kind, [BATCH, *tensor.shape])

    def finish(self, outputs: Iterable[str]) -> onnx.ModelProto:
        self.proto.input.extend(self._info(name) for name in self.graph.inputs)
        self.proto.output.extend(self._info(name) for name in outputs)
        opsets = {"": OPSET} | self.opsets | {DOMAIN: VERSION}
        imports = [helper.make_opsetid(domain, version) for domain, version in sorted(opsets.items())]
        weights = sum(len(tensor.raw_data) for tensor in self.proto.initializer)
        if weights > LARGEST_BYTES:
            raise LimitError(
                "The model is too large for one ONNX file.",
                code="file-limit",
                why="A protobuf file holds less than 2 GiB.",
                hint="Prune or quantize it further.",
            )
        return onnx.ModelProto(ir_version=IR_VERSION, producer_name="prunus", graph=self.proto, opset_import=imports)


def _rename(graph: onnx.GraphProto, names: Mapping[str, str], prefix: str) -> None:
    """Gives every value and node of a graph and its subgraphs the new name, or its own behind the prefix."""

    def new(name: str) -> str:
        return names.get(name, prefix + name) if name else ""

    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = new(value.name)
    for node in graph.node:
        node.name = prefix + node.name if node.name else ""
        node.input[:] = [new(name) for name in node.input]
        node.output[:] = [new(name) for name in node.output]
        for attribute in node.attribute:
            for inner in (*((attribute.g,) if attribute.HasField("g") else ()), *attribute.graphs):
                _rename(inner, names, prefix)
