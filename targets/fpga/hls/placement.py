"""What runs where: a finding per operator, once it is known which of them have an exact form on the device."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from ....compiler.errors import UnsupportedError
from ....compiler.integer import graph as ir
from ....compiler.target import Finding
from .lowering import Lowering

_FLOAT = (ir.Dequantize, ir.Island)
_MOVES = (ir.QReshape, ir.QTranspose)
_MAX_COPIES = 7  # of one stream: hls4ml's clone layer has no more


def crowded(low: Lowering) -> dict[str, int]:
    """Operators by name whose output more layers read than a stream can be copied for, and how many."""
    uses = Counter(source for layer in low.layers for source in layer.inputs)
    counts = {op.name: uses[low.values[op.output].layer] for op in low.graph.ops if op.output in low.values}
    return {name: count for name, count in counts.items() if count > _MAX_COPIES}


def findings(
    graph: ir.Graph, device: set[str], problems: Mapping[str, UnsupportedError], crowded: Mapping[str, int]
) -> tuple[Finding, ...]:
    """`device`: operators that were lowered; `problems`: why the others were not."""
    after, before = _after(graph, device), _before(graph, device)
    return tuple(
        _host(op, op.name in after, op.name in before, problems.get(op.name))
        or _refused(op, problems.get(op.name), crowded.get(op.name, 0))
        or _on_device(graph, op)
        for op in graph.ops
    )


def _after(graph: ir.Graph, device: set[str]) -> set[str]:
    """Operators that depend on one of the device."""
    found: set[str] = set()
    for op in graph.ops:
        sources = {graph.producers[name].name for name in op.inputs if name in graph.producers}
        if sources & (device | found):
            found.add(op.name)
    return found


def _before(graph: ir.Graph, device: set[str]) -> set[str]:
    """Operators that one of the device depends on."""
    found: set[str] = set()
    for op in reversed(graph.ops):
        readers = {reader.name for name in op.outputs for reader in graph.consumers.get(name, ())}
        if readers & (device | found):
            found.add(op.name)
    return found


def _host(op: ir.Op, after: bool, before: bool, problem: UnsupportedError | None) -> Finding | None:
    """The finding of an operator that the host computes before or after the device: anything but a layer with
    weights may stay there, when the device has no exact form of it."""
    if isinstance(op, ir.Quantize) and problem is None and not after:
        return Finding(op.name, "host", "input-quantization", "The host sends integers of the input's type.")
    if problem is None or isinstance(op, ir.Linear) or (after and before):
        return None
    where = f"The host computes it from the {'results' if after else 'inputs'} of the device."
    why = where if isinstance(op, _FLOAT) else f"{problem.what} {where}"
    return Finding(op.name, "host", "host-epilogue" if after else "host-prologue", why)


def _refused(op: ir.Op, problem: UnsupportedError | None, readers: int) -> Finding | None:
    """The finding of an operator that nothing can compute."""
    if problem is not None:
        return Finding(op.name, "unsupported", problem.code, f"{problem.what} {problem.hint or ''}".strip())
    if isinstance(op, ir.Quantize):
        return Finding(op.name, "unsupported", "float-between-layers", "The host would have to compute in between.")
    if readers:
        why = f"{readers} layers read its output; hls4ml copies a stream at most {_MAX_COPIES} times."
        return Finding(op.name, "unsupported", "fan-out", why)
    return None


def _on_device(graph: ir.Graph, op: ir.Op) -> Finding:
    if isinstance(op, _MOVES):
        return Finding(op.name, "integer", "layout-only", "Absorbed into the order of elements.")
    multiplies = isinstance(op, ir.QDepthwise) and len(op.weight) != graph.tensors[op.inputs[0]].shape[0]
    if multiplies or (isinstance(op, ir.QConv) and op.group > 1):
        return Finding(op.name, "integer", "group-expanded", "Runs as a dense convolution with zeros between groups.")
    return Finding(op.name, "integer", "exact")
