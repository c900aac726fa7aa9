"""Refits a layer for what its ReLU lets through: below zero, any value is as good as any other.

The nonlinear case of Zhang, Zou, He and Sun, Accelerating Very Deep Convolutional Networks (2016). Where the wanted
output is clipped, the goal becomes what the present weights give, or the floor if that is lower; then the layer is
solved anew. No round increases the error behind the ReLU by more than the pull towards the old weights allows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..model.edit import weight
from .layers import Layer
from .least_squares import NormalEquations

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
ROUNDS = 3
MAX_INNER = 1200  # inputs of one output; wider layers take long to solve, and are solved once


def floors(layer: Layer, values: Sequence[Mapping[str, Array]]) -> list[Array] | None:
    """For every piece the layer's outputs below which a ReLU gives zero; None where no ReLU follows directly.

    Behind an addition the floor is what the shortcut, as the changed network has it (`values`), takes away.
    """
    if layer.inner > MAX_INNER or not _is_clipped(layer):
        return None
    if layer.skip is None:
        return [np.zeros(1, np.float32) for _ in values]
    return [-piece[layer.skip] for piece in values]


def _is_clipped(layer: Layer) -> bool:
    reader = _only_reader(layer.node.outputs[0])
    if layer.skip is not None and reader is not None:
        reader = _only_reader(reader.outputs[0])
    if reader is None or len(layer.node.outputs[0].uses()) != 1:
        return False
    if reader.op_type == "Clip":
        least = weight(reader.inputs[1]) if len(reader.inputs) > 1 else None
        return least is not None and float(least) == 0
    return reader.op_type == "Relu"


def _only_reader(value: ir.Value) -> ir.Node | None:
    users = [use.node for use in value.uses()]
    return users[0] if len(users) == 1 and not value.is_graph_output() else None


@dataclass
class ClippedEquations(NormalEquations):
    """Normal equations that keep their rows, to replace the goals of outputs that are clipped."""

    inputs: list[Array] = field(default_factory=list)  # [groups, rows, k] each
    goals: list[Array] = field(default_factory=list)  # [groups, rows, n]
    lowest: list[Array] = field(default_factory=list)  # the floors: [groups, rows, n], or one for all

    def add_clipped(self, a: Array, y: Array, floor: Array) -> None:
        """More rows, as in `add`; `floor` is shaped like y, or is one number."""
        self.add(a, y)
        self.inputs.append(np.ascontiguousarray(np.moveaxis(a, 0, 1)))
        self.goals.append(np.moveaxis(y, 0, 1))
        self.lowest.append(floor if floor.size == 1 else np.moveaxis(floor, 0, 1))

    def solve(self, start: Floats, with_bias: bool) -> tuple[Floats, Floats]:
        """As for plain equations, in rounds; the sums are then those of the last round's goals."""
        weights, bias = super().solve(start, with_bias)
        for _ in range(ROUNDS):
            self._replace_goals(weights, bias)
            weights, bias = super().solve(start, with_bias)
        return weights, bias

    def _replace_goals(self, weights: Floats, bias: Floats) -> None:
        self.cross, self.sum_y, self.sum_yy = np.zeros_like(self.cross), np.zeros_like(self.sum_y), 0.0
        for a, y, floor in zip(self.inputs, self.goals, self.lowest, strict=True):
            found = a @ weights.astype(a.dtype) + bias[:, None].astype(a.dtype)
            goal = np.where(y > floor, y, np.minimum(found, floor))
            self.cross += a.transpose(0, 2, 1) @ goal
            self.sum_y += goal.sum(axis=1, dtype=np.float64)
            self.sum_yy += float(np.square(goal).sum(dtype=np.float64))
