"""Quantizes one float model, as often as asked: with other weight bits, other layers in floating point, other rounding.

Calibration statistics are collected once and kept between attempts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy.typing as npt
import onnx_ir as ir

from ..analysis.ranges import Statistics, collect
from ..config.options import Options
from ..data import Data
from ..integer.graph import QType
from ..model.model import Model
from ..target import Formats, Progress, no_progress
from .calibrate import Calibrated, calibrate
from .plan import Group, Plan, plan
from .preprocess import Affine, Folded, fold, trace
from .qdq import Stored, Writer
from .refine import Refined, refine
from .rounding import Rounding

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Quantized:
    """A QDQ model and how it came about. `kept_affine` are values whose input arithmetic stays in floating point."""

    model: Model
    plan: Plan
    stored: tuple[Stored, ...]
    chosen: Mapping[ir.Value, Calibrated]  # by the first root of a group
    kept_affine: tuple[ir.Value, ...]
    refined: tuple[Refined, ...]


@dataclass(eq=False)
class Quantizer:
    """`model`: float, with types and shapes everywhere; it stays as it is."""

    model: Model
    formats: Formats
    data: Data
    options: Options
    progress: Progress = no_progress
    _statistics: dict[str, Statistics] = field(default_factory=dict)
    _means: dict[str, Array] = field(default_factory=dict)

    def attempt(
        self, rounding: Rounding | None, bits: Mapping[str, int] | None = None, floating: tuple[str, ...] = ()
    ) -> Quantized:
        """Quantizes a copy of the model. `rounding`: None rounds to the nearest without looking at the data.

        bits: of the weights, by node name, where they differ from those of `formats`; floating: nodes left as they are.
        """
        result = self.model.clone(form="quantized")
        planned = plan(result.graph, self.formats, floating)
        outputs = {linear.node: str(linear.output.name) for linear in planned.linears}
        self._collect(result, planned)
        chosen = {
            group.roots[0]: calibrate(group, self._statistics, self.formats, self.options.ranges)
            for group in planned.groups
        }
        stored, kept = self._write(result, planned, chosen, bits or {})
        refined: list[Refined] = []
        if rounding is not None:
            refined = refine(
                self.model,
                result,
                stored,
                outputs,
                self.data,
                rounding,
                correct=self.options.bias_correction,
                seed=self.options.seed,
                progress=self.progress,
            )
        return Quantized(result, planned, stored, chosen, kept, tuple(refined))

    def _collect(self, result: Model, planned: Plan) -> None:
        """Statistics of what no attempt before this one asked for."""
        roots = [root for group in planned.groups for root in group.roots if root.name not in self._statistics]
        axes = {each.inputs[0]: each.input_axis for each in planned.linears if each.inputs[0].name not in self._means}
        if not roots and not axes:
            return
        seen = collect(result, roots, self.data, means=axes, progress=self.progress)
        self._statistics |= seen.statistics
        self._means |= seen.means

    def _write(
        self, result: Model, planned: Plan, chosen: Mapping[ir.Value, Calibrated], bits: Mapping[str, int]
    ) -> tuple[tuple[Stored, ...], tuple[ir.Value, ...]]:
        """Rewrites the graph of `result`; returns the weights and the values whose arithmetic could not be folded."""
        means = {each.node: self._means[str(each.inputs[0].name)] for each in planned.linears}
        writer = Writer(result.graph, planned)
        types: dict[ir.Value, QType] = {}
        kept: list[ir.Value] = []
        for group in planned.groups:
            folded = self._fold_input(group, chosen[group.roots[0]].type, kept)
            type_ = chosen[group.roots[0]].type if folded is None else folded[1].type
            for point in group.points:
                whole = folded if folded is not None and point.value is group.roots[0] else None
                types[writer.activation(point, type_, whole)] = type_
        stored = []
        for linear in planned.linears:
            x = linear.node.inputs[0]
            assert x is not None
            formats = replace(self.formats, weight_bits=bits.get(str(linear.node.name), self.formats.weight_bits))
            correction = means[linear.node] if self.options.bias_correction else None
            stored.append(writer.weights(linear, types[x], correction, formats))
        writer.finish()
        return tuple(stored), tuple(kept)

    def _fold_input(self, group: Group, type_: QType, kept: list[ir.Value]) -> tuple[Affine, Folded] | None:
        """The arithmetic between a graph input and the group's only root, where the quantizer can take it over."""
        if len(group.roots) != 1 or (affine := trace(group.roots[0])) is None:
            return None
        folded = fold(affine, type_, self.formats)
        if folded is None:
            kept.append(group.roots[0])
            return None
        return affine, folded
