"""Transfer learning: what a network has learned serves another task, behind a new last layer.

Yosinski, Clune, Bengio and Lipson, How Transferable Are Features in Deep Neural Networks?, 2014.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..data import Data
from ..errors import UnsupportedError, UsageError
from ..model.edit import infer_shapes, replace_initializer, set_weight, weight
from ..model.match import dims, is_op, operand
from ..model.model import Model
from ..model.untrusted import shown
from ..target import Progress, no_progress
from .initialise import drawn
from .trainer import fine_tune
from .tuning import Tuned, Tuning

Array = npt.NDArray[Any]

_HEADS = ("Conv", "Gemm", "MatMul")
# what may stand between the last layer and the output: it keeps the axis of the classes, or drops places behind it
_BEHIND_HEADS = (
    "Add", "AveragePool", "Cast", "Dropout", "Flatten", "GlobalAveragePool", "GlobalMaxPool", "Identity", "LogSoftmax",
    "ReduceMean", "Relu", "Reshape", "Sigmoid", "Softmax", "Squeeze", "Tanh",
)  # fmt: skip


def transfer(
    model: Model,
    data: Data,
    tuning: Tuning = Tuning(),  # noqa: B008 (frozen)
    *,
    outputs: int,
    freeze: Collection[str] = (),
    freeze_until: str | None = None,
    checkpoint: Path | None = None,
    progress: Progress = no_progress,
) -> Tuned:
    """Trains the model for labels of another task: `outputs` classes, or numbers.

    Args:
        freeze: weights or nodes that stay as they are, as `fine_tune` has it.
        freeze_until: a node; it and everything that it is computed from stay.

    Raises:
        UnsupportedError, UsageError: as `with_new_head`, `weights_until` and `fine_tune` say.
    """
    fresh = with_new_head(model, outputs, tuning.seed)
    frozen = {*freeze, *(() if freeze_until is None else weights_until(fresh, freeze_until))}
    return fine_tune(fresh, data, tuning, freeze=frozen, checkpoint=checkpoint, progress=progress)


def with_new_head(model: Model, outputs: int, seed: int = 0) -> Model:
    """A copy whose last linear layer has `outputs` outputs and fresh weights, seeded.

    Raises:
        UnsupportedError: the model has several outputs, or does not end in a layer that can be replaced (`no-head`).
        UsageError: there would be no output (`out-of-range`).
    """
    if outputs < 1:
        raise UsageError("A network needs at least one output.", code="out-of-range")
    copy = model.clone()
    head, behind = _head(copy)
    place, axis = list(copy.graph).index(head), _class_axis(head)
    value = head.inputs[1]
    data = weight(value)
    assert value is not None  # the weight of a head
    assert data is not None
    before = data.shape[axis]
    rng = np.random.default_rng([seed, place])
    shape = tuple(outputs if index == axis % data.ndim else size for index, size in enumerate(data.shape))
    set_weight(value, drawn(value, shape, rng).astype(data.dtype))
    offsets = [(head, 2)] if len(head.inputs) > 2 else []
    offsets += [(node, index) for node in behind if is_op(node, "Add") for index in (0, 1)]
    for node, index in offsets:
        offset = weight(operand(node, index))
        if offset is not None and offset.size == before:
            shape = tuple(outputs if size == before else size for size in offset.shape)
            _replace(copy, node, index, np.zeros(shape, offset.dtype))
    for node in (node for node in behind if is_op(node, "Reshape")):
        sizes = weight(node.inputs[1])
        assert sizes is not None  # checked by _head
        _replace(copy, node, 1, np.where(sizes == before, outputs, sizes))
    infer_shapes(copy)
    return copy


def _replace(model: Model, node: ir.Node, index: int, array: Array) -> None:
    """Gives a constant input new data; it keeps its name where nobody else reads it."""
    value = node.inputs[index]
    if value is not None and len(value.uses()) == 1:
        set_weight(value, array)
    else:
        replace_initializer(model.graph, node, index, array)


def weights_until(model: Model, node: str) -> tuple[str, ...]:
    """The names of all initializers that a node, given by its plain name or the user's, is computed from.

    Raises:
        UsageError: the model has no such node (`unknown-freeze`).
    """
    found = next((each for each in model.graph if node in (each.name, model.original(each.name or ""))), None)
    if found is None:
        raise UsageError(
            f"The model has no node called {shown(node)}.",
            code="unknown-freeze",
            hint="Name the last node to freeze as the model file does.",
        )
    seen, waiting = {found}, [found]
    names: set[str] = set()
    while waiting:
        for value in waiting.pop().inputs:
            producer = None if value is None else value.producer()
            if value is not None and value.is_initializer():
                names.add(value.name or "")
            if producer is not None and producer not in seen:
                seen.add(producer)
                waiting.append(producer)
    return tuple(sorted(names))


def _head(model: Model) -> tuple[ir.Node, list[ir.Node]]:
    """The last linear layer, and the nodes between it and the output."""
    if len(model.graph.outputs) != 1:
        raise _no_head(f"It has {len(model.graph.outputs)} outputs.")
    value, behind = model.graph.outputs[0], list[ir.Node]()
    while True:
        node = value.producer()
        if node is None or not is_op(node, *_HEADS, *_BEHIND_HEADS):
            what = "its input" if node is None else f"an operator {shown(node.op_type)}"
            raise _no_head(f"Going back from the output, {what} comes before any linear layer.")
        if is_op(node, *_HEADS):
            _check(node)
            return node, behind
        if is_op(node, "Reshape") and weight(operand(node, 1)) is None:
            raise _no_head("A Reshape behind the last layer has a computed shape.")
        behind.append(node)
        computed = [each for each in node.inputs if each is not None and each.const_value is None]
        if len(computed) != 1:
            raise _no_head("The output is a sum of several layers.")
        value = computed[0]


def _check(node: ir.Node) -> None:
    value = operand(node, 1)
    if weight(value) is None or value is None or len(value.uses()) != 1:
        raise _no_head("The weight of its last layer is computed, quantized or shared.")
    if (node.attributes.get_int("group") or 1) != 1:
        raise _no_head("Its last layer is a grouped convolution.")
    if is_op(node, "MatMul") and len(dims(value) or ()) != 2:
        raise _no_head("Its last layer is a product of stacks of matrices.")


def _class_axis(head: ir.Node) -> int:
    """The axis of the weight along which outputs lie."""
    transposed = (head.attributes.get_int("transB") or 0) != 0
    return 0 if is_op(head, "Conv") or transposed else 1


def _no_head(why: str) -> UnsupportedError:
    return UnsupportedError(
        "The model has no last layer that could be replaced.",
        code="no-head",
        why=why,
        hint="Models that end in Gemm, MatMul or Conv, perhaps with pooling and a softmax behind, can be transferred.",
    )
