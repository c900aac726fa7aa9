"""What a residual block is worth. `BLOCK_CRITERIA` is the whole table; scores are divided by the MACs afterwards.

* `influence`   1 - cosine similarity of shortcut and sum (Men et al., ShortGPT: Layers in LLMs are More Redundant Than
                You Expect, 2024)
* `sensitivity` measured: how far the outputs (with labels: the loss) move when the block is gone
* `taylor`      (mean of g over a minibatch)^2, averaged; g the gradient of the loss for a factor of one on the branch
                (Molchanov et al., Importance Estimation for Neural Network Pruning, 2019)
* `obd`         E[g^2] / 2, g that of one sample (LeCun, Denker and Solla, Optimal Brain Damage, 1990)
* `magnitude`   the gain of the branch on white noise: the product of its layers' |W| / sqrt(outputs); needs no data
* `random`      seeded; the baseline that every other one has to beat

The gradients need the extra `train`; labels are used where there are any (see training/gradients.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..analysis.channels.trace import key
from ..data import Data
from ..executor import Session
from ..model.edit import weight
from ..model.model import Model
from .layers import product_layers
from .masked import insert_gate
from .prove import compared_values
from .residual import Block, without_blocks
from .sampling import PIECE, choose
from .scoring.base import needed
from .scoring.gradients import SAMPLES as GRADIENT_SAMPLES
from .scoring.gradients import enough, first_order, second_order
from .scoring.observe import batch_axis
from .scoring.sensitivity import damage

Array = npt.NDArray[Any]
Worth = Callable[[Model, Sequence[Block], Data | None, int], list[float]]  # (model with shapes, blocks, samples, seed)
SAMPLES = 128


def _influence(model: Model, blocks: Sequence[Block], data: Data | None, seed: int) -> list[float]:
    chosen, piece = choose([model], needed(data, "influence", instead="magnitude"), SAMPLES, seed)
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
    chosen, _ = choose([model], needed(data, "sensitivity", instead="magnitude"), SAMPLES, seed)

    def outputs(network: Model) -> list[Array]:
        names = list(compared_values(network))
        found = Session(network, names).run(chosen.inputs, batch=PIECE)
        return [found[name] for name in names]

    whole = outputs(model)
    return [damage(whole, outputs(without_blocks(model, [block])), chosen.labels) for block in blocks]


def _chance(model: Model, blocks: Sequence[Block], data: Data | None, seed: int) -> list[float]:
    return [float(number) for number in np.random.default_rng(seed).uniform(size=len(blocks))]


def _taylor(model: Model, blocks: Sequence[Block], data: Data | None, seed: int) -> list[float]:
    gradients, piece = _branch_gradients(model, blocks, enough(data, "taylor", "magnitude"), seed)
    return [float(score) for score in first_order(gradients, piece)]


def _optimal_brain_damage(model: Model, blocks: Sequence[Block], data: Data | None, seed: int) -> list[float]:
    gradients, _ = _branch_gradients(model, blocks, enough(data, "obd", "magnitude"), seed)
    return [float(score) for score in second_order(gradients)]


def _branch_gradients(
    model: Model, blocks: Sequence[Block], data: Data, seed: int
) -> tuple[npt.NDArray[np.float64], int]:
    """(d loss / d factor of each branch [samples, blocks], samples that ran together)"""
    from ..training import gate_gradients  # torch is an extra

    chosen, piece = choose([model], data, GRADIENT_SAMPLES, seed)
    gated = model.clone()
    ends = {key(node): node for node in gated.graph}
    shapes = {}
    for block in blocks:
        branch = ends[block.end].inputs[block.branch]
        assert branch is not None and branch.shape is not None  # an operand of an addition, shapes are known
        rank, batch = branch.shape.rank(), batch_axis(branch)
        name, _ = insert_gate(gated, ends[block.end], block.branch, [1] * rank)
        shapes[name] = [-1 if axis == batch else 1 for axis in range(rank)]
    found = gate_gradients(model, gated, shapes, chosen, piece, seed)
    return np.concatenate([found[name] for name in shapes], axis=1), piece


def _magnitude(model: Model, blocks: Sequence[Block], data: Data | None, seed: int) -> list[float]:
    gains = {}
    for layer in product_layers(model)[0]:
        array = weight(layer.weight)
        assert array is not None  # a layer's weight
        gains[key(layer.node)] = float(np.linalg.norm(array.astype(np.float64)) / layer.outputs.size**0.5)
    return [float(np.prod([gains.get(name, 1.0) for name in sorted(block.operators)])) for block in blocks]


BLOCK_CRITERIA: Mapping[str, Worth] = {
    "influence": _influence,
    "sensitivity": _sensitivity,
    "taylor": _taylor,
    "obd": _optimal_brain_damage,
    "magnitude": _magnitude,
    "random": _chance,
}
