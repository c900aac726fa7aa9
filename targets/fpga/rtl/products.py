"""Constant matrices as adders: da4ml's optimiser finds sums that several outputs share.

Sun et al., da4ml: Distributed Arithmetic for Real-time Neural Networks on FPGAs (2025). da4ml is an optional
dependency under the LGPL: it is called, and nothing of it is part of what is generated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from ....compiler.errors import missing_extra
from .netlist import Interval, Netlist

_ADD, _SUBTRACT, _COPY = 0, 1, -1  # da4ml's opcodes


@dataclass(frozen=True, slots=True)
class Term:
    """± node << left; `node` is -1 for zero."""

    node: int
    left: int = 0
    negative: bool = False


@dataclass(frozen=True)
class _Program:
    """One stage of da4ml's answer: per operation (opcode, first, second, shift of the second), then the outputs."""

    operations: tuple[tuple[int, int, int, int], ...]
    shifts: tuple[int, ...]  # of the inputs
    outputs: tuple[tuple[int, int, bool], ...]  # (operation or -1, shift, negative)


def multiply(netlist: Netlist, matrix: npt.NDArray[np.integer[Any]], inputs: Sequence[int]) -> list[Term]:
    """The products of a constant matrix [out, in] with a vector of nodes, one term per output.

    Raises ToolError `missing-extra` where da4ml is not installed.
    """
    intervals = tuple(netlist.intervals[node] for node in inputs)
    weighty = np.any(matrix != 0, axis=0)
    used = [column for column, interval in enumerate(intervals) if weighty[column] and interval != (0, 0)]
    if not used:
        return [Term(-1)] * len(matrix)
    rows = tuple(tuple(int(weight) for weight in row) for row in matrix[:, used])
    terms = [Term(inputs[column]) for column in used]
    for program in _solve(rows, tuple(intervals[column] for column in used)):
        terms = _build(netlist, program, terms)
    return terms


@lru_cache(maxsize=256)
def _solve(rows: tuple[tuple[int, ...], ...], intervals: tuple[Interval, ...]) -> tuple[_Program, ...]:
    """da4ml's program for a matrix [out, in] of integers and inputs that lie in the intervals."""
    try:
        from da4ml.cmvm import solve
    except ImportError as error:
        raise missing_extra("da4ml", "rtl") from error
    found = solve(
        np.asarray(rows, np.float32).T.copy(),
        qintervals=[(float(low), float(high), 1.0) for low, high in intervals],
        latencies=[0.0] * len(intervals),
    )
    return tuple(_program(stage) for stage in found.solutions)


def _program(stage: Any) -> _Program:
    operations = tuple((op.opcode, op.id0, op.id1, int(op.data)) for op in stage.ops)
    outputs = tuple(zip(stage.out_idxs, stage.out_shifts, stage.out_negs, strict=True))
    return _Program(operations, tuple(int(shift) for shift in stage.inp_shifts), outputs)


def _build(netlist: Netlist, program: _Program, inputs: Sequence[Term]) -> list[Term]:
    """Adds a program's adders to the netlist."""
    terms: list[Term] = []
    for opcode, first, second, shift in program.operations:
        if opcode == _COPY:
            source = inputs[first]
            terms.append(Term(source.node, source.left + program.shifts[first], source.negative))
        elif opcode in (_ADD, _SUBTRACT):
            other = terms[second]
            moved = Term(other.node, other.left + shift, other.negative != (opcode == _SUBTRACT))
            terms.append(add(netlist, terms[first], moved))
        else:
            raise AssertionError(f"da4ml's opcode {opcode} is not one of a constant product")
    found = []
    for number, shift, negative in program.outputs:
        if number < 0:
            found.append(Term(-1))
        else:
            term = terms[number]
            found.append(Term(term.node, term.left + int(shift), term.negative != bool(negative)))
    return found


def add(netlist: Netlist, a: Term, b: Term) -> Term:
    """The sum of two terms: one adder, whatever their signs; shifts below zero stay outside of it."""
    if a.node < 0 or b.node < 0:
        return b if a.node < 0 else a
    if a.negative and not b.negative:
        a, b = b, a
    common = min(a.left, b.left)
    node = netlist.sum(a.node, b.node, a.left - common, b.left - common, minus=a.negative != b.negative)
    return Term(node, common, a.negative and b.negative)


def settle(netlist: Netlist, term: Term, right: int, bias: int) -> int:
    """round_half_even((term + bias) / 2^right) as one node; a negative `right` is a left shift."""
    if term.node < 0:
        return netlist.round_shift(netlist.const(0), right, bias)
    assert term.left >= 0  # integers in, integers out
    return netlist.round_shift(netlist.shift(term.node, term.left), right, bias, term.negative)
