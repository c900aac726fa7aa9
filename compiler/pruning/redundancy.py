"""How much of every layer says nothing new: weights near zero, channels that repeat others, matrices of low rank.

From the weights alone, so cheap; what the data makes of it is for the criteria to say (outlook.py). Filters
that point the same way are what clustering merges (Zhou et al., Online Filter Clustering and Pruning, 2019), low rank
is what decompositions exploit (Denton et al., Exploiting Linear Structure Within Convolutional Networks, 2014).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from ..model.edit import weight
from ..model.model import Model
from .scoring.base import Scores, original_value, real_weight

ALIKE = 0.99  # cosine similarity from which on two filters count as one
ENERGY = 0.99  # share of the squared weights that the effective rank explains
FAINT = 0.01  # of the layer's root mean square: weights below it are near zero
MAX_OPERATIONS = 4e9  # to compare all filters of a layer; of larger layers only the single weights are looked at
_LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Redundancy:
    """One layer, by its node's plain name.

    `duplicates` of its `channels` point the way of an earlier filter of the same group. `rank` directions hold 99 % of
    the squared weights, of at most `full_rank`. Both are None for layers too large to compare quickly. `near_zero` is a
    share of the weights; the weights of `dead` channels are all zero.
    """

    layer: str
    weights: int
    channels: int
    duplicates: int | None
    rank: int | None
    full_rank: int
    near_zero: float
    dead: int


def redundancy(model: Model) -> tuple[Redundancy, ...]:
    """All layers with a constant weight, in graph order; quantized weights count with their scales."""
    found = []
    for node in model.graph:
        filters = _filters(model, node) if node.op_type in _LAYERS and not node.domain else None
        if filters is not None:
            found.append(_of_layer(node.name or node.outputs[0].name or "", filters))
    return tuple(found)


def _filters(model: Model, node: ir.Node) -> Scores | None:
    """The weight as [groups, outputs, inputs]; None where it is computed or has another form."""
    value = original_value(node.inputs[1]) if node.inputs[1] is not None else None
    if value is None or weight(value) is None:
        return None
    data = real_weight(model, value.name or "")
    if node.op_type in ("Gemm", "MatMul"):
        if data.ndim != 2:
            return None
        return (data if node.attributes.get_int("transB", 0) else data.T)[None]
    groups = node.attributes.get_int("group", 1)
    parts = data.reshape(groups, data.shape[0] // groups, data.shape[1], -1)
    if node.op_type == "ConvTranspose":  # [in, out / group, ...]
        parts = parts.swapaxes(1, 2)
    return parts.reshape(*parts.shape[:2], -1)


def _of_layer(name: str, filters: Scores) -> Redundancy:
    groups, outputs, inputs = filters.shape
    size = float(np.sqrt(np.square(filters).mean()))
    cheap = groups * outputs * inputs * min(outputs, inputs) <= MAX_OPERATIONS
    compared = [_compare(each.astype(np.float32)) for each in filters] if cheap else []
    return Redundancy(
        layer=name,
        weights=filters.size,
        channels=groups * outputs,
        duplicates=sum(duplicates for duplicates, _ in compared) if cheap else None,
        rank=sum(rank for _, rank in compared) if cheap else None,
        full_rank=groups * min(outputs, inputs),
        near_zero=float((np.abs(filters) <= FAINT * size).mean()),
        dead=int((~filters.any(axis=2)).sum()),
    )


def _compare(filters: npt.NDArray[np.float32]) -> tuple[int, int]:
    """(how many filters [outputs, inputs] point the way of an earlier one, their effective rank).

    Filters of zeros point nowhere, and single numbers only two ways: they are not counted.
    """
    outputs, inputs = filters.shape
    gram = filters @ filters.T
    lengths = np.sqrt(np.maximum(np.diagonal(gram), np.finfo(np.float32).tiny))
    alike = np.tril(gram >= ALIKE * np.outer(lengths, lengths), k=-1) & filters.any(axis=1)
    duplicates = int(alike.any(axis=1).sum()) if inputs > 1 else 0
    energies = np.maximum(np.linalg.eigvalsh(gram if outputs <= inputs else filters.T @ filters)[::-1], 0)
    total = float(energies.sum())
    rank = int(np.searchsorted(np.cumsum(energies), ENERGY * total) + 1) if total > 0 else 0
    return duplicates, rank
