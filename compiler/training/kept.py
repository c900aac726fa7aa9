"""Features to learn from after a cut: the original's values, narrowed to the channels that are left.

A pruned network's block outputs still mean what they meant: each of their channels has a counterpart to imitate
(Romero et al., FitNets, 2015). Answers alone say too little where samples are few.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..analysis.channels.shapes import static_dims, with_shapes
from ..data import Data
from ..executor import run_model
from ..model.edit import fresh_name, infer_shapes, make_initializer
from ..model.model import Model
from ..pruning.origins import origins
from ..pruning.sampling import choose

SAMPLES = 64  # that show whether a value still means what it meant
FARTHEST = 0.3  # relative squared error, beyond which too few channels are left to imitate the original


def kept_features(original: Model, pruned: Model, data: Data, seed: int = 0) -> tuple[Model, dict[str, str]]:
    """(the original with further values, the pruned model's values -> those of it) for `fine_tune`.

    The values are the sums with shortcuts, or without any those behind full convolutions; behind their activation.
    Left out are those that mean something else now: of another shape, or far from the original's.
    """
    teacher = with_shapes(original).clone()
    left = {value.name: value for node in with_shapes(pruned).graph for value in node.outputs}
    features: dict[str, str] = {}
    for value in _blocks(teacher):
        name, place = value.name or "", value.producer()
        if name not in left or place is None:
            continue
        sizes, found = list(static_dims(value)), name
        for axis, stay in origins(left[name]).items():
            before = origins(value).get(axis, np.arange(sizes[axis]))  # the original may have been cut itself
            places = np.flatnonzero(np.isin(before, stay))
            found = _narrow(teacher, found, place, axis, places)
            sizes[axis] = len(places)
        if sizes == list(static_dims(left[name])):
            features[name] = found
    infer_shapes(teacher)
    return teacher, _meaningful(teacher, pruned, features, choose([teacher, pruned], data, SAMPLES, seed)[0])


def _blocks(model: Model) -> list[ir.Value]:
    """The values behind blocks, in graph order."""
    nodes, outputs = list(model.graph), list(model.graph.outputs)
    ends = [node for node in nodes if _joins(node)] or [node for node in nodes if _is_full_convolution(node)]
    return [value for value in dict.fromkeys(map(_behind_activation, ends)) if value not in outputs]


def _joins(node: ir.Node) -> bool:
    """Whether a node adds two computed values of one shape."""
    values = [value for value in node.inputs if value is not None and not value.is_initializer()]
    return node.op_type in ("Add", "Sum") and len(values) > 1 and len({str(value.shape) for value in values}) == 1


def _is_full_convolution(node: ir.Node) -> bool:
    """Whether a node mixes channels."""
    return node.op_type == "Conv" and node.attributes.get_int("group", 1) == 1


def _behind_activation(node: ir.Node) -> ir.Value:
    users = [use.node for use in node.outputs[0].uses()]
    return users[0].outputs[0] if len(users) == 1 and users[0].op_type in ("Relu", "Clip") else node.outputs[0]


def _narrow(model: Model, name: str, behind: ir.Node, axis: int, places: npt.NDArray[np.int64]) -> str:
    """A Gather of these places; the name of its result."""
    graph = model.graph
    value = next(output for node in graph for output in node.outputs if output.name == name)
    index = make_initializer(graph, fresh_name(model), places.astype(np.int64))
    gather = ir.node("Gather", [value, index], {"axis": axis}, name=fresh_name(model, "n"))
    gather.outputs[0].name = fresh_name(model)
    graph.insert_after(value.producer() or behind, gather)
    return gather.outputs[0].name or ""


def _meaningful(teacher: Model, pruned: Model, features: dict[str, str], data: Data) -> dict[str, str]:
    """Those that resemble each other."""
    if not features:
        return {}
    ours = run_model(pruned, data.inputs, list(features))
    theirs = run_model(teacher, data.inputs, sorted(set(features.values())))
    return {
        mine: other
        for mine, other in features.items()
        if np.square(ours[mine] - theirs[other]).sum() < FARTHEST * np.square(theirs[other]).sum()
    }
