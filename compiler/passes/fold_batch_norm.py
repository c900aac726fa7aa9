"""FoldBatchNorm: batch normalisation, and constant factors and terms per channel, move into weights and biases."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import onnx_ir as ir

from ..model.edit import replace_initializer, weight
from ..model.match import Array, attribute_ints, dims, is_op, is_plain_gemm, operand, rank, same_shape
from ..model.model import Model
from ..model.rewrite import constant, graph_of, replace_value, retype, set_attribute, sweep
from .affine import AFFINE_OPS, Affine, follow, read_affine
from .base import Context, PassResult
from .integer_weights import integer_weight
from .normal_form.journal import Journal

_LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul")


class FoldBatchNorm:
    """Folds y_c = s_c x_c + t_c (batch normalisation: s = gamma / sqrt(var + eps), t = beta - mean s) into weights.

    Backward, into the Conv, ConvTranspose, Gemm or MatMul that computes x, where nothing else reads x:
        s (W x + b) + t = (s W) x + (s b + t)          a MatMul has no bias: an Add of t stays behind it
    Forward, into every reader, where x comes from elsewhere (a Concat, an input):
        W (s x + t) + b = (W s) x + (b + W t)          a padded Conv takes t = 0 only: its border would see t, not 0
    What fits neither is merged into one BatchNormalization, and noted. Constant Mul, Add, Sub and Div per channel are
    treated the same way. Arithmetic is in float64, rounded once. Weights that are integers already stay so: the factors
    go into their scales (`integer_weights`).
    """

    name: ClassVar[str] = "fold_batch_norm"
    summary: ClassVar[str] = "fold batch normalisation and constant factors into weights"
    requires: ClassVar[tuple[str, ...]] = ()
    ensures: ClassVar[tuple[str, ...]] = ("valid", "interface", "sparsity")

    def run(self, model: Model, context: Context) -> PassResult:
        work = model.clone("deploy" if model.form in ("loaded", "trainable") else model.form)
        journal = Journal()
        for node in list(work.graph):
            if is_op(node, *_LINEAR):
                _fold_backward(node, journal)
        for node in reversed(list(work.graph)):
            if is_op(node, *AFFINE_OPS):
                _fold_forward(node, journal)
        for node in list(work.graph):
            if node.graph is not None and is_op(node, *AFFINE_OPS):
                _merge_kept(node, journal)
        sweep(work.graph)
        changed = journal.changed or work.form != model.form
        return PassResult(work if changed else model, changed, journal.notes())


# -- backward ------------------------------------------------------------------------------------------------------


def _fold_backward(node: ir.Node, journal: Journal) -> None:
    """Folds the chain of affine nodes behind a linear operator into it."""
    integers = integer_weight(node) if is_op(node, "Conv", "Gemm", "MatMul") else None
    w = weight(operand(node, 1)) if integers is None else integers.real
    output = node.outputs[0]
    if w is None or (is_op(node, "Gemm") and not is_plain_gemm(node)) or (is_op(node, "MatMul") and w.ndim != 2):
        return
    channels, axis = _output_channels(node, w), (rank(output) or 0) - 1 if is_op(node, "MatMul") else 1
    chain, function = follow(output, axis, channels)
    bias = operand(node, 2)
    b = weight(bias)
    if not chain or not function.is_finite or (bias is not None and b is None):
        return
    if is_op(node, "MatMul") and len(chain) == 1 and (function.scale == 1).all():
        return  # already what folding would leave
    graph = graph_of(node)
    shift = (function.shift if b is None else function.scale * b.astype(np.float64) + function.shift).astype(w.dtype)
    keeper = chain.pop() if is_op(node, "MatMul") and shift.any() else None
    if keeper is not None:
        retype(keeper, "Add", [output, constant(node, shift)])
    else:
        replace_value(chain[-1].outputs[0], output)
    if integers is None:
        replace_initializer(graph, node, 1, _scale_outputs(node, w, function.scale))
    else:
        integers.multiply(function.scale)
    if not is_op(node, "MatMul") and (b is not None or shift.any()):
        node.resize_inputs(3)
        replace_initializer(graph, node, 2, shift)
    graph.remove(chain, safe=True)
    journal.did("folded-backward", max(len(chain), 1))


def _output_channels(node: ir.Node, w: Array) -> int:
    """Weights: Conv [out, in / group, ...], ConvTranspose [in, out / group, ...], Gemm [out, in], MatMul [in, out]."""
    if node.op_type == "ConvTranspose":
        return int(w.shape[1]) * node.attributes.get_int("group", 1)
    return int(w.shape[1] if node.op_type == "MatMul" else w.shape[0])


def _scale_outputs(node: ir.Node, w: Array, scale: Array) -> Array:
    """The weight with every output channel multiplied by its factor."""
    wide = w.astype(np.float64)
    if node.op_type == "MatMul":
        wide = wide * scale
    elif node.op_type == "ConvTranspose":
        group = node.attributes.get_int("group", 1)
        grouped = wide.reshape(group, w.shape[0] // group, *w.shape[1:])
        wide = (grouped * scale.reshape(group, 1, -1, *([1] * (w.ndim - 2)))).reshape(w.shape)
    else:
        wide = wide * scale.reshape(-1, *([1] * (w.ndim - 1)))
    return wide.astype(w.dtype)


# -- forward -------------------------------------------------------------------------------------------------------


def _fold_forward(node: ir.Node, journal: Journal) -> None:
    """Folds one affine node into all of its readers, or leaves it alone."""
    found = _read(node)
    output = node.outputs[0]
    if found is None or not found[1].is_finite or output.is_graph_output() or not output.uses():
        return
    readers = [use.node for use in output.uses() if use.idx == 0]
    axis = found[2]
    if len(readers) != len(output.uses()) or any(reader.graph is not node.graph for reader in readers):
        return
    if not all(_takes(reader, found[1], axis) for reader in readers):
        return
    for reader in readers:
        _scale_inputs(reader, found[1])
    output.replace_all_uses_with(found[0])
    graph_of(node).remove(node, safe=True)
    journal.did("folded-forward")


def _read(node: ir.Node) -> tuple[ir.Value, Affine, int] | None:
    """(x, function, channel axis) of an affine node: along axis 1, or else along the last one."""
    shape = dims(node.outputs[0])
    for axis in (1, len(shape or ()) - 1):
        if shape is None or axis < 1 or axis >= len(shape) or isinstance(channels := shape[axis], str):
            continue
        found = read_affine(node, axis, channels)
        if found is not None:
            return *found, axis
    return None


def _takes(reader: ir.Node, function: Affine, axis: int) -> bool:
    """Whether folding the function into the reader's weights is exact."""
    w, bias = weight(operand(reader, 1)), operand(reader, 2)
    if w is None or (bias is not None and weight(bias) is None):
        return False
    unpadded = not any(attribute_ints(reader, "pads") or ()) and reader.attributes.get_string("auto_pad") in (
        None,
        "NOTSET",
        "VALID",
    )
    match reader.op_type if reader.domain == "" else "":
        case "Conv":
            return axis == 1 and (unpadded or not function.shift.any())
        case "ConvTranspose":
            return axis == 1 and not function.shift.any()  # its border sums fewer terms than its inside
        case "Gemm":
            return axis == 1 and is_plain_gemm(reader)
        case "MatMul":
            return w.ndim == 2 and axis == (rank(reader.inputs[0]) or 0) - 1 and not function.shift.any()
    return False


