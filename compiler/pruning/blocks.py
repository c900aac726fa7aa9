"""Removes whole residual blocks: an addition keeps its shortcut, and the branch beside it goes.

Residual networks are ensembles of paths of many lengths, so one block less hurts little (Veit, Wilber and Belongie,
Residual Networks Behave Like Ensembles of Relatively Shallow Networks, 2016). What a block is worth:

* `influence`   1 - cosine similarity of shortcut and sum (Men et al., ShortGPT: Layers in LLMs are More Redundant Than
                You Expect, 2024)
* `sensitivity` measured: how far the outputs (with labels: the loss) move when the block is gone
* `random`      seeded; the baseline

each for the share of the MACs that it saves. Any addition of two computed values of one shape is a candidate, so both
branches of a downsampling block are, but only one of them can go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..analysis.channels import channel_groups
from ..analysis.channels.shapes import with_shapes
from ..analysis.channels.trace import key
from ..data import Data
from ..errors import InvalidModelError, UsageError
from ..executor import Session
from ..model.edit import infer_shapes
from ..model.match import same_shape
from ..model.model import Model
from ..model.rewrite import bypass, constant, insert_before, retype, sweep
from .layers import Layer, product_layers
from .prove import compared_values, random_inputs, relative_error
from .reconstruct import MAX_SAMPLES
from .refit import refit
from .sampling import PIECE, choose, pieces_of
from .scoring.base import needed
from .scoring.sensitivity import damage

Array = npt.NDArray[Any]
SAMPLES = 128
MAX_PROOF_ERROR = 1e-4  # relative, as for channels


@dataclass(frozen=True)
class Block:
    """The branch that computes operand `branch` of the addition `end` (named by its output), and nothing else.

    `operators` are the names of the first outputs of what goes with it; `macs` are theirs, for a batch of one.
    """

    end: str
    branch: int
    operators: frozenset[str]
    macs: int


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


def residual_blocks(model: Model) -> list[Block]:
    """The branches that can go, in graph order. A branch without multiply-accumulates is none."""
    shaped = with_shapes(model)
    macs: dict[str, int] = {}
    for product in channel_groups(shaped).products:
        size = int(np.prod([len(units) for units in product.dims], dtype=np.int64))
        macs[product.node] = macs.get(product.node, 0) + product.constant * size
    blocks = []
    for node in shaped.graph:
        for branch in _branches(node):
            operators = _only_for(shaped.graph, node, branch)
            saved = sum(macs.get(name, 0) for name in operators)
            if saved:
                blocks.append(Block(key(node), branch, operators, saved))
    return blocks


def _branches(node: ir.Node) -> tuple[int, ...]:
    """The operands that an addition could do without: the other one is computed too, and has the result's shape."""
    if node.op_type not in ("Add", "Sum") or node.domain or len(node.inputs) != 2 or node.inputs[0] is node.inputs[1]:
        return ()
    computed = [value for value in node.inputs if value is not None and not value.is_initializer()]
    if len(computed) != 2 or not all(same_shape(value, node.outputs[0]) for value in computed):
        return ()
    return (0, 1)


def _only_for(graph: ir.Graph, end: ir.Node, branch: int) -> frozenset[str]:
    """What computes one operand of the addition and serves nobody else."""
    found: set[ir.Node] = set()
    for node in reversed(list(graph)):
        readers = [(use.node, use.idx) for output in node.outputs for use in output.uses()]
        served = all(reader in found or (reader is end and index == branch) for reader, index in readers)
        if readers and served and not any(output.is_graph_output() for output in node.outputs):
            found.add(node)
    return frozenset(key(node) for node in found)


# -- what a block is worth --------------------------------------------------------------------------------------------


def _influence(model: Model, blocks: Sequence[Block], data: Data | None, seed: int) -> list[float]:
    chosen, piece = choose([model], needed(data, "influence"), SAMPLES, seed)
    ends = {key(node): node for node in model.graph}
    pairs = [(ends[block.end].inputs[1 - block.branch], block.end) for block in blocks]
    names = [(value.name or "" if value is not None else "", end) for value, end in pairs]
    fetch = list(dict.fromkeys(name for pair in names for name in pair))
    inputs = {value.name: value for value in model.graph.inputs}
    session = Session(model, [name for name in fetch if name not in inputs], optimise=False)
    totals, count = np.zeros(len(blocks)), 0
    for feeds in chosen.batches(piece):
        values = {**feeds, **session.run(feeds, batch=PIECE)}
        for number, (shortcut, end) in enumerate(names):
            totals[number] += _cosines(values[shortcut], values[end]).sum()
        count += len(next(iter(feeds.values())))
    return [1 - float(total) / max(count, 1) for total in totals]


def _cosines(one: Array, other: Array) -> npt.NDArray[np.float64]:
    """The cosine similarity of every sample's two values."""
    a, b = (array.reshape(len(array), -1).astype(np.float64) for array in (one, other))
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(norms, np.finfo(np.float64).tiny))


def _sensitivity(model: Model, blocks: Sequence[Block], data: Data | None, seed: int) -> list[float]:
    chosen, _ = choose([model], needed(data, "sensitivity"), SAMPLES, seed)

    def outputs(network: Model) -> list[Array]:
        names = list(compared_values(network))
        found = Session(network, names).run(chosen.inputs, batch=PIECE)
        return [found[name] for name in names]

    whole = outputs(model)
    return [damage(whole, outputs(without_blocks(model, [block])), chosen.labels) for block in blocks]


def _chance(model: Model, blocks: Sequence[Block], data: Data | None, seed: int) -> list[float]:
    return [float(number) for number in np.random.default_rng(seed).uniform(size=len(blocks))]


BLOCK_CRITERIA: Mapping[str, Callable[[Model, Sequence[Block], Data | None, int], list[float]]] = {
    "influence": _influence,
    "sensitivity": _sensitivity,
    "random": _chance,
}


# -- removal ----------------------------------------------------------------------------------------------------------


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


def _saved(chosen: Sequence[Block]) -> int:
    """The MACs that go with the chosen blocks; one inside of another is not counted twice."""
    return sum(block.macs for block in chosen if not any(block.operators < other.operators for other in chosen))


def without_blocks(model: Model, blocks: Sequence[Block]) -> Model:
    """A copy of the model in which each of these additions is its shortcut, and the branches are gone."""
    result = _bridged(model, blocks)
    _clean(result, blocks)
    return result


def _bridged(model: Model, blocks: Sequence[Block]) -> Model:
    """The additions as Identity; the branches are still there, and nobody reads them."""
    result = model.clone()
    nodes = {key(node): node for node in result.graph}
    for block in blocks:
        retype(nodes[block.end], "Identity", [nodes[block.end].inputs[1 - block.branch]])
    return result


def _clean(model: Model, blocks: Sequence[Block]) -> None:
    ends = {block.end for block in blocks}
    sweep(model.graph)
    for node in [node for node in model.graph if key(node) in ends]:
        bypass(node)
    infer_shapes(model)


def _refitted(original: Model, blocks: Sequence[Block], data: Data, seed: int) -> tuple[Model, int]:
    """The shortened model whose later layers were solved anew for what they gave before; how many there are.

    Refitting walks both networks in step, so the dead branches go only afterwards.
    """
    result = _bridged(original, blocks)
    infer_shapes(result)
    layers = _behind(result, {block.end for block in blocks})
    pieces = pieces_of([original, result], data, MAX_SAMPLES, seed)
    fits, _ = refit(original, result, layers, pieces, seed=seed)
    _clean(result, blocks)
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
