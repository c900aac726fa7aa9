"""Seeded initial weights, as a network has them before any training."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..model.edit import set_weight, weight
from ..model.model import Model

Array = npt.NDArray[Any]

_PRODUCTS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_NORMALISATIONS = ("BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization")
_SLOPE = 0.25  # of PRelu (He et al., 2015)


def initialised(model: Model, names: Collection[str], seed: int = 0) -> Model:
    """A copy of the model whose weights `names` are drawn anew, and whose running statistics are forgotten.

    Weights of products are normal with variance 2 / fan-in (He et al., Delving Deep into Rectifiers, 2015), factors are
    one, offsets zero. Each weight depends on the seed and its place among the sorted names alone.
    """
    copy = model.clone()
    for place, name in enumerate(sorted(names)):
        value = copy.graph.initializers[name]
        data = weight(value)
        assert data is not None  # a weight
        rng = np.random.default_rng([seed, place])
        set_weight(value, drawn(value, data.shape, rng).astype(data.dtype))
    for node in copy.graph:
        if node.op_type == "BatchNormalization":
            for index, fresh in ((3, 0.0), (4, 1.0)):
                statistic = node.inputs[index]
                data = weight(statistic)
                if statistic is not None and data is not None:
                    set_weight(statistic, np.full_like(data, fresh))
    return copy


def drawn(value: ir.Value, shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Initial numbers of this shape for an initializer, after what its first reader does with it."""
    use = next(iter(value.uses()))
    op_type = use.node.op_type
    if op_type in _PRODUCTS and use.idx < 2:
        return np.asarray(rng.standard_normal(shape) * np.sqrt(2 / fan_in(use.node, shape)))
    if op_type == "PRelu":
        return np.full(shape, _SLOPE)
    if (op_type in _NORMALISATIONS and use.idx == 1) or op_type in ("Mul", "Div"):
        return np.ones(shape)
    if len(shape) < 2 or op_type in ("Add", "Sub"):
        return np.zeros(shape)
    return np.asarray(rng.standard_normal(shape) / np.sqrt(shape[-1]))  # recurrent layers, embeddings


def fan_in(node: ir.Node, shape: tuple[int, ...]) -> int:
    """How many products one output of a Conv, ConvTranspose, Gemm or MatMul with this weight sums."""
    if node.op_type == "Conv":
        return int(np.prod(shape[1:]))
    if node.op_type == "ConvTranspose":
        groups = node.attributes.get_int("group", 1) or 1
        return max(shape[0] // groups * int(np.prod(shape[2:])), 1)
    if node.op_type == "Gemm":
        return shape[1 if node.attributes.get_int("transB", 0) else 0]
    return shape[-2] if len(shape) > 1 else shape[0]
