"""A model whose channels can be switched off one by one, without building it anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..analysis.channels import Channels, Site
from ..analysis.channels.groups import Mask, kept
from ..analysis.channels.trace import key
from ..data import Data
from ..executor import Session
from ..model.edit import fresh_name, infer_shapes
from ..model.model import Model
from .prove import compared_values
from .sampling import PIECE

Array = npt.NDArray[Any]


class MaskedModel:
    """The model with a factor at every sum over channels: one input more for each, fed with ones and zeros.

    Switching off equals cutting, as `prove.py` shows. Shapes of the model are known.
    """

    def __init__(self, model: Model, channels: Channels) -> None:
        masked = model.clone()
        nodes = {key(node): node for node in masked.graph}
        self._outputs = list(compared_values(model))
        self._masks = [(_insert_mask(masked, nodes[site.node], site), site) for site in channels.sites]
        infer_shapes(masked)
        self._session = Session(masked, self._outputs, optimise=False)

    def run(self, data: Data, piece: int, removed: Mask) -> list[Array]:
        """The outputs (and what goes into a terminal Softmax) without the removed channels."""
        masks = {
            name: kept(site.units, removed).reshape(shape).astype(kind) for (name, shape, kind), site in self._masks
        }
        parts = [self._session.run(feeds, batch=PIECE, whole=masks) for feeds in data.batches(piece)]
        return [np.concatenate([part[name] for part in parts]) for name in self._outputs]


def insert_gate(model: Model, node: ir.Node, index: int, shape: Sequence[int]) -> tuple[str, np.dtype[Any]]:
    """A new input (its name and type), of a shape that broadcasts, that multiplies an operand of the node."""
    value = node.inputs[index]
    assert value is not None  # a computed operand
    dtype = value.dtype or ir.DataType.FLOAT
    gate = ir.Value(name=fresh_name(model), type=ir.TensorType(dtype), shape=ir.Shape(shape))
    model.graph.inputs.append(gate)
    product = ir.node("Mul", [value, gate], name=fresh_name(model, "n"))
    product.outputs[0].name = fresh_name(model)
    product.outputs[0].shape, product.outputs[0].type = value.shape, value.type
    model.graph.insert_before(node, product)
    node.replace_input_with(index, product.outputs[0])
    return gate.name or "", dtype.numpy()


def _insert_mask(model: Model, node: ir.Node, site: Site) -> tuple[str, list[int], np.dtype[Any]]:
    """(name, shape, type) of the new input that multiplies the site's operand."""
    value = node.inputs[site.index]
    assert value is not None  # a site's operand
    rank = value.shape.rank() if value.shape is not None else site.axis + 1
    shape = [len(site.units), *[1] * (rank - 1 - site.axis)]
    name, dtype = insert_gate(model, node, site.index, shape)
    return name, shape, dtype
