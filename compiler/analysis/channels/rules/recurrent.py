"""LSTM, GRU and RNN: a hidden unit is one position of every gate, of the recurrence's inputs, and of the state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx_ir as ir

from ..groups import CountPatch, Site
from ..labels import Dim, Dims, Free
from ..trace import Trace, attribute, computed, key, label
from .unknown import pinned

_GATES: Mapping[str, int] = {"RNN": 1, "GRU": 3, "LSTM": 4}
_STATES = (5, 6)  # the inputs initial_h and initial_c
_PEEPHOLES = 3  # blocks of the LSTM's input P


def recurrent(trace: Trace, node: ir.Node) -> Sequence[Dims]:
    """W is [directions, gates * hidden, in], R [directions, gates * hidden, hidden], B [directions, 2 gates * hidden].

    The gates' blocks share labels, and so do both directions of a bidirectional layer: `hidden_size` is one number.
    """
    if attribute(node, "layout", 0) != 0:
        return pinned(trace, node, "unsupported-form")
    x, w, r = (trace.dims(value) for value in node.inputs[:3])
    gates = _GATES[node.op_type]
    steps, batch, directions = x[0], x[1], w[0]
    trace.pin([steps, w[0], r[0]], "spatial", label(node))
    trace.contract(node, (0, 2), (1, 2))
    hidden = trace.tie(trace.tie_rows(w[1], gates), trace.tie_rows(r[1], gates), r[2])
    for rows in (w[1], r[1]):
        trace.role(rows, "producer")
    _recur(trace, node, r[2])
    _tie_optional(trace, node, 3, hidden, 2 * gates)
    _tie_optional(trace, node, 7, hidden, _PEEPHOLES)
    for index in _STATES:
        _tie_optional(trace, node, index, hidden, 1)
    trace.patch(CountPatch(key(node), "hidden_size", trace.labels(hidden)))
    trace.product(node, w[1], w[2], times=steps.size * directions.size)
    trace.product(node, r[1], r[2], times=steps.size * directions.size)
    channels = computed(hidden)
    state: Dims = [trace.fixed(node.outputs[-1], "spatial", label(node))[-3], batch, channels]
    return [[steps, state[0], batch, channels], state, state]


def _recur(trace: Trace, node: ir.Node, inputs: Dim) -> None:
    """The sum over the hidden units of the step before."""
    trace.role(inputs, "consumer")
    operand = node.inputs[2]
    if isinstance(inputs, Free):
        own = inputs.source if operand is not None and operand.is_initializer() else None
        trace.records.sites.append(Site(key(node), 2, 2, inputs.labels, own))


def _tie_optional(trace: Trace, node: ir.Node, index: int, hidden: Dim, blocks: int) -> None:
    """Ties the last dimension of an input, block by block, where the node has it; its directions stay."""
    dims = trace.dims(node.inputs[index]) if len(node.inputs) > index else []
    if dims:
        trace.pin(dims[:1], "spatial", label(node))
        trace.tie(hidden, trace.tie_rows(dims[-1], blocks))
