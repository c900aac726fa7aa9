"""Einsum: letters are labels already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import onnx_ir as ir

from ..labels import Dim, Dims
from ..trace import Trace, computed, label, text
from .unknown import pinned

Term = list[str]  # one name for each dimension: a letter, or …1, …2 from the right for those of an ellipsis


def einsum(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """Equal letters are tied. One that the result lacks is summed over when two operands share it, else reduced.

    No size stands in the equation, so a cut rewrites nothing. Diagonals (a letter twice in one operand) are pinned.
    """
    operands = [trace.dims(value) for value in node.inputs]
    terms, result = parse_equation(text(node, "equation", ""), [len(dims) for dims in operands])
    if any(max(Counter(term).values(), default=1) > 1 for term in (*terms, result)):
        return pinned(trace, node, "unsupported-form")
    places = {
        name: [(index, term.index(name)) for index, term in enumerate(terms) if name in term]
        for name in dict.fromkeys(name for term in terms for name in term)
    }
    out = dict(zip(result, trace.fixed(node.outputs[0], "broadcast", label(node)), strict=True))
    every = []
    for name, found in places.items():
        dims = [operands[index][axis] for index, axis in found]
        every.append(max(dims, key=lambda dim: dim.size))
        if name in out:
            out[name] = _pass(trace, out[name], dims)
        else:
            _sum(trace, node, found, dims)
    if len(operands) > 1:
        trace.product(node, *every)
    return [[out[name] for name in result]]


def _pass(trace: Trace, out: Dim, dims: Sequence[Dim]) -> Dim:
    """A dimension of the result; one operand alone makes it, if that is a weight, a new one."""
    meeting = [dim for dim in dims if dim.size == out.size]
    if len(dims) == 1:
        trace.role(dims[0], "producer")
    return computed(trace.tie(*meeting)) if meeting else out


def _sum(trace: Trace, node: ir.Node, places: Sequence[tuple[int, int]], dims: Sequence[Dim]) -> None:
    if len(dims) < 2:
        trace.pin(dims, "reduced-axis", label(node))
    elif len({dim.size for dim in dims}) > 1:  # one of them is repeated
        trace.pin(dims, "broadcast", label(node))
    else:
        trace.contract(node, places[0], places[1])
        trace.tie(*dims)


def parse_equation(equation: str, ranks: Sequence[int]) -> tuple[list[Term], Term]:
    """The names of the dimensions of operands and result; without `->` the result has the letters that occur once."""
    left, arrow, right = equation.replace(" ", "").partition("->")
    texts = left.split(",")
    counts = [rank - len(term.replace("...", "")) for term, rank in zip(texts, ranks, strict=True)]
    terms = [_names(term, count) for term, count in zip(texts, counts, strict=True)]
    if not arrow:
        letters = Counter(letter for term in texts for letter in term if letter != ".")
        once = "".join(sorted(letter for letter, count in letters.items() if count == 1))
        right = ("..." if "..." in left else "") + once
    return terms, _names(right, max(counts, default=0))


def _names(term: str, hidden: int) -> Term:
    """The letters of a term, and names for the `hidden` dimensions of its ellipsis."""
    before, ellipsis, after = term.partition("...")
    middle = [f"…{number}" for number in range(hidden, 0, -1)] if ellipsis else []
    return [*before, *middle, *after]
