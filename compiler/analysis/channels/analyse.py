"""Walks a graph once, operator by operator, and lets each operator's rule move the labels."""

from __future__ import annotations

from ...model.model import Model
from .build import build_channels
from .groups import Channels
from .rules import RULES, unknown
from .shapes import with_shapes
from .trace import Trace


def channel_groups(model: Model, *, whole_heads: bool = False) -> Channels:
    """The coupled channels of a model.

    A width that a reshape splits into attention heads shrinks by the same positions of every head; with `whole_heads`
    it shrinks by heads. (Einsums name both, so there both are free.)

    Constants should be initializers (not Constant nodes) and shapes constant, as after the pass `normalise`; anything
    else stays correct and pins more. A model without inferred shapes is inferred first, on a copy.

    Raises:
        InvalidModelError, UnsupportedError: the shapes contradict each other or cannot be inferred.
    """
    trace = Trace(whole_heads=whole_heads)
    graph = with_shapes(model).graph
    for value in graph.inputs:
        trace.enter(value, "graph-input")
    for node in graph:
        known = node.domain in ("", "ai.onnx") and not trace.pin_captured(node)
        rule = RULES.get(node.op_type, unknown) if known else unknown
        trace.leave(node, rule(trace, node))
    for value in graph.outputs:
        trace.pin(trace.dims(value), "graph-output", value.name or "")
    return build_channels(trace.space, trace.records, trace.known)
