"""Twins of a network: the same function, with channels scaled up and down at random.

Between two layers with nothing but positively homogeneous functions between them, every channel may be multiplied by a
factor in the first layer and divided by it in the second. Networks trained without regularisation look like that, and
one scale per tensor fits none of their channels.
"""

from __future__ import annotations

import numpy as np

from prunus.compiler.model.edit import replace_initializer, weight
from prunus.compiler.model.model import Model
from prunus.compiler.quantization.equalise import find_pairs
from prunus.compiler.quantization.plan import plan
from prunus.compiler.target import Formats

DECADES = 1.3


def rescaled_twin(model: Model, seed: int = 0, decades: float = DECADES) -> tuple[Model, int]:
    """(the twin, how many pairs of layers were rescaled); factors are 10^u with u uniform in +-decades."""
    rng = np.random.default_rng(seed)
    twin = model.clone()
    pairs = find_pairs(plan(twin.graph, Formats()).linears)
    for pair in pairs:
        factors = 10 ** rng.uniform(-decades, decades, pair.factors.size)
        first, second = pair.first, pair.second
        _scale(twin, first.node, 1, first.axis, factors)
        holder = first.bias_node or first.node
        if first.bias is not None:
            _scale(twin, holder, list(holder.inputs).index(first.bias), -1, factors)
        depthwise = second.node.op_type == "Conv" and np.shape(weight(second.node.inputs[1]))[1] == 1
        _scale(twin, second.node, 1, 0 if depthwise else 1 - second.axis, 1 / factors)
    return twin, len(pairs)


def _scale(model: Model, node: object, index: int, axis: int, factors: np.ndarray) -> None:
    array = np.asarray(weight(node.inputs[index]), np.float64)  # type: ignore[attr-defined]
    shape = [1] * array.ndim
    shape[axis] = -1
    replace_initializer(model.graph, node, index, (array * factors.reshape(shape)).astype(np.float32))  # type: ignore[arg-type]
