"""Nodes that move data: one kind of reshape, and none that moves nothing."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ...model.edit import weight
from ...model.match import Dims, attribute_ints, dims, int_list, is_op, operand, same_shape, scalar, static_dims
from ...model.rewrite import bypass, constant, graph_of, retype, set_attribute
from .journal import Journal


def remove_no_op(node: ir.Node, journal: Journal) -> bool:
    """Identity, inference Dropout, and casts, pads, transposes, ... that change nothing: x -> x."""
    if not _is_no_op(node, journal):
        return False
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        return False
    if not bypass(node):
        if node.op_type == "Identity":
            return False  # a graph output that is an input, a constant or a second output needs one
        node.resize_outputs(1)
        retype(node, "Identity", [node.inputs[0]])
    journal.did("no-op-removed")
    return True


def _is_no_op(node: ir.Node, journal: Journal) -> bool:
    source, output = node.inputs[0], node.outputs[0]
    if source is None:
        return False
    match node.op_type:
        case "Identity":
            return True
        case "Dropout":
            if (scalar(operand(node, 2)) or 0) != 0:
                journal.declined(
                    "training-dropout",
                    node,
                    "A Dropout in training mode was treated as inference: it passes its input on.",
                )
            return True
        case "Cast":
            return source.dtype is not None and source.dtype == node.attributes.get_int("to")
        case "Pad":
            return not any(int_list(operand(node, 1)) or (1,))
        case "Transpose":
            perm = attribute_ints(node, "perm")
            return perm is not None and perm == tuple(range(len(perm)))
        case "Concat" | "Sum" | "Max" | "Min" | "Mean":
            return len(node.inputs) == 1
        case "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten" | "Expand":
            return _keeps_shape(source, output)
        case "Slice":
            return same_shape(source, output) and all(step == 1 for step in int_list(operand(node, 4)) or (1,))
        case "Add" | "Sub" | "Mul" | "Div":
            return _adds_nothing(node)
    return False


def _keeps_shape(source: ir.Value, output: ir.Value) -> bool:
    """Same dimensions; one of them may be symbolic under two names, since the number of elements is the same."""
    before, after = dims(source), dims(output)
    if before is None or after is None or len(before) != len(after):
        return False
    unlike = [pair for pair in zip(before, after, strict=True) if pair[0] != pair[1] or pair[0] == "?"]
    return len(unlike) == 0 or (len(unlike) == 1 and all(isinstance(dim, str) for dim in unlike[0]))


def _adds_nothing(node: ir.Node) -> bool:
    """x + 0, x - 0, x * 1, x / 1 with a constant second operand that does not broadcast x."""
    array, source = weight(operand(node, 1)), node.inputs[0]
    if array is None or source is None or not same_shape(source, node.outputs[0]):
        return False
    return bool(np.all(array == (1 if node.op_type in ("Mul", "Div") else 0)))


def to_reshape(node: ir.Node, journal: Journal) -> bool:
    """Squeeze, Unsqueeze, Flatten -> Reshape(x, [-1, d1, d2, ...]), the -1 being the batch."""
    shape = canonical_shape(dims(node.outputs[0]))
    source = node.inputs[0]
    if shape is None or source is None:
        journal.declined(
            "reshape-dynamic", node, f"{node.op_type} keeps its form: more than one dimension is symbolic."
        )
        return False
    retype(node, "Reshape", [source, constant(node, np.array(shape, np.int64))])
    set_attribute(node, "allowzero", 0)
    journal.did("reshapes")
    return True


def canonical_reshape(node: ir.Node, journal: Journal) -> bool:
    """Reshape(x, shape) -> Reshape(x, constant [-1, d1, d2, ...]); Reshape(Reshape(x)) -> Reshape(x)."""
    source = node.inputs[0]
    inner = source.producer() if source is not None else None
    changed = False
    shape = canonical_shape(dims(node.outputs[0]))
    if shape is None:
        return False
    if int_list(operand(node, 1)) != shape:
        node.replace_input_with(1, constant(node, np.array(shape, np.int64)))
        set_attribute(node, "allowzero", 0)
        changed = True
    if inner is not None and is_op(inner, "Reshape"):
        node.replace_input_with(0, inner.inputs[0])
        changed = True
    if changed:
        journal.did("reshapes")
    return changed


def canonical_shape(found: Dims | None) -> tuple[int, ...] | None:
    """The constant for a Reshape to these dimensions: -1 for the symbolic one, or else for the first."""
    if not found:
        return None if found is None else ()
    symbolic = [axis for axis, dim in enumerate(found) if isinstance(dim, str)]
    if len(symbolic) > 1 or 0 in found:
        return None
    free = symbolic[0] if symbolic else 0
    return tuple(-1 if axis == free else int(dim) for axis, dim in enumerate(found))


def fold_shape(node: ir.Node, journal: Journal) -> bool:
    """Shape(x), Size(x) of a static x -> a constant."""
    found = static_dims(node.inputs[0])
    if found is None or node.outputs[0].is_graph_output():
        return False
    if node.op_type == "Size":
        array = np.array(np.prod(found, dtype=np.int64), np.int64)
    else:
        start, end = node.attributes.get_int("start", 0), node.attributes.get_int("end")
        array = np.array(found[start:end], np.int64)
    node.outputs[0].replace_all_uses_with(constant(node, array))
    graph_of(node).remove(node, safe=True)
    journal.did("folded-shapes")
    return True
