"""Integer graph -> Relax module, with a symbolic batch.

The module exports two functions over the same constants and kernels:

* `main`: graph inputs -> tuple of the graph's outputs,
* `trace`: graph inputs -> tuple of every integer tensor, in the order of `Graph.integer_tensors()`; it is what a
  verification compares, in the very library that is shipped.

Every integer operator is one call of a kernel (`calls.py`); a reshape is a view; float islands go through TVM's ONNX
frontend into functions beside them (`islands.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...compiler.errors import ToolError
from ...compiler.integer import graph as ir
from ..bundle import element_type
from . import calls, islands
from .lazy import FAILURES, import_tvm
from .reproducible import canonical_sizes

MAIN, TRACE = "main", "trace"


def build_module(graph: ir.Graph) -> Any:
    """The tvm.IRModule of a graph whose operators `check` has accepted. Raises UnsupportedError for islands that TVM's
    frontend refuses."""
    tvm = import_tvm()
    builder = tvm.relax.BlockBuilder()
    regions = {op.name: islands.add_island(builder, op) for op in graph.ops if isinstance(op, ir.Island)}
    kernels = {op.name: _Kernel(graph, op) for op in graph.ops if type(op) in calls.CALLS}
    for name, results in ((MAIN, graph.outputs), (TRACE, graph.integer_tensors())):
        _Function(graph, builder, regions, kernels).emit(name, results)
    return builder.finalize()


def compile_graph(graph: ir.Graph) -> Any:
    """The graph as a tvm.runtime.Executable for this machine. Raises UnsupportedError, ToolError."""
    tvm = import_tvm()
    module = build_module(graph)
    pipeline = tvm.transform.Sequential([tvm.relax.get_pipeline("default"), canonical_sizes()])
    try:
        return tvm.compile(module, target=tvm.target.Target("llvm"), relax_pipeline=pipeline)
    except FAILURES as error:
        raise ToolError(
            "TVM failed to compile the graph.",
            code="tvm-failed",
            why=str(error)[-500:],
            hint="`prunus check` shows the float parts; quantize them or leave them to the host.",
        ) from error


def needed(graph: ir.Graph, results: Sequence[str]) -> list[ir.Op]:
    """The operators that the tensors `results` depend on, in graph order."""
    wanted = set(results)
    found = []
    for op in reversed(graph.ops):
        if wanted & set(op.outputs):
            found.append(op)
            wanted |= set(op.inputs)
    return found[::-1]


class _Kernel:
    """A kernel call whose constants are Relax constants, made once: both functions share them."""

    def __init__(self, graph: ir.Graph, op: ir.Op) -> None:
        call = calls.kernel_call(graph, op)
        self.function = call.function
        self.parameters, *self.constants = (_constant(array) for array in (call.parameters, *call.constants))


def _constant(array: np.ndarray) -> Any:
    # with the element type spelt out: int64 would silently become int32 otherwise
    return import_tvm().relax.const(np.ascontiguousarray(array), array.dtype.name)


class _Function:
    """One exported function; `values` maps tensor names to Relax variables."""

    def __init__(
        self,
        graph: ir.Graph,
        builder: Any,
        regions: Mapping[str, Any],
        kernels: Mapping[str, _Kernel],
    ) -> None:
        tvm = import_tvm()
        self.relax = tvm.relax
        self.graph, self.builder, self.regions, self.kernels = graph, builder, regions, kernels
        self.batch = tvm.tirx.Var("n", "int64")
        self.values: dict[str, Any] = {}

    def emit(self, name: str, results: Sequence[str]) -> None:
        """Adds the function `name`, which returns the tensors `results` as a tuple."""
        parameters = [self.relax.Var(tensor, self._type(tensor)) for tensor in self.graph.inputs]
        self.values.update(zip(self.graph.inputs, parameters, strict=True))
        with self.builder.function(name, parameters):
            with self.builder.dataflow():
                for op in needed(self.graph, results):
                    self._emit_op(op)
                output = self.builder.emit_output(self.relax.Tuple([self.values[tensor] for tensor in results]))
            self.builder.emit_func_output(output)

    def _type(self, name: str) -> Any:
        tensor = self.graph.tensors[name]
        return self.relax.TensorType((self.batch, *tensor.shape), element_type(tensor))

    def _emit_op(self, op: ir.Op) -> None:
        inputs = [self.values[name] for name in op.inputs]
        if isinstance(op, ir.Island):
            self._emit_island(op, inputs)
        elif isinstance(op, ir.QReshape):
            shape = self.relax.ShapeExpr([self.batch, *self.graph.tensors[op.output].shape])
            self.values[op.output] = self.builder.emit(self.relax.op.reshape(inputs[0], shape))
        else:
            if isinstance(op, ir.Quantize) and element_type(self.graph.tensors[op.inputs[0]]) != "float32":
                inputs = [self.builder.emit(self.relax.op.astype(inputs[0], "float32"))]
            kernel = self.kernels[op.name]
            arguments = self.relax.Tuple([kernel.parameters, *inputs, *kernel.constants])
            call = self.relax.call_dps_packed(kernel.function, arguments, self._type(op.output))
            self.values[op.output] = self.builder.emit(call)

    def _emit_island(self, op: ir.Island, inputs: list[Any]) -> None:
        value = self.builder.emit(self.relax.Call(self.regions[op.name], inputs))
        results = [value]
        if isinstance(value.ty, self.relax.TupleType):
            results = [self.builder.emit(self.relax.TupleGetItem(value, i)) for i in range(len(op.outputs))]
        for name, result in zip(op.outputs, results, strict=True):
            # the frontend loses shapes now and then; the graph knows them
            self.values[name] = self.builder.match_cast(result, self._type(name))
