"""What of an integer graph runs in logic, and why the rest does not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ....compiler.integer import graph as ir
from ....compiler.integer.requant import is_pow2
from ....compiler.target import Finding
from .lower import LOWER

# Products with a nonzero constant that a fully unrolled network may have: beyond that no device in the catalogue holds
# it, and optimiser and tools take hours.
MAX_PRODUCTS = 20_000
_REQUANTIZE = "Quantize the model for this device; its formats ask for it."
_SHARE = "The hls backend shares multipliers and takes larger networks; or prune until the network fits."


@dataclass(frozen=True)
class Problem:
    """Why an operator has no exact form in logic."""

    code: str
    why: str


@dataclass(frozen=True, eq=False)
class Placement:
    """`ops` run in logic, in graph order; `inputs` and `outputs` are the integer tensors that the host sends and gets
    back; one finding per operator of the graph."""

    ops: tuple[ir.Op, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    findings: tuple[Finding, ...]

    @property
    def refused(self) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.placement == "unsupported")


def place(graph: ir.Graph) -> Placement:
    """Operators with an exact form in logic go there. What comes before the first layer with weights or after the last
    one and has no such form stays with the host; anything else is unsupported."""
    problems = {op.name: problem for op in graph.ops if (problem := _problem(graph, op)) is not None}
    linear = {op.name for op in graph.ops if isinstance(op, ir.Linear)}
    after, before = _downstream(graph, linear), _upstream(graph, linear)
    host: dict[str, Finding] = {}
    refused: dict[str, Finding] = {}
    late: set[str] = set()  # on the host, after the device
    for op in graph.ops:
        problem, name = problems.get(op.name), op.name
        if problem is not None and (name in linear or (name in after and name in before)):
            refused[name] = Finding(name, "unsupported", problem.code, problem.why)
        elif problem is not None:
            host[name] = _on_host(op, problem, first=name in before)
        elif any(graph.producers[x].name in late for x in op.inputs if x in graph.producers):
            host[name] = Finding(name, "host", "host-epilogue", "It reads what the host computes.")
        if name in host and name not in before:
            late.add(name)
    ops = tuple(op for op in graph.ops if op.name not in host and op.name not in refused)
    refused |= _too_large(graph, ops)
    done = {op.name for op in ops}
    findings = tuple(
        refused.get(op.name) or host.get(op.name) or Finding(op.name, "integer", "exact") for op in graph.ops
    )
    return Placement(ops, _inputs(ops), tuple(_outputs(graph, ops, done)), findings)


def products(graph: ir.Graph, op: ir.Op) -> int:
    """Products with nonzero constants that an operator becomes when it is unrolled."""
    if not isinstance(op, ir.Linear):
        return 0
    positions = graph.tensors[op.output].size // len(op.weight)
    return int(np.count_nonzero(op.weight)) * positions


def _too_large(graph: ir.Graph, ops: tuple[ir.Op, ...]) -> Mapping[str, Finding]:
    """The layer with the most products, where there are too many of them."""
    counts = {op.name: products(graph, op) for op in ops}
    total = sum(counts.values())
    if total <= MAX_PRODUCTS:
        return {}
    largest = max(counts, key=lambda name: counts[name])
    why = (
        f"Unrolled, the network has {total:,} products with nonzero weights, {counts[largest]:,} of them here; "
        f"{MAX_PRODUCTS:,} fit, {MAX_PRODUCTS / total:.1%} of them. {_SHARE}"
    )
    return {largest: Finding(largest, "unsupported", "too-large-to-unroll", why)}


def _problem(graph: ir.Graph, op: ir.Op) -> Problem | None:
    if isinstance(op, ir.Quantize):
        return Problem("input-quantization", "The host sends integers of the input's type.")
    if type(op) not in LOWER:
        return Problem(f"no-{op.kind}", f"There is no exact form of '{op.kind}' in logic.")
    if isinstance(op, ir.Fused) and op.requant.scheme == "f32":
        return Problem("scheme-f32", f"The operator multiplies by a float. {_REQUANTIZE}")
    for name in (*op.inputs, *op.outputs):
        quant = graph.tensors[name].quant
        if quant is None:
            return Problem("float", "The operator works on floating-point numbers.")
        if quant.zero_point:
            return Problem("zero-point", f"A tensor has the zero point {quant.zero_point}. {_REQUANTIZE}")
        if graph.scheme == "pow2" and not is_pow2(quant.scale):
            return Problem("scale-not-pow2", f"A scale of {quant.scale:.9g} is no power of two. {_REQUANTIZE}")
    return None


def _on_host(op: ir.Op, problem: Problem, first: bool) -> Finding:
    if isinstance(op, ir.Quantize):
        return Finding(op.name, "host", problem.code, problem.why)
    where = "before the device" if first else "from the results of the device"
    return Finding(
        op.name, "host", "host-prologue" if first else "host-epilogue", f"{problem.why} The host computes it {where}."
    )


def _downstream(graph: ir.Graph, names: set[str]) -> set[str]:
    """Operators that depend on one of `names`."""
    found: set[str] = set()
    for op in graph.ops:
        if {graph.producers[x].name for x in op.inputs if x in graph.producers} & (names | found):
            found.add(op.name)
    return found


def _upstream(graph: ir.Graph, names: set[str]) -> set[str]:
    """Operators that one of `names` depends on."""
    found: set[str] = set()
    for op in reversed(graph.ops):
        if {reader.name for x in op.outputs for reader in graph.consumers.get(x, ())} & (names | found):
            found.add(op.name)
    return found


def _inputs(ops: tuple[ir.Op, ...]) -> tuple[str, ...]:
    made = {name for op in ops for name in op.outputs}
    return tuple(dict.fromkeys(name for op in ops for name in op.inputs if name not in made))


def _outputs(graph: ir.Graph, ops: tuple[ir.Op, ...], done: set[str]) -> Iterator[str]:
    for op in ops:
        for name in op.outputs:
            if name in graph.outputs or any(reader.name not in done for reader in graph.consumers.get(name, ())):
                yield name
