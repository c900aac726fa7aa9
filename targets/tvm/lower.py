"""Integer graph -> Relax module, with a symbolic batch.

The module exports two functions over the same networks:

* `main`: graph inputs -> tuple of the graph's outputs,
* `trace`: graph inputs -> tuple of every integer tensor, in the order of `Graph.integer_tensors()`; it is what a
  verification compares, in the very library that is shipped.

Every integer region is one call of `prunus_network` (`src/adapter.cc`), which runs it as a planned network of the
kernels; float islands go through TVM's ONNX frontend into functions beside them (`islands.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...compiler.errors import ToolError
from ...compiler.integer import graph as ir
from ..bundle import element_type
from ..native import split, traced
from . import islands
from .lazy import FAILURES, import_tvm
from .networks import region_numbers
from .platform import Platform
from .reproducible import canonical_sizes

FUNCTION = "prunus_network"
MAIN, TRACE = "main", "trace"


def build_module(graph: ir.Graph) -> Any:
    """The tvm.IRModule of a graph whose operators `check` has accepted. Raises UnsupportedError for islands that TVM's
    frontend refuses."""
    tvm = import_tvm()
    builder = tvm.relax.BlockBuilder()
    functions = {op.name: islands.add_island(builder, op) for op in graph.ops if isinstance(op, ir.Island)}
    for name, results in ((MAIN, graph.outputs), (TRACE, graph.integer_tensors())):
        _Function(graph, builder, functions, trace=name == TRACE).emit(name, results)
    return builder.finalize()


def compile_graph(graph: ir.Graph, platform: Platform) -> Any:
    """The graph as a tvm.runtime.Executable for a platform. Raises UnsupportedError, ToolError."""
    tvm = import_tvm()
    module = build_module(graph)
    pipeline = tvm.transform.Sequential([tvm.relax.get_pipeline("default"), canonical_sizes()])
    try:
        return tvm.compile(module, target=_llvm(platform), relax_pipeline=pipeline)
    except FAILURES as error:
        raise ToolError(
            "TVM failed to compile the graph.",
            code="tvm-failed",
            why=str(error)[-500:],
            hint="`prunus check` shows the float parts; quantize them or leave them to the host.",
        ) from error


def _llvm(platform: Platform) -> Any:
    tvm = import_tvm()
    config = {"kind": "llvm"}
    if platform.triple:
        config["mtriple"] = platform.triple
    if platform.cpu:
        here = tvm.get_global_func("target.llvm_get_system_cpu")
        config["mcpu"] = str(here()) if platform.cpu == "native" else platform.cpu
    return tvm.target.Target(config)


class _Function:
    """One exported function; `values` maps tensor names to Relax variables."""

    def __init__(self, graph: ir.Graph, builder: Any, functions: Mapping[str, Any], *, trace: bool) -> None:
        tvm = import_tvm()
        self.relax = tvm.relax
        self.graph, self.builder, self.functions, self.trace = graph, builder, functions, trace
        self.numbers = region_numbers(graph)
        self.batch = tvm.tirx.Var("n", "int64")
        self.values: dict[str, Any] = {}

    def emit(self, name: str, results: Sequence[str]) -> None:
        """Adds the function `name`, which returns the tensors `results` as a tuple."""
        parameters = [self.relax.Var(tensor, self._type(tensor)) for tensor in self.graph.inputs]
        self.values.update(zip(self.graph.inputs, parameters, strict=True))
        with self.builder.function(name, parameters):
            with self.builder.dataflow():
                for part in split(self.graph):
                    found = self._island(part) if isinstance(part, ir.Island) else self._region(part)
                    self.values.update(found)
                output = self.builder.emit_output(self.relax.Tuple([self.values[tensor] for tensor in results]))
            self.builder.emit_func_output(output)

    def _type(self, name: str) -> Any:
        tensor = self.graph.tensors[name]
        return self.relax.TensorType((self.batch, *tensor.shape), element_type(tensor))

    def _region(self, region: ir.Graph) -> Mapping[str, Any]:
        outputs = traced(region) if self.trace else region.outputs
        marks = [self.relax.prim_value(number) for number in (self.numbers[region.name], int(self.trace))]
        inputs = [self._as_float32(name) for name in region.inputs]
        types = [self._type(name) for name in outputs]
        arguments = self.relax.Tuple([*marks, *inputs])
        called = self.relax.call_dps_packed(FUNCTION, arguments, types if len(types) > 1 else types[0])
        return dict(zip(outputs, self._results(self.builder.emit(called), len(types)), strict=True))

    def _as_float32(self, name: str) -> Any:
        """A network's float inputs are float32."""
        value, tensor = self.values[name], self.graph.tensors[name]
        if tensor.quant is not None or element_type(tensor) == "float32":
            return value
        return self.builder.emit(self.relax.op.astype(value, "float32"))

    def _island(self, op: ir.Island) -> Mapping[str, Any]:
        value = self.builder.emit(self.relax.Call(self.functions[op.name], [self.values[name] for name in op.inputs]))
        # the frontend loses shapes now and then; the graph knows them
        results = self._results(value, len(op.outputs))
        return {
            name: self.builder.match_cast(result, self._type(name))
            for name, result in zip(op.outputs, results, strict=True)
        }

    def _results(self, value: Any, count: int) -> list[Any]:
        if not isinstance(value.ty, self.relax.TupleType):
            return [value]
        return [self.builder.emit(self.relax.TupleGetItem(value, i)) for i in range(count)]