def _scale_inputs(reader: ir.Node, function: Affine) -> None:
    """W (s x + t) + b = (W s) x + (b + W t), in place."""
    graph = graph_of(reader)
    w, b = weight(operand(reader, 1)), weight(operand(reader, 2))
    assert w is not None
    wide = w.astype(np.float64)
    if reader.op_type in ("ConvTranspose", "MatMul"):  # [in, ...]
        scaled = wide * function.scale.reshape(-1, *([1] * (w.ndim - 1)))
        extra = np.zeros(_output_channels(reader, w))
    else:  # [out, in / group, ...]: output o of group g reads inputs g * in / group ...
        group, tail = reader.attributes.get_int("group", 1), [1] * (w.ndim - 2)
        grouped = wide.reshape(group, w.shape[0] // group, *w.shape[1:])
        scaled = (grouped * function.scale.reshape(group, 1, -1, *tail)).reshape(w.shape)
        extra = (grouped * function.shift.reshape(group, 1, -1, *tail)).reshape(w.shape[0], -1).sum(axis=1)
    replace_initializer(graph, reader, 1, scaled.astype(w.dtype))
    if extra.any():
        reader.resize_inputs(3)
        total = extra if b is None else b.astype(np.float64) + extra
        replace_initializer(graph, reader, 2, total.astype(w.dtype))


# -- what is left --------------------------------------------------------------------------------------------------


def _merge_kept(node: ir.Node, journal: Journal) -> None:
    """Merges a chain that could not be folded into one BatchNormalization, if it contains one; notes what is kept."""
    shape = dims(node.outputs[0])
    if shape is None or len(shape) < 2 or isinstance(channels := shape[1], str):
        return
    first = read_affine(node, 1, channels)
    if first is None or not same_shape(first[0], node.outputs[0]):
        return
    rest, function = follow(node.outputs[0], 1, channels)
    chain, function = [node, *rest], first[1].then(function)
    norms = [each for each in chain if is_op(each, "BatchNormalization")]
    if not norms:
        return
    if len(chain) > 1 and function.is_finite:
        keeper = norms[0]
        source = first[0]
        replace_value(chain[-1].outputs[0], keeper.outputs[0])
        dtype = source.dtype.numpy() if source.dtype is not None else np.dtype(np.float32)
        arrays = (function.scale, function.shift, np.zeros(channels), np.ones(channels))
        retype(keeper, "BatchNormalization", [source, *(constant(keeper, array.astype(dtype)) for array in arrays)])
        for name, value in {"epsilon": 0.0, "momentum": 0.9, "training_mode": 0}.items():
            set_attribute(keeper, name, value)
        graph_of(keeper).remove([each for each in chain if each is not keeper], safe=True)
        journal.did("affine-merged", len(chain) - 1)
    producer = first[0].producer()
    journal.declined(
        "batch-norm-kept",
        norms[0],
        f"A BatchNormalization behind {producer.op_type if producer else 'an input'} stays: neither what computes its "
        "input nor what reads its output can take it in exactly.",
        "It runs as a separate scale and shift per channel.",
    )
