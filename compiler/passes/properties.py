"""Properties that passes require and ensure; each is checked, none is believed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx

from ..errors import InvalidModelError
from ..model.model import IR_VERSION, Model


def _valid(before: Model, after: Model) -> str | None:
    """The result is valid ONNX at an IR version that every consumer reads."""
    proto = after.to_proto()
    if proto.ir_version > IR_VERSION:
        return f"IR version {proto.ir_version} is above {IR_VERSION}"
    try:
        if proto.ByteSize() < onnx.checker.MAXIMUM_PROTOBUF:
            onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        return str(error)
    return None


def _interface(before: Model, after: Model) -> str | None:
    """Inputs and outputs keep their names, order, types and shapes."""
    for kind in ("inputs", "outputs"):
        old, new = (
            [(value.name, value.dtype, str(value.shape)) for value in getattr(model.graph, kind)]
            for model in (before, after)
        )
        if old != new:
            return f"the graph's {kind} changed from {old} to {new}"
    return None


def _zeros(model: Model) -> dict[str, int]:
    """How many zeros every weight has; vectors are none: a bias holds no structure, and refitting may fill it."""
    zeros = {}
    for name, value in model.graph.initializers.items():
        if value.const_value is not None and len(value.const_value.shape) > 1:
            data = value.const_value.numpy()
            zeros[name] = int(data.size - np.count_nonzero(data))
    return zeros


def _sparsity(before: Model, after: Model) -> str | None:
    """No weight that keeps its name and size loses zeros: structure made by pruning survives."""
    old, new = _zeros(before), _zeros(after)
    for name in sorted(old.keys() & new.keys()):
        shapes = [model.graph.initializers[name].shape for model in (before, after)]
        if str(shapes[0]) == str(shapes[1]) and new[name] < old[name]:
            return f"the weight {after.original(name)!r} had {old[name]} zeros and now has {new[name]}"
    return None


PROPERTIES: Mapping[str, Callable[[Model, Model], str | None]] = {
    "valid": _valid,
    "interface": _interface,
    "sparsity": _sparsity,
}


def check(name: str, names: tuple[str, ...], before: Model, after: Model) -> None:
    """Raises InvalidModelError when the pass `name` broke one of the properties it declares."""
    for each in ("valid", *(key for key in names if key != "valid")):
        problem = PROPERTIES[each](before, after)
        if problem:
            raise InvalidModelError(
                f"The pass '{name}' broke the property '{each}'.",
                code="pass-broke-property",
                why=problem,
                hint="This is a fault of the pass; please report it with the model. `--skip-pass` leaves it out.",
            )
