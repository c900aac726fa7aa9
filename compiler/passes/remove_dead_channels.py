"""RemoveDeadChannels: channels that are constant, or that nobody reads, leave the network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from ..analysis.channels import Channels, Site, channel_groups
from ..analysis.channels.groups import Mask, kept
from ..analysis.channels.trace import key
from ..executor import Session
from ..model.edit import replace_initializer, weight
from ..model.match import Array, operand
from ..model.model import Model
from ..pruning.cut import cut
from ..pruning.prove import compared_values, random_inputs, relative_error
from .base import Context, Note, PassResult
from .constant_channels import Constants, constant_channels, folds_constants, small_slices

THRESHOLD = 1e-6  # of a layer's largest weight. Real dead channels lie around 1e-30, live ones above 1e-3
TOLERANCE = 1e-5  # of the largest output: what the removal may change
_SAMPLES = 5


class RemoveDeadChannels:
    """Removes channels that say nothing: W x + b with x_c = k for every input is W' x' + (b + W_c k) without channel c.

    Constant are: a row of weights up to `threshold` times the layer's largest (its output is the bias); what
    activations, pools, depthwise layers and concatenations make of constants; sums of constants. A padded window keeps
    zeros constant only, since its border sees less of the constant than its inside. Unread are channels whose weights
    are zero, or that small, wherever they are summed over. A channel goes when that holds for every place that it is
    coupled to; one channel of each group always stays. Removals that make others possible are followed up.

    The result is compared with the original on the calibration data, or on random inputs; if it differs by more than
    1e-5 of the largest output, only exact zeros count.
    """

    name: ClassVar[str] = "remove_dead_channels"
    summary: ClassVar[str] = "remove channels that are constant or unread"
    requires: ClassVar[tuple[str, ...]] = ()
    ensures: ClassVar[tuple[str, ...]] = ("valid", "interface", "sparsity")

    def __init__(self, threshold: float = THRESHOLD) -> None:
        self.threshold = threshold

    def run(self, model: Model, context: Context) -> PassResult:
        notes: list[Note] = []
        for threshold in dict.fromkeys((self.threshold, 0.0)):
            result, removed, kept_notes = _remove_all(model, threshold)
            if not removed:
                return PassResult(model, False, (*kept_notes, *notes))
            error = _difference(model, result, context)
            if error <= TOLERANCE:
                text = f"{removed} dead channels removed; outputs within {error:.1e} of the largest"
                return PassResult(result, True, (*kept_notes, *notes, Note("dead-channels-removed", text)))
            notes.append(
                Note(
                    "dead-channels-not-proven",
                    f"Removing {removed} channels with weights below {threshold:g} of the largest changes the outputs "
                    f"by {error:.1e} of the largest; {TOLERANCE:g} is allowed.",
                    hint="They stay. Channel pruning may remove them within the accuracy bound.",
                )
            )
        return PassResult(model, False, tuple(notes))


def _remove_all(model: Model, threshold: float) -> tuple[Model, int, list[Note]]:
    """Removes until nothing more is dead. Returns the model, the number of channels, and notes on what had to stay."""
    total = 0
    while True:
        channels = channel_groups(model)
        constants = constant_channels(model.graph, threshold)
        removal = _plan(model, channels, constants, threshold)
        if not removal.removed.any():
            return model, total, _kept_notes(constants)
        total += int(removal.removed.sum())
        model = _apply(model, channels, removal)


@dataclass(eq=False)
class _Removal:
    """Units to remove, and per consumer what its bias gains."""

    removed: Mask
    bias: dict[str, Array] = field(default_factory=dict)  # by name of the node's first output


def _plan(model: Model, channels: Channels, constants: Constants, threshold: float) -> _Removal:
    nodes = {key(node): node for node in model.graph}
    needed, read = channels.keep_all(), channels.keep_all()
    for site in channels.sites:
        inside = site.units[site.units >= 0]
        read[inside] = True
        vital = site.units[~_dispensable(nodes[site.node], site, constants, threshold)]
        needed[vital[vital >= 0]] = True
    removed = read & ~needed
    for group in channels.groups:
        if group.pinned_because is not None:
            removed[group.units] = False
        elif removed[group.units].all():
            removed[group.first] = False
    removal = _Removal(removed)
    for site in channels.sites:
        _collect_bias(nodes[site.node], site, constants, removal)
    return removal


def _dispensable(node: ir.Node, site: Site, constants: Constants, threshold: float) -> Mask:
    """Per position of the summed dimension: whether the sum can do without it."""
    known = constants.of(node.inputs[site.index]) if site.axis == 1 else None
    if known is None or len(known) != len(site.units):
        known = np.full(len(site.units), np.nan)
    dispensable = np.asarray(known == 0)
    if folds_constants(node, site.index):
        dispensable = dispensable | np.isfinite(known)
    w = weight(operand(node, 1)) if site.index == 0 and site.weight is not None else None
    if w is not None and site.weight is not None and w.shape[site.weight[1]] == len(site.units):
        dispensable = dispensable | small_slices(w, site.weight[1], threshold)
    return dispensable


def _collect_bias(node: ir.Node, site: Site, constants: Constants, removal: _Removal) -> None:
    """b gains W_c k for every removed channel c with the constant k."""
    known = constants.of(node.inputs[site.index]) if site.axis == 1 else None
    if known is None or not folds_constants(node, site.index):
        return
    gone = ~kept(site.units, removal.removed)
    w = weight(operand(node, 1))
    assert w is not None  # folds_constants
    constant = np.where(gone & np.isfinite(known), known, 0.0)
    if constant.any():
        sums = w.astype(np.float64).reshape(w.shape[0], w.shape[1], -1).sum(axis=2)
        removal.bias[site.node] = sums @ constant


def _apply(model: Model, channels: Channels, removal: _Removal) -> Model:
    outputs = {}
    for node in model.graph:
        value = operand(node, 1)
        if key(node) in removal.bias and value is not None:
            units = channels.units.get((value.name or "", 0))
            outputs[key(node)] = slice(None) if units is None else kept(units, removal.removed)
    result = cut(model, channels, removal.removed)
    for node in result.graph:
        if key(node) not in outputs:
            continue
        gain, w, b = removal.bias[key(node)][outputs[key(node)]], weight(operand(node, 1)), weight(operand(node, 2))
        assert w is not None
        node.resize_inputs(3)
        total = gain if b is None else gain + b.reshape(-1)
        replace_initializer(result.graph, node, 2, total.astype(w.dtype))
    return result


def _kept_notes(constants: Constants) -> list[Note]:
    return [
        Note(
            "dead-channels-kept",
            f"Constant input channels stay ({count}): they are not zero, and the layer pads its input.",
            node.name or "",
            "Their contribution differs between border and inside, so no bias can replace it.",
        )
        for node, count in constants.lost.items()
    ]


def _difference(before: Model, after: Model, context: Context) -> float:
    """The largest relative error of any output (and of what goes into a final Softmax)."""
    if context.calibration is not None:
        feeds = dict(context.calibration.first(_SAMPLES).inputs)
    else:
        feeds = random_inputs(before, _SAMPLES, context.options.seed)
    names = compared_values(before)
    expected, found = (Session(model, names, optimise=False).run(feeds) for model in (before, after))
    return max(relative_error(expected[name], found[name]) for name in names)
