"""The layers of a pruned model that least squares can refit, as products in groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..analysis.channels import Channels
from ..analysis.channels.groups import Mask, kept
from ..analysis.channels.trace import attribute, key
from ..model.edit import weight
from ..model.model import Model

Array = npt.NDArray[Any]
MAX_INPUTS = 4608  # of one output: 512 channels times 3 x 3; the normal matrix grows with its square
_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True, eq=False)
class Layer:
    """A Conv, Gemm or MatMul with a weight of its own. `outputs` are the original output channels that are left.

    `skip` is the input of a following addition that is computed before this layer: refitting can repair its error too.
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

    @property
    def is_conv(self) -> bool:
        return self.node.op_type == "Conv"

    @property
    def _sizes(self) -> tuple[int, ...]:
        shape = self.weight.shape
        assert shape is not None  # an initializer's
        return tuple(int(size) for size in shape.numpy())

    @property
    def kernel(self) -> tuple[int, ...]:
        return self._sizes[2:] if self.is_conv else ()

    @property
    def inner(self) -> int:
        """The inputs that one output sums over."""
        if self.is_conv:
            return int(np.prod(self._sizes[1:]))
        return self._sizes[1 if attribute(self.node, "transB", 0) else 0]

    @property
    def taps(self) -> int:
        """Positions of the window; `inner` is inputs times taps, inputs first."""
        return int(np.prod(self.kernel, dtype=np.int64))

    def matrix(self, data: Array) -> npt.NDArray[np.float64]:
        """The weight as [groups, k, n]."""
        if self.is_conv:
            rows = data.reshape(self.groups, data.shape[0] // self.groups, -1)
            return rows.transpose(0, 2, 1).astype(np.float64)
        return (data.T if attribute(self.node, "transB", 0) else data)[None].astype(np.float64)

    def unmatrix(self, matrix: Array, like: Array) -> Array:
        """The inverse of `matrix`, with shape and type of the present weight."""
        if self.is_conv:
            data: Array = matrix.transpose(0, 2, 1).reshape(like.shape)
        else:
            data = matrix[0].T if attribute(self.node, "transB", 0) else matrix[0]
        return data.astype(like.dtype)


@dataclass(frozen=True)
class Unfit:
    """A layer whose input changed but that is not refitted, by its plain node name; `code` is a reason code."""

    where: str
    code: Literal["shared-weight", "too-wide", "too-small", "unsupported-form", "not-finite"]


def consumer_layers(model: Model, channels: Channels) -> list[Layer]:
    """The layers of the original model that sum over prunable channels and can be written as products."""
    consumers = {m.initializer for group in channels.prunable for m in group.members if m.role == "consumer"}
    layers = []
    for position, node in enumerate(model.graph):
        if node.op_type in _PRODUCTS and node.inputs[1] is not None and node.inputs[1].name in consumers:
            found = _layer(node, position, {}, channels, channels.keep_all())
            if isinstance(found, Layer):
                layers.append(found)
    return layers


def product_layers(model: Model) -> tuple[list[Layer], list[Unfit]]:
    """All layers that are products with a constant weight, in graph order, and those that cannot be refitted.

    Depthwise convolutions are left out: each of their outputs has a few weights only.
    """
    positions = {key(node): position for position, node in enumerate(model.graph)}
    layers: list[Layer] = []
    unfit: list[Unfit] = []
    for position, node in enumerate(model.graph):
        if node.op_type not in _PRODUCTS or len(node.inputs) < 2 or weight(node.inputs[1]) is None:
            continue
        found = _layer(node, position, positions, None, None)
        if not isinstance(found, Layer):
            unfit.append(Unfit(node.name or key(node), found))
        elif not (found.is_conv and found.inner == found.taps and found.groups > 1):
            layers.append(found)
    return layers, unfit


def changed_layers(pruned: Model, channels: Channels, removed: Mask) -> tuple[list[Layer], list[Unfit]]:
    """The layers whose input lost channels or was changed upstream, in graph order, and those of them left as they are.

    `channels` and `removed` are those of the original model; the pruned one has the same value names.
    """
    gone = {source for source, units in channels.units.items() if not kept(units, removed).all()}
    consumers = {(m.initializer, m.axis) for group in channels.groups for m in group.members if m.role == "consumer"}
    lossy = {name for name, _ in gone & consumers}
    positions = {key(node): position for position, node in enumerate(pruned.graph)}
    changed: set[str] = set()
    layers: list[Layer] = []
    unfit: list[Unfit] = []
    for position, node in enumerate(pruned.graph):
        names = [value.name or "" for value in node.inputs if value is not None]
        if not any(name in changed or name in lossy for name in names):
            continue
        changed.update(output.name or "" for output in node.outputs)
        if node.op_type in _PRODUCTS:
            found = _layer(node, position, positions, channels, removed)
            if isinstance(found, Layer):
                layers.append(found)
            else:
                unfit.append(Unfit(node.name or key(node), found))
    return layers, unfit


def _layer(
    node: ir.Node, position: int, positions: Mapping[str, int], channels: Channels | None, removed: Mask | None
) -> Layer | Literal["shared-weight", "too-wide", "unsupported-form"]:
    """`positions` of operators tell whether a shortcut is there in time; an unknown one is not. Without `channels`
    no output was removed."""
    x, w = node.inputs[0], node.inputs[1]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    data = weight(w)
    if data is None or x is None or w is None or not _plain(node, data) or not np.issubdtype(data.dtype, np.floating):
        return "unsupported-form"
    if len(w.uses()) > 1 or (bias is not None and (weight(bias) is None or len(bias.uses()) > 1)):
        return "shared-weight"
    conv = node.op_type == "Conv"
    out_axis = 0 if conv or attribute(node, "transB", 0) else 1
    inner = data.size // data.shape[0] if conv else data.shape[1 - out_axis]
    if inner > MAX_INPUTS:
        return "too-wide"
    units = None if channels is None else channels.units.get((w.name or "", out_axis))
    whole = np.ones(data.shape[out_axis], dtype=np.bool_)
    outputs = whole if units is None or removed is None else kept(units, removed)
    groups = attribute(node, "group", 1) if conv else 1
    skip = _skip(node, position, positions)
    return Layer(position, node, x.name or "", key(node), w, bias, groups, outputs, skip)


def _plain(node: ir.Node, data: Array) -> bool:
    """Whether the operator is a product with its weight as it stands."""
    if node.op_type == "Conv":
        return True
    if node.op_type == "MatMul":
        return data.ndim == 2
    factors = [node.attributes[name].as_float() for name in ("alpha", "beta") if name in node.attributes]
    return node.op_type == "Gemm" and not attribute(node, "transA", 0) and all(factor == 1 for factor in factors)


def _skip(node: ir.Node, position: int, positions: Mapping[str, int]) -> str | None:
    """The other operand of the addition that is the result's only reader, when it is there before the layer runs."""
    out = node.outputs[0]
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


def spatial_attributes(
    node: ir.Node, kernel: Sequence[int], sizes: Sequence[int], out: Sequence[int]
) -> dict[str, Any]:
    """Strides, dilations and pads [spatial, 2] of a Conv from input sizes `sizes` to output sizes `out`."""
    rank = len(kernel)
    strides = _integers(node, "strides", [1] * rank)
    dilations = _integers(node, "dilations", [1] * rank)
    auto = node.attributes["auto_pad"].as_string() if "auto_pad" in node.attributes else "NOTSET"
    pads = np.array(_integers(node, "pads", [0] * 2 * rank)).reshape(2, rank).T
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        reach = [(out[a] - 1) * strides[a] + (kernel[a] - 1) * dilations[a] + 1 for a in range(rank)]
        total = np.maximum(np.array(reach) - np.array(sizes), 0)
        small, large = total // 2, total - total // 2
        pads = np.stack([small, large] if auto == "SAME_UPPER" else [large, small], axis=1)
    return {"strides": strides, "dilations": dilations, "pads": pads}


def _integers(node: ir.Node, name: str, default: list[int]) -> list[int]:
    return [int(entry) for entry in node.attributes[name].as_ints()] if name in node.attributes else default
