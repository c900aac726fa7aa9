"""The layers of a pruned model that least squares can refit, as products in groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..analysis.channels import Channels
from ..analysis.channels.groups import Mask, kept
from ..analysis.channels.trace import attribute, key
from ..model.edit import weight
from ..model.model import Model
from .forms import Form, Letters, Matrix, Window, form_of
from .recurrent import OP_TYPES as RECURRENT
from .recurrent import RecurrentLayer, recurrent_layer

Array = npt.NDArray[Any]
MAX_INPUTS = 4608  # of one output: 512 channels times 3 x 3; the normal matrix grows with its square
_PLAIN = ("Conv", "Gemm", "MatMul")
_PRODUCTS = (*_PLAIN, "ConvTranspose", "Einsum")

Code = Literal["shared-weight", "too-wide", "too-small", "unsupported-form", "not-finite", "no-gain"]


@dataclass(frozen=True, eq=False)
class Layer:
    """An operator that is a product with a constant weight. `outputs` are the original output channels that are left.

    `skip` is the input of a following addition that is computed before this layer: refitting can repair its error too.
    `kept` are the positions left on every axis of the original result that shrank. With `bias_follows` the bias is the
    constant of an addition behind the operator: the result does not hold it.
    """

    position: int  # in the list of operators
    node: ir.Node
    inputs: str
    result: str
    weight: ir.Value
    bias: ir.Value | None
    groups: int
    outputs: Mask
    skip: str | None
    kept: Mapping[int, Mask] = field(default_factory=dict)
    bias_follows: bool = False

    @property
    def is_conv(self) -> bool:
        return self.node.op_type == "Conv"

    @cached_property
    def form(self) -> Form:
        form = form_of(self.node, self.weight, self.groups)
        assert form is not None  # a layer is only made of products
        return form

    @property
    def _sizes(self) -> tuple[int, ...]:
        shape = self.weight.shape
        assert shape is not None  # an initializer's
        return tuple(int(size) for size in shape.numpy())

    @property
    def kernel(self) -> tuple[int, ...]:
        return self.form.kernel if isinstance(self.form, Window) else ()

    @property
    def inner(self) -> int:
        """The inputs that one output sums over."""
        return _shape(self.form, self._sizes)[1]

    @property
    def taps(self) -> int:
        """Positions of the window; `inner` is inputs times taps, inputs first."""
        return self.form.taps

    def matrix(self, data: Array) -> npt.NDArray[np.float64]:
        """The weight as [groups, k, n]."""
        return self.form.matrix(data)

    def unmatrix(self, matrix: Array, like: Array) -> Array:
        """The inverse of `matrix`, with shape and type of the present weight."""
        return self.form.unmatrix(matrix, like)


@dataclass(frozen=True)
class Unfit:
    """A layer whose input changed but that is not refitted, by its plain node name; `code` is a reason code."""

    where: str
    code: Code


def consumer_layers(model: Model, channels: Channels) -> list[Layer]:
    """The layers of the original model that sum over prunable channels and are plain products with their own weight."""
    consumers = {m.initializer for group in channels.prunable for m in group.members if m.role == "consumer"}
    layers = []
    for position, node in enumerate(model.graph):
        if node.op_type in _PLAIN and node.inputs[1] is not None and node.inputs[1].name in consumers:
            found = _plain_layer(node, position, {})
            if isinstance(found, Layer):
                layers.append(found)
    return layers


def product_layers(model: Model) -> tuple[list[Layer], list[Unfit]]:
    """All plain layers that are products with a constant weight, in graph order, and those that cannot be refitted.

    Depthwise convolutions are left out: each of their outputs has a few weights only.
    """
    positions = {key(node): position for position, node in enumerate(model.graph)}
    layers: list[Layer] = []
    unfit: list[Unfit] = []
    for position, node in enumerate(model.graph):
        if node.op_type not in (*_PLAIN, "ConvTranspose") or len(node.inputs) < 2 or weight(node.inputs[1]) is None:
            continue
        found = _plain_layer(node, position, positions)
        if not isinstance(found, Layer):
            unfit.append(Unfit(node.name or key(node), found))
        elif not (found.is_conv and found.inner == found.taps and found.groups > 1):
            layers.append(found)
    return layers, unfit


def _plain_layer(node: ir.Node, position: int, positions: Mapping[str, int]) -> Layer | Code:
    """The layer of a weight of its own that is used as it stands."""
    found = _layer(node, position, positions)
    if not isinstance(found, Layer):
        return found
    if len(found.weight.uses()) > 1 or (found.bias is not None and len(found.bias.uses()) > 1):
        return "shared-weight"
    plain = node.op_type == "Conv" or (isinstance(found.form, Matrix) and node.inputs[1] is found.weight)
    return found if plain else "unsupported-form"


def changed_layers(
    pruned: Model, channels: Channels, removed: Mask
) -> tuple[list[Layer | RecurrentLayer], list[Unfit]]:
    """The layers whose input lost channels or was changed upstream, in graph order, and those of them left as they are.

    A weight that several operators share is refitted for all of them together, so that all of them are listed.
    `channels` and `removed` are those of the original model; the pruned one has the same value names.
    """
    positions = {key(node): position for position, node in enumerate(pruned.graph)}
    layers: list[Layer | RecurrentLayer] = []
    unfit: list[Unfit] = []
    for position, node in _changed_nodes(pruned, channels, removed):
        if node.op_type in RECURRENT:
            found: Layer | RecurrentLayer | Code = recurrent_layer(node, position, channels, removed)
        else:
            found = _layer(node, position, positions, channels, removed)
            if isinstance(found, Layer) and not _shared_alike(found):
                found = "shared-weight"
        if isinstance(found, str):
            unfit.append(Unfit(node.name or key(node), found))
        else:
            layers.append(found)
    return layers, unfit


def _changed_nodes(pruned: Model, channels: Channels, removed: Mask) -> list[tuple[int, ir.Node]]:
    """The products and recurrent layers that a cut reaches, with their positions, and all that share their weights."""
    gone = {source for source, units in channels.units.items() if not kept(units, removed).all()}
    consumers = {(m.initializer, m.axis) for group in channels.groups for m in group.members if m.role == "consumer"}
    lossy = {name for name, _ in gone & consumers}
    changed: set[str] = set()
    reached: set[ir.Node] = set()
    for node in pruned.graph:
        if any(value is not None and (value.name in changed or value.name in lossy) for value in node.inputs):
            changed.update(output.name or "" for output in node.outputs)
            reached.update(_sharers(node))
    return [(position, node) for position, node in enumerate(pruned.graph) if node in reached]


def _sharers(node: ir.Node) -> list[ir.Node]:
    """The layers that read this one's weights, itself included; none where it has no weight."""
    operands = node.inputs[1:3] if node.op_type in RECURRENT else node.inputs[:2]
    if node.op_type not in (*_PRODUCTS, *RECURRENT):
        return []
    weights = [value for value in operands if value is not None and _is_weight(value)]
    return [use.node for value in weights for use in value.uses() if use.node.op_type in (*_PRODUCTS, *RECURRENT)]


