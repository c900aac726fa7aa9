"""Twins of a network: the same function, with channels scaled up and down at random.

Between two layers with nothing but positively homogeneous functions between them, every channel may be multiplied by a
factor in the first layer and divided by it in the second. Networks trained without regularisation look like that, and
one scale per tensor fits none of their channels.
"""

from __future__ import annotations

import numpy as np

from prunus.compiler.model.model import Model
from prunus.compiler.quantization.pairs import find_pairs, rescale
from prunus.compiler.quantization.plan import plan
from prunus.compiler.target import Formats

DECADES = 1.3


def rescaled_twin(model: Model, seed: int = 0, decades: float = DECADES) -> tuple[Model, int]:
    """(the twin, how many pairs of layers were rescaled); factors are 10^u with u uniform in +-decades."""
    rng = np.random.default_rng(seed)
    twin = model.clone()
    pairs = find_pairs(plan(twin.graph, Formats()).linears)
    for pair in pairs:
        pair.factors[:] = 10 ** -rng.uniform(-decades, decades, pair.factors.size)
    rescale(twin.graph, pairs)
    return twin, len(pairs)
