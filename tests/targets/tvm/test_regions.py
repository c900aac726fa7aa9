"""Between the first quantization and the last dequantization stands nothing but the kernels' networks."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import graphs
import pytest
import tvm
from tvm import relax

from prunus.compiler.integer import graph as ir
from prunus.targets.native import split
from prunus.targets.tvm.lower import FUNCTION, MAIN, TRACE, build_module
from prunus.targets.tvm.networks import packed_regions
from prunus.tests.targets.tvm import float_cases, unions


def operators(module: Any, name: str) -> Counter[str]:
    """What a function calls: operators by name, regions as `prunus_network`, functions of the module as `island`."""
    found: Counter[str] = Counter()

    def visit(node: Any) -> None:
        if not isinstance(node, relax.Call):
            return
        if isinstance(node.op, tvm.ir.GlobalVar):
            found["island"] += 1
        elif node.op.name == "relax.call_dps_packed":
            found[str(node.args[0].global_symbol)] += 1
        else:
            found[node.op.name] += 1

    relax.analysis.post_order_visit(module[name], visit)
    return found


def expected(graph: ir.Graph) -> Counter[str]:
    """One call per part, and one cast per float input of a region that is not float32."""
    parts = split(graph)
    regions = [part for part in parts if isinstance(part, ir.Graph)]
    inputs = [region.tensors[name] for region in regions for name in region.inputs]
    casts = sum(tensor.quant is None and tensor.dtype != "float32" for tensor in inputs)
    counts = {FUNCTION: len(regions), "island": len(parts) - len(regions), "relax.astype": casts}
    return Counter({kind: count for kind, count in counts.items() if count})


CASES = {
    "mlp": graphs.mlp()[0],
    "residual": graphs.residual_cnn()[0],
    "depthwise": graphs.depthwise_cnn()[0],
    "every operator": unions.union(unions.golden_cases()).graph,
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("function", [MAIN, TRACE])
def test_regions_are_single_calls(name: str, function: str) -> None:
    assert operators(build_module(CASES[name]), function) == expected(CASES[name])


def test_an_operator_left_to_tvm_would_be_seen() -> None:
    """A float operator emitted beside the calls, as a lowering that misses one would do it."""
    graph = CASES["mlp"]
    module = build_module(graph)
    main = module[MAIN]
    x = relax.Var("x", main.params[0].ty)
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        with builder.dataflow():
            scale, zero = relax.const(0.5, "float32"), relax.const(0, "uint8")
            output = builder.emit_output(relax.op.quantize(x, scale, zero, out_dtype="uint8"))
        builder.emit_func_output(output)
    assert operators(builder.finalize(), "main") == Counter({"relax.quantize": 1}) != expected(graph)


def test_a_layer_refused_by_the_kernels_is_an_island_of_its_own() -> None:
    """What would run in floating point shows as one more island and one more region."""
    graph = CASES["mlp"]
    assert expected(graph) == Counter({FUNCTION: 1, "island": 1})
    relu = float_cases.island("Relu", (5,)).ops[0]
    index = next(i for i, op in enumerate(graph.ops) if isinstance(op, ir.Dequantize))
    dequantized = graph.ops[index].output
    tensors = {**graph.tensors, "extra": replace(graph.tensors[dequantized], name="extra")}
    extra = replace(relu, name="extra_op", inputs=(dequantized,), output="extra")
    more = replace(graph, ops=(*graph.ops, extra), tensors=tensors, outputs=(*graph.outputs, "extra"))
    assert operators(build_module(more), MAIN) == Counter({FUNCTION: 1, "island": 2})


def test_a_trace_stores_no_weights_again() -> None:
    graph = CASES["residual"]
    (region,) = packed_regions(graph)
    weights = sum(op.weight.size for op in graph.ops if isinstance(op, ir.Linear))
    assert weights < len(region.packed) < 2 * weights + 8192
    assert len(region.traced) == len(graph.integer_tensors()) - sum(
        name in graph.integer_tensors() for name in next(p for p in split(graph) if isinstance(p, ir.Graph)).outputs
    )