def _is_weight(value: ir.Value) -> bool:
    """Whether it is constant, or the dequantized form of a constant."""
    producer = value.producer()
    return value.is_initializer() or (producer is not None and producer.op_type == "DequantizeLinear")


def _shared_alike(layer: Layer) -> bool:
    """Whether all uses of the weight, and of the bias, are products of the same form."""
    for value in (layer.weight, layer.bias):
        for use in value.uses() if value is not None and len(value.uses()) > 1 else ():
            other = form_of(use.node, layer.weight, attribute(use.node, "group", 1))
            if use.node.op_type != layer.node.op_type or layer.weight not in use.node.inputs:
                return False
            if not _same_form(layer.form, other) or layer.bias_follows or (layer.bias not in (None, *use.node.inputs)):
                return False
    return True


def _same_form(first: Form, second: Form | None) -> bool:
    match first, second:
        case Window(), Window():
            return (first.kernel, first.groups) == (second.kernel, second.groups)
        case (Matrix(), Matrix()) | (Letters(), Letters()):
            return first.__dict__ == second.__dict__
    return False


def _layer(
    node: ir.Node,
    position: int,
    positions: Mapping[str, int],
    channels: Channels | None = None,
    removed: Mask | None = None,
) -> Layer | Code:
    """`positions` of operators tell whether a shortcut is there in time; an unknown one is not. Without `channels`
    no output was removed."""
    at = 1 if node.op_type not in ("MatMul", "Einsum") or weight(node.inputs[1]) is not None else 0
    operands = [value for index, value in enumerate(node.inputs[:2]) if index != at]
    w, data = node.inputs[at], weight(node.inputs[at])
    if w is None or data is None or len(operands) != 1 or not np.issubdtype(data.dtype, np.floating):
        return "unsupported-form"
    groups = attribute(node, "group", 1) if node.op_type in ("Conv", "ConvTranspose") else 1
    form, x = form_of(node, w, groups), operands[0]
    if form is None or x is None or weight(x) is not None:
        return "unsupported-form"
    groups_inside, inner, per_group = _shape(form, data.shape)
    if inner > MAX_INPUTS:
        return "too-wide"
    bias, follows = _bias(node, form, data)
    if bias is not None and not _fits(node, form, bias):
        return "unsupported-form"
    name = key(node)
    left = {} if channels is None or removed is None else left_over(channels, removed, name)
    outputs = left.get(1 if isinstance(form, Window) else _rank(node) - 1)
    if outputs is None or isinstance(form, Letters):
        outputs = np.ones(groups_inside * per_group, dtype=np.bool_)
    skip = _skip(node, _behind(node) if follows else node.outputs[0], position, positions)
    return Layer(position, node, x.name or "", name, w, bias, groups, outputs, skip, left, follows)


