"""What the operators' rules read and write while the graph is walked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ...model.edit import weight
from .build import Records
from .groups import Patch, Product, Role, Site
from .labels import Dim, Dims, Fixed, Free, Labels, LabelSpace, Pin
from .shapes import PRIME, static_dims

Array = npt.NDArray[Any]
Rule = Callable[["Trace", ir.Node], Sequence[Dims]]  # the dimensions of the node's outputs, first ones first


@dataclass
class Trace:
    """What the rules read and write: the dimensions of every value so far, and the records for the cut."""

    space: LabelSpace = field(default_factory=LabelSpace)
    known: dict[str, Dims] = field(default_factory=dict)
    records: Records = field(default_factory=Records)
    whole_heads: bool = False  # a reshape of the last dimension leaves its last part but one free, not its largest

    # Reading

    def dims(self, value: ir.Value | None) -> Dims:
        """The dimensions of a value. An initializer's are made when it is first read, one label per position."""
        if value is None:
            return []
        name = value.name or ""
        if name not in self.known:
            if value.is_initializer():
                sizes = enumerate(static_dims(value))
                self.known[name] = [self._position(size, (name, axis)) for axis, size in sizes]
                self.records.initializers.append(name)
            else:  # only a value from outside this graph
                self.enter(value, "subgraph")
        return self.known[name]

    def _position(self, size: int, source: tuple[str, int]) -> Dim:
        return Free(self.space.fresh(size), source) if size > 1 else Fixed(size, Pin("size-one", source[0]))

    def constant(self, value: ir.Value | None) -> Array | None:
        """The data of an initializer or of a Constant node's tensor; None for anything else."""
        data = weight(value)
        return data if data is not None or value is None else _constant_node(value)

    def integers(self, value: ir.Value | None) -> list[int] | None:
        """A constant list of integers (axes, sizes, a shape); None when it is computed or absent."""
        data = self.constant(value)
        return None if data is None else [int(entry) for entry in np.ravel(data)]

    def probe(self, value: ir.Value) -> tuple[int, ...]:
        """Static sizes with a large prime for the batch, for matching factors."""
        return static_dims(value, PRIME)

    # Writing

    def enter(self, value: ir.Value, code: str) -> None:
        """Gives a value dimensions that are all fixed, for one reason."""
        self.known[value.name or ""] = self.fixed(value, code, value.name or "")

    def fixed(self, value: ir.Value, code: str, where: str) -> Dims:
        return [Fixed(size, Pin(code, where)) for size in static_dims(value)]

    def places(self, node: ir.Node, x: Dims) -> Dims:
        """The dimensions behind batch and channels of an operator on images: new ones, and those of its input stay."""
        self.pin(x[2:], "spatial", label(node))
        return self.fixed(node.outputs[0], "spatial", label(node))[2:]

    def leave(self, node: ir.Node, results: Sequence[Dims]) -> None:
        """Stores a rule's result; outputs that the rule leaves out are fixed and pin what they were made from."""
        for index, output in enumerate(node.outputs):
            if not output.name:
                continue
            if index < len(results):
                sizes = static_dims(output)
                dims = results[index]
                if tuple(dim.size for dim in dims) != sizes:  # a rule and the model disagree: trust neither
                    self.pin(dims, "unsupported-form", label(node))
                    dims = self.fixed(output, "unsupported-form", label(node))
                self.known[output.name] = dims
            else:
                self.known[output.name] = self.fixed(output, "auxiliary-output", label(node))
                if output.uses():
                    self.pin_inputs(node, "auxiliary-output")

    def pin(self, dims: Sequence[Dim], code: str, where: str) -> None:
        """These dimensions never shrink."""
        for dim in dims:
            if isinstance(dim, Free):
                self.space.pin(dim.labels, Pin(code, where))

    def pin_inputs(self, node: ir.Node, code: str) -> None:
        for value in node.inputs:
            self.pin(self.dims(value), code, label(node))

    def pin_captured(self, node: ir.Node) -> bool:
        """Pins what the bodies of an If, Loop or Scan read from outside; whether the node has a body at all."""
        bodies = [graph for attribute in node.attributes.values() for graph in _bodies(attribute)]
        for body in bodies:
            for inner in ir.traversal.RecursiveGraphIterator(body):
                for value in inner.inputs:
                    if value is not None and (value.name in self.known or value.graph is node.graph):
                        self.pin(self.dims(value), "subgraph", label(node))
            self.pin(
                [dim for value in body.outputs for dim in self.known.get(value.name or "", [])], "subgraph", label(node)
            )
        return bool(bodies)

    def tie(self, *dims: Dim) -> Dim:
        """Dimensions of equal size that shrink together, position by position; fixed when one of them is."""
        free = [dim for dim in dims if isinstance(dim, Free)]
        if not free:
            return dims[0]
        for dim in dims:
            if isinstance(dim, Fixed):
                self.space.pin(free[0].labels, dim.pin)
        for other in free[1:]:
            self.space.union(free[0].labels, other.labels)
        return free[0]

    def tie_rows(self, dim: Dim, rows: int) -> Dim:
        """Ties a dimension's `rows` equal consecutive blocks with each other, and returns the first block."""
        blocks = np.arange(dim.size).reshape(rows, -1)
        first = dim.take(blocks[0])
        for block in blocks[1:]:
            self.tie(first, dim.take(block))
        return first

    def labels(self, dim: Dim) -> Labels:
        """One label per position; those of a fixed dimension are new and pinned."""
        if isinstance(dim, Free):
            return dim.labels
        labels = self.space.fresh(dim.size)
        self.space.pin(labels, dim.pin)
        return labels

    def role(self, dim: Dim, role: Role) -> None:
        """What an initializer's axis is to its channels; nothing when the dimension is no initializer's."""
        if isinstance(dim, Free) and dim.source is not None:
            self.records.roles.setdefault(dim.source, set()).add(role)

    def contract(self, node: ir.Node, left: tuple[int, int], right: tuple[int, int], groups: int = 1) -> None:
        """The node sums over two dimensions, each given as (input index, axis); in `groups` parts of the left one."""
        (x_index, x_axis), (w_index, w_axis) = left, right
        x, w = self.dims(node.inputs[x_index])[x_axis], self.dims(node.inputs[w_index])[w_axis]
        block = self.tie_rows(x, groups) if groups > 1 else x  # the same positions go in every part
        self.tie(x if w.size == x.size else block, w)
        if _source(w) is None and _source(x) is not None:
            x, w, x_index, x_axis, w_index = w, x, w_index, w_axis, x_index
        self.role(w, "consumer")
        if isinstance(x, Free):
            operand = node.inputs[w_index]
            weight_axis = _source(w) if operand is not None and operand.is_initializer() else None
            self.records.sites.append(Site(key(node), x_index, x_axis, x.labels, weight_axis))

    def product(self, node: ir.Node, *dims: Dim, times: int = 1) -> None:
        """The node's multiply-accumulates: `times` the product of these dimensions' sizes."""
        fixed = [dim.size for dim in dims if isinstance(dim, Fixed)]
        free = tuple(dim.labels for dim in dims if isinstance(dim, Free))
        self.records.products.append(Product(key(node), times * int(np.prod(fixed, dtype=np.int64)), free))

    def patch(self, patch: Patch) -> None:
        """Something a cut rewrites; its `units` are still labels here."""
        self.records.patches.append(patch)


