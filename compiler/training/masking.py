"""Zeros that come while training: which weights a schedule switches off, and when."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..analysis.channels.shapes import with_shapes
from ..errors import UsageError
from ..model.edit import weight
from ..model.model import Model
from ..pruning.layers import Layer, product_layers
from ..pruning.patterns import Mask, Pattern
from .function import TorchGraph
from .plans import Gradual, Surgery, Update
from .rules.call import Tensor

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
_NEAR = 0.02  # of a sparsity: what the pattern's units may leave open


class Targets:
    """The layers of a network that can take zeros of a pattern, and the masks for a share of zeros.

    Raises:
        UsageError: no layer can (`nothing-to-prune`).
    """

    def __init__(self, model: Model, pattern: Pattern, scope: str, names: Collection[str]) -> None:
        found, _ = product_layers(with_shapes(model))
        self.pattern, self.scope = pattern, scope
        self.layers = {
            layer.weight.name or "": layer
            for layer in found
            if layer.weight.name in names
            and pattern.fits(layer.inner // layer.taps, layer.outputs.size // layer.groups)
        }
        if not self.layers:
            raise UsageError(
                f"No layer that is trained can take zeros in the pattern {pattern}.",
                code="nothing-to-prune",
                why="Only Conv, Gemm and MatMul with a weight of their own do, in floating point and large enough.",
            )
        self.size = sum(_size(layer) for layer in self.layers.values())

    def masks(self, scores: Mapping[str, Array], sparsity: float) -> dict[str, Mask]:
        """Where weights stay, by name, for this share of zeros; `scores` are shaped as the weights, larger stays."""
        densities = self._densities(scores, 1 - sparsity)
        return {name: self._keep(layer, scores[name], densities[name]) for name, layer in self.layers.items()}

    def realised(self, masks: Mapping[str, Mask]) -> float:
        """The share of zeros of all layers together."""
        return 1 - sum(int(np.count_nonzero(masks[name])) for name in self.layers) / self.size

    def check(self, sparsity: float) -> None:
        """Raises UsageError (`target-out-of-reach`) where whole units of the pattern do not come to that share."""
        rng = np.random.default_rng(0)
        scores = {name: rng.random(_shape(layer)) for name, layer in self.layers.items()}
        found = self.realised(self.masks(scores, sparsity))
        if abs(found - sparsity) > _NEAR:
            raise UsageError(
                f"The schedule cannot reach its target: {100 * sparsity:.1f} % zeros in the pattern {self.pattern}.",
                code="target-out-of-reach",
                why=f"Whole units of the pattern come to {100 * found:.1f} % in the {len(self.layers)} layers it fits.",
                hint="Take a smaller pattern, or a sparsity near that.",
            )

    def _densities(self, scores: Mapping[str, Array], density: float) -> dict[str, float]:
        """Of every layer; in the global scope its share of scores, relative to its mean, above one threshold."""
        if self.scope == "layer" or density >= 1:
            return dict.fromkeys(self.layers, density)
        relative = {name: scores[name] / max(float(scores[name].mean()), 1e-30) for name in self.layers}
        threshold = np.quantile(np.concatenate([each.ravel() for each in relative.values()]), 1 - density)
        return {name: float((each > threshold).mean()) for name, each in relative.items()}

    def _keep(self, layer: Layer, scores: Array, density: float) -> Mask:
        if density >= 1:
            return np.ones(scores.shape, np.bool_)
        matrix = layer.matrix(scores)
        groups, rows, outputs = matrix.shape
        by_tap = matrix.reshape(groups, rows // layer.taps, layer.taps, outputs).transpose(0, 2, 1, 3)
        keep = self.pattern.keep(by_tap, density)
        if self.pattern.kind == "n_m":
            keep |= ~_first_groups(by_tap, keep, self.pattern, density)
        flat = keep.transpose(0, 2, 1, 3).reshape(matrix.shape)
        return np.asarray(layer.unmatrix(flat, np.empty(scores.shape, np.bool_)))


def _first_groups(scores: Floats, keep: Mask, pattern: Pattern, density: float) -> Mask:
    """Of N:M on its way: True in the groups of M inputs that lose their zeros first, those where these cost least."""
    share = min((1 - density) / (1 - pattern.density(1.0)), 1.0)
    width = pattern.size[1]
    groups, taps, inputs, outputs = scores.shape
    lost = np.pad(np.where(keep, 0.0, scores), [(0, 0), (0, 0), (0, -inputs % width), (0, 0)])
    cost = lost.reshape(groups, taps, -1, width, outputs).sum(axis=3)
    chosen = np.zeros(cost.size, np.bool_)
    chosen[np.argsort(cost, axis=None, kind="stable")[: round(share * cost.size)]] = True
    return np.asarray(chosen.reshape(cost.shape).repeat(width, axis=2)[:, :, :inputs])


def _shape(layer: Layer) -> tuple[int, ...]:
    data = weight(layer.weight)
    assert data is not None  # an initializer
    return data.shape


def _size(layer: Layer) -> int:
    return int(np.prod(_shape(layer)))


class GradualMasks:
    """The masks of one run of `Gradual`. Zeros stay, and weights behind them are lost.

    Raises:
        UsageError: see `Targets`; or there are too few steps for a curve (`schedule-too-short`).
    """

    def __init__(self, model: Model, graph: TorchGraph, plan: Gradual, names: Collection[str], steps: int) -> None:
        self.plan, self.graph = plan, graph
        self.targets = Targets(model, plan.pattern, plan.scope, names)
        self.targets.check(plan.target)
        self.masks = {name: np.ones(_shape(layer), np.bool_) for name, layer in self.targets.layers.items()}
        self.updates: list[Update] = []
        self._steps, self._at = steps, frozenset(plan.update_steps(steps))
        if len(self._at) < 2:
            raise UsageError(
                "The training is too short for pruning in steps.",
                code="schedule-too-short",
                why=f"Between {100 * plan.begin:.0f} % and {100 * plan.end:.0f} % of {steps} steps there is no time to "
                "train after a cut.",
                hint="Train for more epochs, in smaller batches, or prune all at once.",
            )
        self._tensors: dict[str, Tensor] = {}
        self._place()

    def before(self, step: int) -> None:
        """Called before every step: updates the masks when it is time."""
        if step not in self._at:
            return
        wanted = self.plan.wanted(step / self._steps)
        if step == max(self._at):
            wanted = self.plan.target
        masks = self._following(wanted)
        spliced = sum(int(np.count_nonzero(mask & ~self.masks[name])) for name, mask in masks.items())
        self.masks = masks
        self.updates.append(Update(step, wanted, self.targets.realised(masks), spliced))
        self._place()
        self.after()

    def stand_ins(self) -> dict[str, Tensor]:
        """What the forward pass sees in place of weights."""
        return {}

    def after(self) -> None:
        """Called after every step: zeros stay."""
        with torch.no_grad():
            for name, mask in self._tensors.items():
                self.graph.parameters[name].mul_(mask)

    def finish(self) -> None:
        """Leaves in the weights what the forward pass saw."""
        self.after()

    def state(self) -> dict[str, Array]:
        """For a checkpoint."""
        rows = [(each.step, each.wanted, each.realised, each.spliced) for each in self.updates]
        return {"updates": np.array(rows, np.float64).reshape(-1, 4), **self.masks}

    def resume(self, state: Mapping[str, Array]) -> None:
        self.updates = [Update(int(row[0]), float(row[1]), float(row[2]), int(row[3])) for row in state["updates"]]
        self.masks = {name: state[name] for name in self.masks}
        self._place()

    def _following(self, wanted: float) -> dict[str, Mask]:
        found = self.targets.masks(self._scores(), wanted)
        return {name: mask & self.masks[name] for name, mask in found.items()}

    def _scores(self) -> dict[str, Array]:
        """Squares of the weights; those that are off have none."""
        return {
            name: np.where(mask, np.square(self.graph.parameters[name].detach().cpu().double().numpy()), 0.0)
            for name, mask in self.masks.items()
        }

    def _place(self) -> None:
        self._tensors = {name: torch.from_numpy(mask).to(self.graph.device) for name, mask in self.masks.items()}


class SurgeryMasks(GradualMasks):
    """The masks of one run of `Surgery`: the whole weights live on behind them."""

    plan: Surgery

    def stand_ins(self) -> dict[str, Tensor]:
        """Masked weights, whose gradients go to the whole ones as if there were no mask."""
        found = {}
        for name, mask in self._tensors.items():
            whole = self.graph.parameters[name]
            found[name] = whole + (whole * mask - whole).detach()
        return found

    def after(self) -> None:
        """Weights behind a mask move, too."""

    def finish(self) -> None:
        super().after()

    def _following(self, wanted: float) -> dict[str, Mask]:
        return self.targets.masks(self._scores(), wanted)

    def _scores(self) -> dict[str, Array]:
        """Squares; of the weights that are on, raised by the distance between the two thresholds."""
        raised = ((1 + self.plan.margin) / (1 - self.plan.margin)) ** 2
        return {
            name: np.square(self.graph.parameters[name].detach().cpu().double().numpy()) * np.where(mask, raised, 1.0)
            for name, mask in self.masks.items()
        }