def left_over(channels: Channels, removed: Mask, name: str) -> dict[int, Mask]:
    """The positions left on every axis of an original value that shrank."""
    masks = {axis: kept(units, removed) for axis, units in channels.places.get(name, {}).items()}
    return {axis: mask for axis, mask in masks.items() if not mask.all()}


def _rank(node: ir.Node) -> int:
    shape = node.outputs[0].shape
    return shape.rank() if shape is not None else 2


def _behind(node: ir.Node) -> ir.Value:
    """What the only reader of the node gives."""
    return next(use.node for use in node.outputs[0].uses()).outputs[0]


def _shape(form: Form, sizes: Sequence[int]) -> tuple[int, int, int]:
    """(groups, k, n) of a weight with these sizes."""
    groups, k, n = form.matrix(np.broadcast_to(np.float32(0), sizes)).shape
    return groups, k, n


def _fits(node: ir.Node, form: Form, bias: ir.Value) -> bool:
    """Whether the bias is a constant with one number for each output (or one for all)."""
    array = weight(bias)
    beta = node.attributes["beta"].as_float() if "beta" in node.attributes else 1.0
    if (
        array is None
        or beta != 1
        or (isinstance(form, Letters) and node.inputs[0] is not None and form.result[-1] in form.x)
    ):
        return False
    return array.size == 1 or array.size == array.shape[-1]


def _bias(node: ir.Node, form: Form, data: Array) -> tuple[ir.Value | None, bool]:
    """The bias, and whether it is added by an operator of its own right behind."""
    if node.op_type in ("Conv", "ConvTranspose", "Gemm"):
        return (node.inputs[2] if len(node.inputs) > 2 else None), False
    uses = list(node.outputs[0].uses())
    if (
        not isinstance(form, Matrix)
        or len(uses) != 1
        or uses[0].node.op_type != "Add"
        or node.outputs[0].is_graph_output()
    ):
        return None, False
    other = uses[0].node.inputs[1 - uses[0].idx]
    array = weight(other)
    if other is None or array is None or len(other.uses()) > 1 or array.shape[-1:] != (data.shape[1],):
        return None, False
    return (other if array.size == data.shape[1] else None), array.size == data.shape[1]


def _skip(node: ir.Node, out: ir.Value, position: int, positions: Mapping[str, int]) -> str | None:
    """The other operand of the addition that is the only reader of `out`, when it is there before the layer runs."""
    users = [use.node for use in out.uses()]
    if len(users) != 1 or users[0].op_type not in ("Add", "Sum") or len(users[0].inputs) != 2 or out.is_graph_output():
        return None
    first, second = users[0].inputs
    other = second if first is out else first
    if other is None or other is out or other.is_initializer() or str(other.shape) != str(out.shape):
        return None
    producer = other.producer()
    if producer is not None and positions.get(key(producer), position) >= position:
        return None
    return other.name