def label(node: ir.Node) -> str:
    """The node's plain name, or its first output's where it has none."""
    return node.name or key(node)


def key(node: ir.Node) -> str:
    """The name of the node's first output: unique, also in a clone."""
    return next((output.name for output in node.outputs if output.name), "")


def attribute(node: ir.Node, name: str, default: int) -> int:
    """An integer attribute, or its default."""
    found = node.attributes.get(name)
    return default if found is None else found.as_int()


def text(node: ir.Node, name: str, default: str) -> str:
    """A string attribute, or its default."""
    found = node.attributes.get(name)
    return default if found is None else found.as_string()


def axis_of(node: ir.Node, rank: int, default: int) -> int:
    """The attribute `axis`, counted from the front."""
    return attribute(node, "axis", default) % max(rank, 1)


def computed(dim: Dim) -> Dim:
    """The dimension as that of a computed value: no longer an initializer's own."""
    return replace(dim, source=None) if isinstance(dim, Free) else dim


def _source(dim: Dim) -> tuple[str, int] | None:
    return dim.source if isinstance(dim, Free) else None


def _bodies(attribute: ir.Attr) -> tuple[ir.Graph, ...]:
    if attribute.type == ir.AttributeType.GRAPH:
        return (attribute.as_graph(),)
    return tuple(attribute.as_graphs()) if attribute.type == ir.AttributeType.GRAPHS else ()


def _constant_node(value: ir.Value) -> Array | None:
    node = value.producer()
    if node is None or node.op_type != "Constant" or node.domain:
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()
