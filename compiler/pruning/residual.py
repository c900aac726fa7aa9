"""Residual blocks: which branches of a network's additions can go, and the network without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from ..analysis.channels import channel_groups
from ..analysis.channels.shapes import with_shapes
from ..analysis.channels.trace import key
from ..model.edit import infer_shapes
from ..model.match import same_shape
from ..model.model import Model
from ..model.rewrite import bypass, retype, sweep


@dataclass(frozen=True)
class Block:
    """The branch that computes operand `branch` of the addition `end` (named by its output), and nothing else.

    `operators` are the names of the first outputs of what goes with it; `macs` are theirs, for a batch of one.
    """

    end: str
    branch: int
    operators: frozenset[str]
    macs: int


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


def without_blocks(model: Model, blocks: Sequence[Block]) -> Model:
    """A copy of the model in which each of these additions is its shortcut, and the branches are gone."""
    result = bridged(model, blocks)
    clean(result, blocks)
    return result


def bridged(model: Model, blocks: Sequence[Block]) -> Model:
    """The additions as Identity; the branches are still there, and nobody reads them."""
    result = model.clone()
    nodes = {key(node): node for node in result.graph}
    for block in blocks:
        retype(nodes[block.end], "Identity", [nodes[block.end].inputs[1 - block.branch]])
    return result


def clean(model: Model, blocks: Sequence[Block]) -> None:
    """Takes out the Identities of `bridged` and all that nobody reads any more."""
    ends = {block.end for block in blocks}
    sweep(model.graph)
    for node in [node for node in model.graph if key(node) in ends]:
        bypass(node)
    infer_shapes(model)
