"""Features to learn from after a cut: the original's values, narrowed to the channels that are left.

A pruned network's block outputs still mean what they meant: each of their channels has a counterpart to imitate
(Romero et al., FitNets, 2015). Answers alone say too little where samples are few.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..analysis.channels import Channels
from ..analysis.channels.groups import Mask, kept
from ..analysis.channels.shapes import with_shapes
from ..model.edit import fresh_name, infer_shapes, make_initializer
from ..model.model import Model


def kept_features(original: Model, channels: Channels, removed: Mask) -> tuple[Model, dict[str, str]]:
    """(the original with further values, the pruned model's values -> those of it) for `fine_tune`.

    The values are the sums with shortcuts, behind their activation. A network without any has no features.
    """
    teacher = with_shapes(original).clone()
    features: dict[str, str] = {}
    for value in [_behind_activation(node) for node in teacher.graph if _joins(node)]:
        name = value.name or ""
        place = value.producer()
        if place is None:
            continue
        found = name
        for axis, units in channels.places.get(name, {}).items():
            stay = kept(units, removed)
            if not stay.all():
                found = _narrow(teacher, teacher.graph, found, place, axis, np.flatnonzero(stay))
        features[name] = found
    infer_shapes(teacher)
    return teacher, features


def _joins(node: ir.Node) -> bool:
    """Whether a node adds two computed values of one shape."""
    values = [value for value in node.inputs if value is not None and not value.is_initializer()]
    return node.op_type in ("Add", "Sum") and len(values) > 1 and len({str(value.shape) for value in values}) == 1


def _behind_activation(node: ir.Node) -> ir.Value:
    users = [use.node for use in node.outputs[0].uses()]
    return users[0].outputs[0] if len(users) == 1 and users[0].op_type in ("Relu", "Clip") else node.outputs[0]


def _narrow(model: Model, graph: ir.Graph, name: str, behind: ir.Node, axis: int, places: np.ndarray) -> str:
    """A Gather of these places; the name of its result."""
    value = next(output for node in graph for output in node.outputs if output.name == name)
    index = make_initializer(graph, fresh_name(model), places.astype(np.int64))
    gather = ir.node("Gather", [value, index], {"axis": axis}, name=fresh_name(model, "n"))
    gather.outputs[0].name = fresh_name(model)
    graph.insert_after(value.producer() or behind, gather)
    return gather.outputs[0].name or ""
