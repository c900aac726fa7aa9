"""A model whose channels can be switched off one by one, without building it anew."""

from __future__ import annotations

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
        self._masks = [(_insert(masked, nodes[site.node], site), site) for site in channels.sites]
        infer_shapes(masked)
        self._session = Session(masked, self._outputs, optimise=False)

    def run(self, data: Data, piece: int, removed: Mask) -> list[Array]:
        """The outputs (and what goes into a terminal Softmax) without the removed channels."""
        masks = {
            name: kept(site.units, removed).reshape(shape).astype(kind) for (name, shape, kind), site in self._masks
        }
        parts = [self._session.run(feeds, batch=PIECE, whole=masks) for feeds in data.batches(piece)]
        return [np.concatenate([part[name] for part in parts]) for name in self._outputs]


def _insert(model: Model, node: ir.Node, site: Site) -> tuple[str, list[int], np.dtype[Any]]:
    """(name, shape, type) of the new input that multiplies the site's operand."""
    value = node.inputs[site.index]
    assert value is not None  # a site's operand
    rank = value.shape.rank() if value.shape is not None else site.axis + 1
    shape = [len(site.units), *[1] * (rank - 1 - site.axis)]
    dtype = value.dtype or ir.DataType.FLOAT
    mask = ir.Value(name=fresh_name(model), type=ir.TensorType(dtype), shape=ir.Shape(shape))
    model.graph.inputs.append(mask)
    product = ir.node("Mul", [value, mask], name=fresh_name(model, "n"))
    product.outputs[0].name = fresh_name(model)
    product.outputs[0].shape, product.outputs[0].type = value.shape, value.type
    model.graph.insert_before(node, product)
    node.replace_input_with(site.index, product.outputs[0])
    return mask.name or "", shape, dtype.numpy()
