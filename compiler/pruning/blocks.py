"""Removes whole residual blocks: an addition keeps its shortcut, and the branch beside it goes.

Residual networks are ensembles of paths of many lengths, so one block less hurts little (Veit, Wilber and Belongie,
Residual Networks Behave Like Ensembles of Relatively Shallow Networks, 2016). Blocks go in the order of what they are
worth (block_criteria.py) for each share of the MACs that they save. Any addition of two computed values of one shape is
a candidate, so both branches of a downsampling block are, but only one of them can go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..analysis.channels import channel_groups
from ..analysis.channels.shapes import with_shapes
from ..analysis.channels.trace import key
from ..data import Data
from ..errors import InvalidModelError, UsageError
from ..executor import Session
from ..model.edit import infer_shapes
from ..model.model import Model
from ..model.rewrite import constant, insert_before
from .block_criteria import BLOCK_CRITERIA
from .layers import Layer, product_layers
from .prove import compared_values, random_inputs, relative_error
from .reconstruct import MAX_SAMPLES
from .refit import refit
from .residual import Block, bridged, clean, residual_blocks, without_blocks
from .sampling import pieces_of

MAX_PROOF_ERROR = 1e-4  # relative, as for channels


@dataclass(frozen=True, eq=False)
class Shortened:
    """The model without `blocks`, and the MACs for a batch of one. `refitted` layers made up for the loss."""

    model: Model
    blocks: tuple[Block, ...]
    macs_before: int
    macs_after: int
    met: bool
    proof_error: float
    refitted: int


def shorten(
    model: Model,
    fraction: float,
    criterion: str = "influence",
    *,
    data: Data | None = None,
    reconstruct: bool = True,
    seed: int = 0,
) -> Shortened:
    """Removes the blocks that matter least until `fraction` of the MACs is gone, proves it, and refits what follows.

    `met` is False when no more blocks can go.

    Raises:
        UsageError: `fraction` is not in [0, 1) (code `bad-sparsity`), the criterion is unknown (`unknown-criterion`) or
            lacks data (`needs-data`).
        InvalidModelError: the removal is not what was meant (code `proof-failed`).
    """
    if not 0 <= fraction < 1:
        raise UsageError(f"The sparsity {fraction} is not a share of the MACs.", code="bad-sparsity")
    if criterion not in BLOCK_CRITERIA:
        raise UsageError(
            f"There is no criterion for blocks called '{criterion[:64]}'.",
            code="unknown-criterion",
            hint=f"Criteria: {', '.join(BLOCK_CRITERIA)}.",
        )
    original = with_shapes(model)
    before = channel_groups(original).macs()
    candidates = residual_blocks(original)
    worth = BLOCK_CRITERIA[criterion](original, candidates, data, seed) if candidates else []
    price = [score / block.macs for score, block in zip(worth, candidates, strict=True)]
    order = sorted(range(len(candidates)), key=lambda number: (price[number], number))
    chosen: list[Block] = []
    gone: set[str] = set()
    for number in order:
        block = candidates[number]
        if _saved(chosen) >= fraction * before:
            break
        if block.end not in gone and not any(block.end == other.end for other in chosen):
            chosen.append(block)
            gone |= block.operators
    result, refitted = without_blocks(original, chosen), 0
    error = prove_blocks(original, chosen, result, seed=seed)
    if not error <= MAX_PROOF_ERROR:
        raise InvalidModelError(
            "The model without the blocks does not compute what the original computes with their branches zeroed.",
            code="proof-failed",
            where=", ".join(block.end for block in chosen),
            why=f"Largest relative difference {error:.1e}, allowed {MAX_PROOF_ERROR:.0e}.",
        )
    if chosen and reconstruct and data is not None:
        result, refitted = _refitted(original, chosen, data, seed)
    after = channel_groups(result).macs()
    met = after <= before * (1 - fraction)
    return Shortened(result, tuple(chosen), before, after, met, error, refitted)


def remove_blocks(model: Model, blocks: Sequence[Block], data: Data, seed: int = 0) -> Model:
    """The model without exactly these blocks, what follows refitted for what it gave before."""
    return _refitted(with_shapes(model), blocks, data, seed)[0] if blocks else model


def _saved(chosen: Sequence[Block]) -> int:
    """The MACs that go with the chosen blocks; one inside of another is not counted twice."""
    return sum(block.macs for block in chosen if not any(block.operators < other.operators for other in chosen))


def _refitted(original: Model, blocks: Sequence[Block], data: Data, seed: int) -> tuple[Model, int]:
    """The shortened model whose later layers were solved anew for what they gave before; how many there are.

    Refitting walks both networks in step, so the dead branches go only afterwards.
    """
    result = bridged(original, blocks)
    infer_shapes(result)
    layers = _behind(result, {block.end for block in blocks})
    pieces = pieces_of([original, result], data, MAX_SAMPLES, seed)
    fits, _ = refit(original, result, layers, pieces, seed=seed)
    clean(result, blocks)
    return result, len(fits)


def _behind(model: Model, changed: set[str]) -> list[Layer]:
    """The layers that can be refitted among those that the changed values reach and an output still depends on."""
    reached, alive = set(changed), {value.name or "" for value in model.graph.outputs}
    for node in model.graph:
        if any(value is not None and value.name in reached for value in node.inputs):
            reached.update(output.name or "" for output in node.outputs)
    for node in reversed(list(model.graph)):
        if any(output.name in alive for output in node.outputs):
            alive.update(value.name or "" for value in node.inputs if value is not None)
    return [layer for layer in product_layers(model)[0] if layer.inputs in reached and layer.result in alive]


def prove_blocks(original: Model, blocks: Sequence[Block], shortened: Model, samples: int = 5, seed: int = 0) -> float:
    """The largest relative difference between the shortened model and the original with the branches times zero."""
    zeroed = with_shapes(original).clone()
    nodes = {key(node): node for node in zeroed.graph}
    for block in blocks:
        end = nodes[block.end]
        value = end.inputs[block.branch]
        assert value is not None  # an operand of an addition
        zero = constant(end, np.zeros((), dtype=(value.dtype or ir.DataType.FLOAT).numpy()))
        end.replace_input_with(block.branch, insert_before(end, "Mul", [value, zero], like=value))
    feeds = random_inputs(original, samples, seed)
    names, others = compared_values(zeroed), compared_values(shortened)
    expected = Session(zeroed, names, optimise=False).run(feeds, batch=1)
    found = Session(shortened, others, optimise=False).run(feeds, batch=1)
    return max(relative_error(expected[one], found[other]) for one, other in zip(names, others, strict=True))
