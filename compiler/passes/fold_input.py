"""FoldInput: the arithmetic in front of a network becomes one affine step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from ..model.edit import infer_shapes, weight
from ..model.match import dims, is_float, is_op, sole_use
from ..model.model import Model
from ..model.rewrite import constant, graph_of, insert_before, replace_value
from .affine import AFFINE_OPS, Affine, read_affine
from .base import Context, PassResult
from .normal_form.journal import Journal

_MOVEMENT = ("Reshape", "Transpose")


class FoldInput:
    """Preprocessing in the graph becomes x -> Cast? -> Sub(mean)? -> Mul(factor)? -> Transpose or Reshape.

    Any chain of casts, additions, subtractions, multiplications and divisions by scalars right behind a graph input is
    a x + b = (x - m) a with m = -b / a. It is written in that one form, in front of what moves data, so that the first
    QuantizeLinear can take it over: quantizing (x - m) a with scale s and zero point z is quantizing x with scale s / a
    and zero point z + m a / s. Steps that do nothing (m = 0, a = 1) are left out. Constants that differ per channel
    stay where they are, and are noted: one scale cannot express them.
    """

    name: ClassVar[str] = "fold_input"
    summary: ClassVar[str] = "merge input preprocessing into one affine step"
    requires: ClassVar[tuple[str, ...]] = ()
    ensures: ClassVar[tuple[str, ...]] = ("valid", "interface", "sparsity")

    def run(self, model: Model, context: Context) -> PassResult:
        work = model.clone()
        journal = Journal()
        for value in work.graph.inputs:
            chain = _read_chain(value, journal)
            if chain.affine and not chain.is_canonical:
                _rewrite(value, chain, journal)
        if not journal.changed:
            return PassResult(model, False, journal.notes())
        infer_shapes(work)
        return PassResult(work, True, journal.notes())


@dataclass
class _Chain:
    """The nodes right behind a graph input, in order, and the scalar function that they compute."""

    nodes: list[ir.Node] = field(default_factory=list)
    affine: list[ir.Node] = field(default_factory=list)
    function: Affine = field(default_factory=lambda: Affine(np.ones(1), np.zeros(1)))

    @property
    def factor(self) -> float:
        return float(self.function.scale[0])

    @property
    def mean(self) -> float:
        return -float(self.function.shift[0]) / self.factor

    @property
    def is_canonical(self) -> bool:
        """Whether the chain already is Cast? -> Sub? -> Mul? -> movement, or cannot be written so."""
        kinds = [node.op_type for node in self.nodes]
        while kinds and kinds[-1] in _MOVEMENT:
            kinds.pop()
        if kinds and kinds[0] == "Cast":
            kinds.pop(0)
        turned = any(weight(node.inputs[0]) is not None for node in self.affine)  # c - x
        plain = kinds in ([], ["Sub"], ["Mul"], ["Sub", "Mul"]) and not turned
        return plain or self.factor == 0 or not np.isfinite(self.mean)


def _read_chain(value: ir.Value, journal: Journal) -> _Chain:
    """Follows the only reader of each value as long as it casts to float, moves data, or is affine with scalars."""
    chain = _Chain()
    while (use := sole_use(value)) is not None:
        node, index = use
        if is_op(node, *AFFINE_OPS) and is_float(value):
            found = read_affine(node, 0, 1)
            if found is None:
                _note_per_channel(node, journal)
                return chain
            chain.function = chain.function.then(found[1])
            chain.affine.append(node)
        elif index != 0 or not (is_op(node, *_MOVEMENT) or (is_op(node, "Cast") and _starts_floats(node))):
            return chain
        chain.nodes.append(node)
        value = node.outputs[0]
    return chain


def _starts_floats(cast: ir.Node) -> bool:
    return not is_float(cast.inputs[0]) and is_float(cast.outputs[0])


def _note_per_channel(node: ir.Node, journal: Journal) -> None:
    shape = dims(node.outputs[0]) or ()
    if any(isinstance(size, int) and read_affine(node, axis, size) is not None for axis, size in enumerate(shape)):
        journal.declined(
            "input-affine-per-channel",
            node,
            "The preprocessing of an input differs per channel and stays a step of its own.",
            "Scale all channels alike, or leave the first convolution unpadded so that it can take the step in.",
        )


def _rewrite(value: ir.Value, chain: _Chain, journal: Journal) -> None:
    """Writes the chain in canonical form. Nodes that move data, and a Cast in first place, are kept."""
    anchor, last = chain.nodes[0], chain.nodes[-1].outputs[0]
    graph = graph_of(anchor)
    casts = [node for node in chain.nodes if is_op(node, "Cast")]
    moves = [node for node in chain.nodes if is_op(node, *_MOVEMENT)]
    dtype = chain.affine[0].outputs[0].dtype
    assert dtype is not None
    current = value
    if casts:
        current = insert_before(anchor, "Cast", [value], {"to": int(dtype), "saturate": 1}, like=value)
        current.type = ir.TensorType(dtype)
    for op_type, number, idle in (("Sub", chain.mean, 0.0), ("Mul", chain.factor, 1.0)):
        array = np.array(number, dtype.numpy())
        if array != idle:
            current = insert_before(anchor, op_type, [current, constant(anchor, array)], like=current)
    for node in moves:
        node.replace_input_with(0, current)
        current = node.outputs[0]
        current.type = ir.TensorType(dtype)
    if current is value and last.is_graph_output():
        return  # the network is nothing but idle preprocessing
    if current is not last:
        replace_value(last, current)
    graph.remove([node for node in chain.nodes if node not in moves], safe=True)
    journal.did("input-steps-merged", len(chain.affine))
