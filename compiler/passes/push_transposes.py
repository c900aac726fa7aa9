"""PushTransposes: changes of layout cancel, or move to where they cost nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from ..model.edit import infer_shapes, replace_initializer, weight
from ..model.match import attribute_ints, dims, int_list, is_op, is_plain_gemm, operand, rank
from ..model.model import Model
from ..model.rewrite import (
    bypass,
    constant,
    graph_of,
    insert_after,
    insert_before,
    replace_value,
    retype,
    set_attribute,
    sweep,
    take_output,
)
from . import layout
from .base import Context, PassResult
from .layout import Permutation, compose, data_inputs, inverse, is_identity, permutable_rank
from .normal_form import data_movement, pooling
from .normal_form.journal import Journal, apply_rules

_CLEAN_UP = {
    "ReduceMean": (pooling.mean_to_global_pool,),
    "Reshape": (data_movement.remove_no_op, data_movement.canonical_reshape),
}


class PushTransposes:
    """Removes the transpositions that a network inherits from a framework with channels last.

    Pairs:     Transpose(Transpose(x, a), b) = Transpose(x, a o b), nothing where that is the identity.
    Regions:   f(Transpose(x, p)) = Transpose(f'(x), p) for everything that works elementwise or along named axes. A
               connected region of such operators is stored in another order when that leaves fewer transpositions.
    Ends:      W flatten(Transpose(x, p)) = W' flatten(x), W' having its columns permuted; a mean over the map gives the
               same channels in either order; a transposition that moves only dimensions of size one is a reshape.
    """

    name: ClassVar[str] = "push_transposes"
    summary: ClassVar[str] = "cancel transpositions and fold them into weights"
    requires: ClassVar[tuple[str, ...]] = ()
    ensures: ClassVar[tuple[str, ...]] = ("valid", "interface", "sparsity")

    def run(self, model: Model, context: Context) -> PassResult:
        if not any(is_op(node, "Transpose") for node in model.graph):
            return PassResult(model, False)
        work = model.clone()
        journal = Journal()
        while _merge_pairs(work.graph, journal) or _absorb(work.graph, journal) or _flip_regions(work.graph, journal):
            sweep(work.graph)
        _to_reshapes(work.graph, journal)
        for node in _transposes(work.graph):
            if node.inputs[0] is not None and not node.inputs[0].is_graph_input():
                order = ", ".join(str(index) for index in _perm(node))
                journal.declined("transpose-kept", node, f"A transposition to the order [{order}] stays.")
        if not journal.changed:
            return PassResult(model, False, journal.notes())
        apply_rules(work.graph, _CLEAN_UP, journal)
        sweep(work.graph)
        infer_shapes(work)
        return PassResult(work, True, journal.notes())


# -- single transpositions -----------------------------------------------------------------------------------------


def _transposes(graph: ir.Graph) -> Iterator[ir.Node]:
    return (node for node in list(graph) if node.graph is not None and is_op(node, "Transpose"))


def _perm(node: ir.Node) -> Permutation:
    return attribute_ints(node, "perm") or tuple(reversed(range(rank(node.inputs[0]) or 0)))


def _merge_pairs(graph: ir.Graph, journal: Journal) -> bool:
    """Composes stacked transpositions, removes identities, and shares equal ones."""
    changed = False
    seen: dict[tuple[ir.Value | None, Permutation], ir.Node] = {}
    for node in _transposes(graph):
        inner = node.inputs[0].producer() if node.inputs[0] is not None else None
        if inner is not None and is_op(inner, "Transpose"):
            set_attribute(node, "perm", compose(_perm(inner), _perm(node)))
            node.replace_input_with(0, inner.inputs[0])
            changed = True
            journal.did("transposes-removed")
        key = (node.inputs[0], _perm(node))
        if is_identity(_perm(node)) and bypass(node):
            changed = True
            journal.did("transposes-removed")
        elif key in seen and not node.outputs[0].is_graph_output():
            replace_value(node.outputs[0], seen[key].outputs[0])
            graph.remove(node, safe=True)
            changed = True
            journal.did("transposes-removed")
        else:
            seen.setdefault(key, node)
    return changed


def _absorb(graph: ir.Graph, journal: Journal) -> bool:
    """Removes transpositions whose readers can all work in the other order at no cost."""
    changed = False
    for node in _transposes(graph):
        output, source, p = node.outputs[0], node.inputs[0], _perm(node)
        readers = [use.node for use in output.uses()]
        if (
            source is None
            or output.is_graph_output()
            or not readers
            or not all(_absorbs(r, output, p) for r in readers)
        ):
            continue
        for reader in readers:
            _absorb_into(reader, output, p)
        output.replace_all_uses_with(source)
        graph.remove(node, safe=True)
        journal.did("transposes-absorbed")
        changed = True
    return changed


def _to_reshapes(graph: ir.Graph, journal: Journal) -> None:
    """Transpose -> Reshape where only dimensions of size one change places."""
    for node in _transposes(graph):
        source = node.inputs[0]
        shape = data_movement.canonical_shape(dims(node.outputs[0]))
        if source is None or shape is None or not layout.moves_only_ones(source, _perm(node)):
            continue
        retype(node, "Reshape", [source, constant(node, np.array(shape, np.int64))])
        set_attribute(node, "allowzero", 0)
        journal.did("transposes-reshaped")


# -- readers that do not mind the order ----------------------------------------------------------------------------


def _absorbs(reader: ir.Node, value: ir.Value, p: Permutation) -> bool:
    """Whether the reader can take Transpose(value, inverse of p) instead, without a transposition anywhere."""
    if reader.graph is not value.graph:
        return False
    if is_op(reader, "Reshape") and reader.inputs[0] is value and 0 not in (int_list(operand(reader, 1)) or (0,)):
        return layout.moves_only_ones(value, inverse(p)) or bool(_flattened_readers(reader, p))
    if is_op(reader, *layout.REDUCE) and reader.attributes.get_int("keepdims", 1) == 0:
        axes = int_list(operand(reader, 1))
        kept = [p[i] for i in range(len(p)) if axes is not None and i not in {axis % len(p) for axis in axes}]
        return bool(axes) and kept == sorted(kept)
    return False


def _flattened_readers(reshape: ir.Node, p: Permutation) -> list[ir.Node]:
    """The Gemms that read Reshape(x, [batch, features]), perhaps through elementwise functions; [] if others do too."""
    sizes = static_dims_but_batch(reshape.inputs[0])
    shape = dims(reshape.outputs[0])
    if p[0] != 0 or sizes is None or shape is None or len(shape) != 2 or shape[1] != int(np.prod(sizes)):
        return []
    found: list[ir.Node] = []
    pending = [reshape.outputs[0]]
    while pending:
        value = pending.pop()
        if value.is_graph_output():
            return []
        for use in value.uses():
            if use.node.graph is not value.graph:
                return []
            if is_op(use.node, *layout.UNARY) and permutable_rank(use.node) == 2:
                pending.append(use.node.outputs[0])
            elif use.idx == 0 and is_plain_gemm(use.node) and weight(operand(use.node, 1)) is not None:
                found.append(use.node)
            else:
                return []
    return found


def static_dims_but_batch(value: ir.Value | None) -> tuple[int, ...] | None:
    """The dimensions behind the first, where they are numbers."""
    found = dims(value)
    if not found or any(isinstance(dim, str) for dim in found[1:]):
        return None
    return tuple(int(dim) for dim in found[1:])


def _absorb_into(reader: ir.Node, value: ir.Value, p: Permutation) -> None:
    """Prepares the reader for Transpose(value, inverse of p); shapes are still those of the old order."""
    if is_op(reader, *layout.REDUCE):
        axes = sorted(p[axis % len(p)] for axis in int_list(operand(reader, 1)) or ())
        replace_initializer(graph_of(reader), reader, 1, np.array(axes, np.int64))
        return
    sizes = static_dims_but_batch(value)
    if layout.moves_only_ones(value, inverse(p)) or sizes is None:
        return
    q = [index - 1 for index in inverse(p)[1:]]
    for gemm in _flattened_readers(reader, p):
        w = weight(operand(gemm, 1))
        assert w is not None
        replace_initializer(graph_of(gemm), gemm, 1, layout.permute_features(w, sizes, q))


# -- regions -------------------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Region:
    """Connected operators that work in any order of dimensions, in topological order."""

    nodes: list[ir.Node] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inside = set(self.nodes)

    @property
    def entries(self) -> list[ir.Value]:
        """Computed values that the region reads and does not make."""
        read = [node.inputs[index] for node in self.nodes for index in data_inputs(node)]
        outside = [v for v in read if v is not None and weight(v) is None and v.producer() not in self.inside]
        return list(dict.fromkeys(outside))

    @property
    def exits(self) -> list[ir.Value]:
        """Values of the region that something else reads."""
        made = [output for node in self.nodes for output in node.outputs]
        return [value for value in made if value.is_graph_output() or self.readers(value)]

    def readers(self, value: ir.Value) -> list[tuple[ir.Node, int]]:
        """(node, input index) of the value's readers outside of the region."""
        return [(use.node, use.idx) for use in value.uses() if use.node not in self.inside]

    def candidates(self) -> list[Permutation]:
        """The orders in which some transposition at the border would vanish."""
        found = {
            _perm(node) for value in self.entries if is_op(node := value.producer(), "Transpose") and node is not None
        }
        found |= {
            inverse(_perm(node)) for value in self.exits for node, _ in self.readers(value) if is_op(node, "Transpose")
        }
        return sorted(found)

    def saving(self, p: Permutation) -> int:
        """How many transpositions fewer there are in the new order."""
        q, before, after = inverse(p), 0, 0
        for value in self.entries:
            producer = value.producer()
            transposed = producer is not None and is_op(producer, "Transpose")
            before += transposed and not value.is_graph_output() and not self.readers(value)
            after += not (transposed and producer is not None and is_identity(compose(_perm(producer), q)))
        for value in self.exits:
            needs_old_order = value.is_graph_output()
            for node, _ in self.readers(value):
                if is_op(node, "Transpose"):
                    before += 1
                    after += not is_identity(compose(p, _perm(node)))
                else:
                    needs_old_order |= not _absorbs(node, value, p)
            after += needs_old_order
        return before - after


def _regions(graph: ir.Graph) -> list[_Region]:
    """All maximal regions. Readers of the same transposition count as connected."""
    parent: dict[ir.Node, ir.Node] = {node: node for node in graph if permutable_rank(node) is not None}

    def root(node: ir.Node) -> ir.Node:
        while parent[node] is not node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for node in graph:
        group = [use.node for output in node.outputs for use in output.uses() if use.node in parent]
        if is_op(node, "Transpose"):
            linked = group
        elif node in parent:
            linked = [node, *(other for other in group if permutable_rank(other) == permutable_rank(node))]
        else:
            continue
        for other in linked[1:]:
            parent[root(other)] = root(linked[0])
    members: dict[ir.Node, list[ir.Node]] = {}
    for node in parent:
        members.setdefault(root(node), []).append(node)
    return [_Region(nodes) for nodes in members.values()]


def _flip_regions(graph: ir.Graph, journal: Journal) -> bool:
    """Stores each region in the order that saves most transpositions, where one saves any."""
    changed = False
    for region in _regions(graph):
        saving, p = max(((region.saving(p), p) for p in region.candidates()), default=(0, ()))
        if saving > 0:
            _flip(region, p)
            _merge_pairs(graph, journal)
            sweep(graph)
            changed = True
    return changed


def _flip(region: _Region, p: Permutation) -> None:
    """Stores every value of the region in the new order; transposes at the border where that is needed."""
    q = inverse(p)
    _move_exits(region, p)
    turned: dict[ir.Value, ir.Value] = {}
    entries = set(region.entries)
    for node in region.nodes:
        for index in data_inputs(node):
            value = node.inputs[index]
            if value is None or value not in entries:
                continue
            if value not in turned:
                shape = layout.permuted_shape(value, q)
                turned[value] = insert_before(node, "Transpose", [value], {"perm": q}, like=value, shape=shape)
            node.replace_input_with(index, turned[value])
        layout.permute_operator(node, p)
        for output in node.outputs:
            output.shape = ir.Shape(layout.permuted_shape(output, q))


def _move_exits(region: _Region, p: Permutation) -> None:
    """Lets readers outside of the region read the new order, through a transposition unless they absorb it."""
    for value in region.exits:
        needs = []
        for node, index in region.readers(value):
            if not is_op(node, "Transpose") and _absorbs(node, value, p):
                _absorb_into(node, value, p)
            else:
                needs.append((node, index))
        if not needs and not value.is_graph_output():
            continue
        producer = value.producer()
        assert producer is not None
        old = insert_after(producer, "Transpose", [value], {"perm": p}, like=value)
        for node, index in needs:
            node.replace_input_with(index, old)
        take_output(value, old)
